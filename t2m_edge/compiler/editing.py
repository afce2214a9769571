"""Change a compiled artifact without its pack: another head, classes out, in, or under another name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import category

import numpy as np

from t2m_edge import __version__
from t2m_edge.compiler.artifacts import check_thresholds, output_spec, with_self_test, write_artifact
from t2m_edge.compiler.cells import check_ending
from t2m_edge.compiler.made_with import made_with
from t2m_edge.compiler.saving import check_output, save
from t2m_edge.task.description import MAX_NAME_LENGTH, plain_name
from t2m_edge.task.source import refuse_none_label
from t2m_exporters.heads import backbone_of, read_head
from t2m_exporters.ranges import from_interval
from t2m_runtime import (
    Backbone,
    Classifier,
    Head,
    InputError,
    Layer,
    Manifest,
    QuantizedHead,
    QuantizedLayer,
    WorkError,
)
from t2m_runtime.artifact import kind_of, load_head, manifest_of, read_bytes
from t2m_runtime.backbone import check_head
from t2m_runtime.manifest import NONE_LABEL
from t2m_runtime.self_test import HeadTest, SelfTest


@dataclass(frozen=True)
class EditReport:
    """What was written: a full model or a head file, its classes, and the error of its self-test (None: not run).

    warnings: one line each.
    """

    output: str
    size_bytes: int
    labels: tuple[str, ...]
    self_test_error: float | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """An artifact as it lies in memory."""

    data: bytes
    kind: str
    manifest: Manifest
    head: Head | QuantizedHead


def merge(model: str | Path, head: str | Path, output: str | Path, *, overwrite: bool = False) -> EditReport:
    """Put a head file into a full model, in place of the head that it has and of all its classes, "none of these" too.

    Args:
        model: a .tflite or .onnx artifact.
        head: a .t2mh file that was made for the same backbone.
        output: file to write; may be ``model`` itself with ``overwrite``.

    Raises:
        InputError: a file is broken or of the wrong kind, or the head is another backbone's; nothing is written.
    """
    old = _to_change(model, Path(output), overwrite, head)
    if old.kind == "head":
        raise InputError(f"{model} is a head file; give the full model first: t2m-edge merge MODEL HEAD")
    loaded, facts = load_head(head)
    check_head(loaded, facts, old.manifest, str(head))
    if old.manifest.output.scores == "sigmoid":
        raise InputError(f"{model} is multi-label and takes no head files; compile all its classes with --multi-label")
    manifest = replace(
        old.manifest,
        name=facts.name,
        labels=facts.labels,
        thresholds=facts.thresholds,
        reject=facts.reject,
        independent=facts.independent,
        self_test=None,
    )
    report = write_edited(old, loaded, manifest, Path(output), overwrite)
    if old.manifest.reject is None or facts.reject is not None:
        return report
    warning = (
        f"{NONE_LABEL!r} went with the model's old head, so images of other things get a class now; compile {head} "
        f"with --reject {old.manifest.reject:g} to keep it"
    )
    return replace(report, warnings=(warning,))


def remove(model: str | Path, classes: Sequence[str], output: str | Path, *, overwrite: bool = False) -> EditReport:
    """Take classes out of an artifact (full model or head file).

    The class "none of these" stays as it was set: with fewer classes beside it, no image that it rejects gets a name.
    More classes would take images from it, which is why ``add`` refuses it.

    Raises:
        InputError: no such class, under two (of a multi-label model, none) would be left, or the pack's classes depend
            on each other.
    """
    old = _to_change(model, Path(output), overwrite)
    for name in classes:
        _index(old.manifest, name, model)
    rows = [i for i, label in enumerate(old.manifest.labels) if label not in classes]
    least = 1 if old.manifest.output.scores == "sigmoid" else 2
    if len(rows) < least:
        needs = "a multi-label model needs one" if least == 1 else "a classifier needs two"
        raise InputError(f"{len(rows)} of {len(old.manifest.labels)} classes would be left; {needs}")
    if set(classes) != {NONE_LABEL}:
        _need_independent(old.manifest, model)
    labels = tuple(old.manifest.labels[i] for i in rows)
    last = old.head.layers[-1]
    if isinstance(last, QuantizedLayer):
        last = replace(last, weight=last.weight[rows], weight_scale=last.weight_scale[rows], bias=last.bias[rows])
    else:
        last = Layer(last.weight[rows], last.bias[rows])
    test = old.manifest.self_test
    if isinstance(test, HeadTest):
        test = replace(test, expected=tuple(test.expected[i] for i in rows))
    manifest = replace(
        old.manifest,
        labels=labels,
        thresholds=tuple(old.manifest.thresholds[i] for i in rows),
        reject=old.manifest.reject if NONE_LABEL in labels else None,
        self_test=None,
    )
    head = replace(old.head, labels=labels, layers=(*old.head.layers[:-1], last))
    report = write_edited(old, head, manifest, Path(output), overwrite, test)
    if manifest.reject is None:
        return report
    warning = (
        f"{NONE_LABEL!r} stays as it was set for {len(old.manifest.labels) - 1} classes and may reject more than "
        f"{len(rows) - 1} need; compile these with --reject to set it anew"
    )
    return replace(report, warnings=(warning,))


def rename(model: str | Path, before: str, after: str, output: str | Path, *, overwrite: bool = False) -> EditReport:
    """Give a class of an artifact another name; its weights stay.

    Raises:
        InputError: no such class, or the new name is taken, no label or kept for the class that rejects.
    """
    old = _to_change(model, Path(output), overwrite)
    index = _index(old.manifest, before, model)
    if before == NONE_LABEL and old.manifest.reject is not None:
        raise InputError(f"{NONE_LABEL!r} is what makes the model reject images; its name is fixed")
    if after == before:
        raise InputError(f"the class is called {after!r} already; give another name")
    _check_name(after)
    refuse_none_label(after, "the new name")
    if after in old.manifest.labels:
        raise InputError(f"the class {after!r} is there already; give another name")
    labels = tuple(after if i == index else label for i, label in enumerate(old.manifest.labels))
    test = old.manifest.self_test
    manifest = replace(old.manifest, labels=labels)
    head = replace(old.head, labels=labels)
    return write_edited(old, head, manifest, Path(output), overwrite, test)


def set_thresholds(
    model: str | Path, thresholds: Mapping[str, float | None], output: str | Path, *, overwrite: bool = False
) -> EditReport:
    """Give classes of an artifact thresholds, or take them away (None): scores under which a photo is not the class.

    Raises:
        InputError: no such class, "none of these", a threshold outside [0, 1], or the artifact gives logits.
    """
    old = _to_change(model, Path(output), overwrite)
    changed = list(old.manifest.thresholds)
    for name, threshold in thresholds.items():
        index = _index(old.manifest, name, model)
        if name == NONE_LABEL and old.manifest.reject is not None:
            raise InputError(f"{NONE_LABEL!r} is what makes the model reject images; set the thresholds of classes")
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"the threshold {threshold:g} is no score; give a number from 0 to 1, such as 0.6")
        changed[index] = threshold
    manifest = replace(old.manifest, thresholds=tuple(changed))
    return write_edited(old, old.head, manifest, Path(output), overwrite, old.manifest.self_test)


def add(
    model: str | Path,
    head: str | Path,
    output: str | Path,
    *,
    classes: Sequence[str] = (),
    overwrite: bool = False,
) -> EditReport:
    """Add classes of a head file to an artifact (full model or head file), behind its own.

    Args:
        classes: which of the head file's; all of them where none is named.

    Raises:
        InputError: another backbone, a class that is there already, or classes that depend on each other.
    """
    old = _to_change(model, Path(output), overwrite, head)
    more, facts = load_head(head)
    check_head(more, facts, old.manifest, str(head))
    if old.manifest.output.scores == "sigmoid":
        raise InputError(f"{model} is multi-label and takes no head files; compile all its classes with --multi-label")
    _need_independent(old.manifest, model)
    _need_independent(facts, head)
    for name, manifest in ((model, old.manifest), (head, facts)):
        if manifest.reject is not None:
            raise InputError(
                f"{name} has the class {NONE_LABEL!r}, which was set for its own classes: beside more it would reject "
                "too little; compile all classes with --reject instead"
            )
    rows = [_index(facts, name, head) for name in classes] or list(range(len(facts.labels)))
    for i in rows:
        refuse_none_label(facts.labels[i], str(head))
        if facts.labels[i] in old.manifest.labels:
            raise InputError(f"the class {facts.labels[i]!r} is there already; remove or rename it first")
    labels = old.manifest.labels + tuple(facts.labels[i] for i in rows)
    thresholds = old.manifest.thresholds + tuple(facts.thresholds[i] for i in rows)
    last = _joined(old.head.layers[-1], more.layers[-1], rows)
    test = _joined_test(old, Artifact(b"", "head", facts, more), rows, last)
    manifest = replace(old.manifest, labels=labels, thresholds=thresholds, self_test=None)
    return write_edited(old, replace(old.head, labels=labels, layers=(last,)), manifest, Path(output), overwrite, test)


def _to_change(model: str | Path, output: Path, overwrite: bool, *others: str | Path) -> Artifact:
    """The artifact to change, when it may be written to ``output``: to its own file, but to none of the others."""
    check_output(output, overwrite, [Path(other) for other in others])
    return read_artifact(model)


def read_artifact(path: str | Path) -> Artifact:
    """A full model or head file that compile wrote; InputError where it is not."""
    data = read_bytes(path)
    manifest, kind = manifest_of(data, str(path)), kind_of(data)
    head = load_head(data, str(path))[0] if kind == "head" else read_head(data, kind, manifest)
    return Artifact(data, kind, manifest, head)


def write_edited(
    old: Artifact,
    head: Head | QuantizedHead,
    manifest: Manifest,
    output: Path,
    overwrite: bool,
    test: SelfTest | HeadTest | None = None,
) -> EditReport:
    """Write the artifact with a head and check it on its self-test.

    Args:
        test: of a head file, complete; a full model's is made from the old one's image.
    """
    check_ending(output, old.kind)
    manifest = replace(manifest, tool_version=__version__, made_with=made_with())
    if old.kind == "head":
        data = write_artifact(b"", head, replace(manifest, self_test=test))
        save(output, data, overwrite)
        return EditReport(str(output), len(data), head.labels, None)
    spec = old.manifest.output
    check_thresholds(manifest.thresholds, spec.scores)
    manifest = replace(manifest, output=output_spec(head, spec.dtype, spec.scores))
    image = old.manifest.self_test
    if isinstance(image, SelfTest):
        with Backbone.load(old.data) as backbone:
            pixels = image.image(old.manifest.input.height, old.manifest.input.width)
            manifest = with_self_test(manifest, head, backbone.features(pixels)[np.newaxis], image)
    data = write_artifact(backbone_of(old.data, old.kind), head, manifest)
    error = None
    with Classifier.load(data) as classifier:
        if manifest.self_test is not None:
            error = classifier.self_test()
            if error > manifest.self_test.tolerance:
                raise WorkError(f"the changed model misses its self-test by {error:.3g}; compile the task again")
    save(output, data, overwrite)
    return EditReport(str(output), len(data), head.labels, error)


def _joined(a: Layer | QuantizedLayer, b: Layer | QuantizedLayer, rows: list[int]) -> Layer | QuantizedLayer:
    """Rows of a, then some of b's; int8 outputs get a range that holds those of both."""
    weight, bias = np.concatenate([a.weight, b.weight[rows]]), np.concatenate([a.bias, b.bias[rows]])
    if isinstance(a, Layer):
        return Layer(weight, bias)
    ends = [(_least(x), x.output_scale * (127 - x.output_zero_point)) for x in (a, b)]
    both = from_interval(min(low for low, _ in ends), max(high for _, high in ends))
    scale = np.concatenate([a.weight_scale, b.weight_scale[rows]])
    return QuantizedLayer(weight, scale, bias, both.scale, both.zero_point)


def _joined_test(a: Artifact, b: Artifact, rows: list[int], last: Layer | QuantizedLayer) -> HeadTest | None:
    """The self-test of two head files' classes, where both look at the same row of the same bank."""
    one, two = a.manifest.self_test, b.manifest.self_test
    if not isinstance(one, HeadTest) or not isinstance(two, HeadTest):
        return None
    if (a.manifest.pack.sha256, one.bank_index) != (b.manifest.pack.sha256, two.bank_index):
        return None
    tolerance = max(one.tolerance, two.tolerance)
    if isinstance(last, QuantizedLayer):
        # A logit that stood at its head's least one may be anything down to the joined head's.
        least = [_least(x.head.layers[-1]) for x in (a, b)]
        rises = [end - min(least) for end, t in zip(least, (one, two)) if min(t.expected) <= end + t.tolerance]
        tolerance += last.output_scale + max(rises, default=0.0)
    return HeadTest(one.bank_index, one.expected + tuple(two.expected[i] for i in rows), float(f"{tolerance:.2g}"))


def _least(layer: QuantizedLayer) -> float:
    """The least value that an int8 layer can give."""
    return layer.output_scale * (-128 - layer.output_zero_point)


def _index(manifest: Manifest, name: str, path: str | Path) -> int:
    """Number of a class of the artifact at ``path``."""
    if name not in manifest.labels:
        from difflib import get_close_matches

        plain = {plain_name(label): label for label in manifest.labels}
        near = get_close_matches(plain_name(name), plain, n=1)
        hint = f"did you mean {plain[near[0]]!r}?" if near else "t2m-edge inspect lists them"
        raise InputError(f"{path} has no class {name[:MAX_NAME_LENGTH]!r}; {hint}")
    return manifest.labels.index(name)


def _check_name(name: str) -> None:
    """Raises InputError where a class cannot be called so."""
    if not name.strip():
        raise InputError("the new name is empty; give one that is seen")
    if name != name.strip():
        raise InputError(f"the new name {name!r} has space around it; give it without")
    if len(name) > MAX_NAME_LENGTH:
        raise InputError(f"the new name has {len(name):,} characters; give one of at most {MAX_NAME_LENGTH}")
    if any(category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        raise InputError(f"the new name {name!r} has a line end or another control character in it; give plain text")


def _need_independent(manifest: Manifest, path: str | Path) -> None:
    if not manifest.independent:
        raise InputError(
            f"{path}: the pack {manifest.pack.name} makes the classes of a task together, so one cannot be added or "
            f"taken out alone; change the descriptions and run t2m-edge compile with that pack again"
        )
