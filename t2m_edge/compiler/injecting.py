"""``inject``: new classes in a classifier that was trained elsewhere, from its own rows and the names alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from t2m_edge.compiler.editing import Artifact, read_artifact, write_edited
from t2m_edge.compiler.known_words import check_words
from t2m_edge.compiler.saving import check_output, save
from t2m_edge.compiler.text_to_rows import MIN_CLASSES, Directions, calibrated_rows, predict_directions
from t2m_edge.hypernetworks.class_vectors import class_vectors, unit
from t2m_edge.packs import Pack, load_pack
from t2m_edge.task import Task, read_task
from t2m_edge.task.description import plain_name
from t2m_edge.task.reading import FORMATS
from t2m_edge.task.source import decode
from t2m_edge.task.source import read_bytes as read_text_bytes
from t2m_exporters.foreign_runs import Input, Runner
from t2m_exporters.last_layer import MAX_ROWS, LastLayer, Rows
from t2m_runtime import Backbone, InputError, Layer, QuantizedHead, QuantizedLayer, WorkError
from t2m_runtime.artifact import kind_of, manifest_of, read_bytes
from t2m_runtime.head_file import read_head_manifest
from t2m_runtime.manifest import HeadTest

NO_CLASS = ("background", "dummy", "unused", "n/a", "???")
"""Names of rows that stand for no class; nothing is learnt from them."""
CONFUSIONS = 3
NOISE_IMAGES = 2


@dataclass(frozen=True)
class InjectReport:
    """What was written and how far to trust it.

    rows_before, rows_after: classes; new: the new classes' names, in the order of their rows.
    layer: what the last layer is; precision: type of its weights.
    sharpness, strength: settings that left-out rows chose; cosine: of the left-out rows to the true ones, mean;
    right: share of left-out rows nearer to their own true row than to those of ``rivals`` random other classes.
    offset: of the new biases, against the mean of the old ones.
    photos, taken: photos of other things that the model was run on, and the share on which a new class still wins (None
    where none were run).
    clipped: weights of new rows beyond what the stored type reaches; rounding: the least cosine of a stored row to the
    wanted one. logit_error: largest difference of an old class's logit on images of noise, None where the file is no
    model that runs. The old rows and their biases are bit-identical, or nothing is written.
    confusions: (new class, other class, cosine of their rows), the riskiest first.
    """

    output: str
    labels_file: str | None
    size_bytes: int
    kind: str
    layer: str
    precision: str
    rows_before: int
    rows_after: int
    new: tuple[str, ...]
    pack: str
    sharpness: float
    strength: float
    cosine: float
    right: float
    rivals: int
    offset: float
    photos: int
    taken: float | None
    clipped: int
    rounding: float
    logit_error: float | None
    confusions: tuple[tuple[str, str, float], ...]
    seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Names:
    """Names of the old classes, and texts where the file of the names has some."""

    names: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]


def inject(
    model: str | Path,
    task: Task | str | Path,
    output: str | Path,
    *,
    class_names: str | Path | None = None,
    pack: str | Path | Pack = "default",
    overwrite: bool = False,
) -> InjectReport:
    """Add a task's classes to an existing classifier.

    Args:
        model: a .tflite or .onnx classifier whose last layer is fully connected or a 1x1 convolution on a 1x1 map, a
            safetensors file with its weight and bias, or an artifact of ``compile``.
        task: a descriptions file or a Task; one class is enough.
        output: file to write, in the model's own format and precision.
        class_names: the names of the model's rows: a labels file, one name a line in the rows' order (synonyms behind
            ", "), or a descriptions file (.csv, .json, .yaml) with texts too. By default those that the model carries.
        pack: whose text encoder reads the names.
        overwrite: replace an existing file.

    Raises:
        InputError: the model ends otherwise or is damaged, the names do not fit its rows, or a class is there already;
            nothing is written.
        WorkError: the written model does not keep its old rows.
    """
    began = time.perf_counter()
    path = Path(output)
    check_output(path, overwrite)
    loaded = pack if isinstance(pack, Pack) else load_pack(pack)
    if not isinstance(task, Task):
        task = read_task(task, max_classes=loaded.info.max_classes, min_classes=1)
    data = read_bytes(model)
    given = None if class_names is None else _read_names(Path(class_names))
    own = read_artifact(model) if _is_ours(data) else None
    kind = kind_of(data)
    if kind is None:
        raise InputError(f"{model} is no .tflite, .onnx or safetensors file; give a trained classifier")
    if own and own.manifest.output.scores == "sigmoid":
        raise InputError(f"{model} is multi-label: its classes have levels of their own; compile all of them anew")
    if own and own.manifest.reject is not None:
        raise InputError(f"{model} has a class that rejects, made for its own; compile all classes with --reject")
    layer = _read_own(own) if own else _read_layer(data, kind, None if given is None else len(given.names))
    names = given or _carried(layer, str(model))
    k = len(layer.rows.weight)
    if len(names.names) != k:
        hint = "; if its first row is 'background', add that as the first line" if len(names.names) == k - 1 else ""
        where = class_names if given else model
        raise InputError(f"{where} has {len(names.names):,} class names, the model's last layer {k:,} rows{hint}")
    _check_new(task, names.names)
    encoder = loaded.text_encoder
    warnings = [*task.warnings, *check_words(task, encoder)]
    if any(c.negatives for c in task.classes):
        warnings.append("not: texts are not used here: rows are learnt from what classes are")
    if own is None and any(c.threshold is not None for c in task.classes):
        warnings.append("thresholds are left out: the model has no place for them")

    weight, bias = layer.rows.real()
    known = [i for i, name in enumerate(names.names) if name.casefold().strip() not in NO_CLASS]
    if len(known) < MIN_CLASSES:
        raise InputError(f"{model} has {len(known)} classes; its rows teach something from {MIN_CLASSES} on")
    old_texts = _vectors(loaded, [names.names[i] for i in known], [names.texts[i] for i in known])
    new_texts = _vectors(loaded, [c.name for c in task.classes], [c.texts for c in task.classes])
    directions = predict_directions(old_texts, weight[known], bias[known], new_texts)
    features = _photo_features(data, kind, own, loaded)
    found = calibrated_rows(weight[known], bias[known], directions.new, features)
    rows, clipped = layer.rows.with_rows(found.weight, found.bias)
    new = tuple(c.name for c in task.classes)

    if own:
        data, error, labels_file = _write_own(own, rows, task, path, overwrite), None, None
    else:
        labels_file = None if layer.labels else path.with_suffix(".labels.txt")
        if labels_file:
            check_output(labels_file, overwrite)
        labels = (*names.names, *new)
        written = _write_layer(data, kind, rows, labels if layer.labels else None, k)
        identical, error = _parity(data, written, kind, layer.rows, len(rows.weight))
        if not identical:
            raise WorkError("the written model's old rows are not the same; nothing was written, report it")
        save(path, written, overwrite)
        data = written
        if labels_file:
            save(labels_file, ("\n".join(labels) + "\n").encode(), overwrite)
    stored = rows.real()[0][k:]
    right, rivals = _right(directions, unit(weight[known] - weight[known].mean(0)))
    return InjectReport(
        output=str(path),
        labels_file=None if labels_file is None else str(labels_file),
        size_bytes=len(data),
        kind="safetensors" if kind == "head" and not own else kind,
        layer=layer.kind,
        precision=_precision(rows),
        rows_before=k,
        rows_after=k + len(new),
        new=new,
        pack=f"{loaded.info.name} {loaded.info.version}",
        sharpness=directions.sharpness,
        strength=directions.strength,
        cosine=directions.cosine,
        right=right,
        rivals=rivals,
        offset=found.offset,
        photos=0 if features is None else len(features),
        taken=found.taken,
        clipped=clipped,
        rounding=float((unit(stored) * unit(found.weight)).sum(1).min()),
        logit_error=error,
        confusions=_confusions(weight, found.weight, names.names, new),
        seconds=time.perf_counter() - began,
        warnings=tuple(warnings),
    )


def _precision(rows: Rows) -> str:
    if rows.scale is None:
        return str(rows.weight.dtype)
    return f"{rows.weight.dtype}, {'one scale for all' if len(rows.scale) == 1 else 'one scale a row'}"


def _is_ours(data: bytes) -> bool:
    """Whether a file carries our manifest."""
    kind = kind_of(data)
    if kind == "head":
        return read_head_manifest(data) is not None
    try:
        return kind is not None and manifest_of(data, "the model") is not None
    except InputError:
        return False


def _read_names(path: Path) -> _Names:
    """The names of a labels file, one a line; of a .csv, .json or .yaml descriptions file, with its texts."""
    if path.suffix.casefold() in FORMATS and path.suffix.casefold() != ".txt":
        task = read_task(path, max_classes=MAX_ROWS)
        return _Names(tuple(c.name for c in task.classes), tuple(c.texts for c in task.classes))
    lines = decode(read_text_bytes(path), str(path)).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    names = tuple(line.strip() for line in lines)
    if not names or not all(names):
        where = f", line {names.index('') + 1}" if names else ""
        raise InputError(f"{path}{where}: found no name; write one class name a line, in the order of the model's rows")
    return _Names(names, ((),) * len(names))


def _carried(layer: LastLayer, model: str) -> _Names:
    if layer.labels is None:
        raise InputError(f"{model} carries no class names; give them with --class-names FILE, one a line")
    return _Names(layer.labels, ((),) * len(layer.labels))


def _read_layer(data: bytes, kind: str, count: int | None) -> LastLayer:
    if kind == "tflite":
        from t2m_exporters.last_layer_tflite import read_tflite

        return read_tflite(data)
    if kind == "onnx":
        from t2m_exporters.last_layer_onnx import read_onnx

        return read_onnx(data)
    from t2m_exporters.last_layer_safetensors import read_safetensors

    return read_safetensors(data, count)


def _write_layer(data: bytes, kind: str, rows: Rows, labels: tuple[str, ...] | None, before: int) -> bytes:
    if kind == "tflite":
        from t2m_exporters.last_layer_tflite import write_tflite

        return write_tflite(data, rows, labels)
    if kind == "onnx":
        from t2m_exporters.last_layer_onnx import write_onnx

        return write_onnx(data, rows, labels)
    from t2m_exporters.last_layer_safetensors import write_safetensors

    return write_safetensors(data, rows, before)


def _cut(kind: str) -> Callable[[bytes, str], bytes]:
    if kind == "tflite":
        from t2m_exporters.last_layer_tflite import cut_tflite

        return cut_tflite
    from t2m_exporters.last_layer_onnx import cut_onnx

    return cut_onnx


def _photo_features(data: bytes, kind: str, own: Artifact | None, pack: Pack) -> np.ndarray | None:
    """What the last layer reads for the pack's probe photos and their quarters: float64 (m, d).

    None where there is no graph, it takes no colour images, or its head has a hidden layer.
    """
    if kind == "head":
        return None
    photos = _views(pack.probes.images)
    if own is None:
        runner = Runner(_cut(kind)(data, "features"), kind)
        inputs = runner.input.photos(photos)
        return None if inputs is None else runner.run(inputs)
    if len(own.head.layers) > 1:
        return None
    with Backbone.load(own.data) as backbone:
        shape = (1, own.manifest.input.height, own.manifest.input.width, 3)
        inputs = Input(shape, np.dtype(np.uint8), 0.0, 0).photos(photos)
        found = np.stack([backbone.features(x[0]) for x in inputs]).astype(np.float64)
    if isinstance(own.head, QuantizedHead):
        found = (found - own.head.input_zero_point) * own.head.input_scale
    return found


def _views(images: np.ndarray) -> np.ndarray:
    """Each image and its four overlapping quarters, at the image's size: uint8 (5 n, h, w, 3)."""
    from PIL import Image

    height, width = images.shape[1:3]
    high, wide = height * 7 // 12, width * 7 // 12
    views = []
    for image in images:
        views.append(image)
        for top in (0, height - high):
            for left in (0, width - wide):
                part = Image.fromarray(image[top : top + high, left : left + wide])
                views.append(np.asarray(part.resize((width, height), Image.Resampling.BILINEAR)))
    return np.stack(views)


def _parity(before: bytes, after: bytes, kind: str, old: Rows, rows_after: int) -> tuple[bool, float | None]:
    """Whether the old rows of the written file are the very same, and how far the old logits moved on noise."""
    k = len(old.weight)
    new = _read_layer(after, kind, rows_after).rows
    identical = _same(old, new, k)
    if kind == "head":
        return identical, None
    runners = [Runner(_cut(kind)(data, "logits"), kind) for data in (before, after)]
    inputs = runners[0].input.noise(NOISE_IMAGES)
    was, now = (runner.run(inputs) for runner in runners)
    whole = Runner(after, kind).run(inputs[:1])
    if was.shape[1] != k or now.shape[1] != len(new.weight) or whole.shape[1] != len(new.weight):
        raise WorkError("the written model's output has not one score a class; nothing was written, report it")
    return identical, float(np.abs(was - now[:, :k]).max())


def _same(old: Rows, new: Rows, k: int) -> bool:
    same = np.array_equal(old.weight, new.weight[:k])
    if old.bias is not None:
        same = same and np.array_equal(old.bias, new.bias[:k])
    if old.scale is not None:
        same = same and np.array_equal(old.scale, new.scale[: len(old.scale)])
    return bool(same)


def _read_own(own: Artifact) -> LastLayer:
    last = own.head.layers[-1]
    if isinstance(last, Layer):
        return LastLayer(Rows(last.weight, last.bias), own.manifest.labels, "head")
    assert isinstance(own.head, QuantizedHead)
    scale = own.head.layers[-2].output_scale if len(own.head.layers) > 1 else own.head.input_scale
    zeros = np.zeros(len(last.weight_scale), np.int64)
    return LastLayer(Rows(last.weight, last.bias, last.weight_scale, zeros, scale), own.manifest.labels, "head")


def _write_own(own: Artifact, rows: Rows, task: Task, output: Path, overwrite: bool) -> bytes:
    last = own.head.layers[-1]
    if isinstance(last, QuantizedLayer):
        last = replace(last, weight=rows.weight, weight_scale=rows.scale, bias=rows.bias)
    else:
        last = Layer(rows.weight, rows.bias)
    labels = own.manifest.labels + tuple(c.name for c in task.classes)
    thresholds = own.manifest.thresholds + tuple(c.threshold for c in task.classes)
    head = replace(own.head, labels=labels, layers=(*own.head.layers[:-1], last))
    manifest = replace(own.manifest, labels=labels, thresholds=thresholds, self_test=None)
    test = None if isinstance(own.manifest.self_test, HeadTest) else own.manifest.self_test
    write_edited(own, head, manifest, output, overwrite, test)
    return output.read_bytes()


def _check_new(task: Task, names: Sequence[str]) -> None:
    """Raises InputError where a class of the task has the name, or a synonym, of a row."""
    taken = {plain_name(part): name for name in names for part in [name, *name.split(", ")]}
    for description in task.classes:
        if (there := taken.get(plain_name(description.name))) is not None:
            raise InputError(
                f"the class {description.name!r} is there already (row {list(names).index(there)}, {there!r}); "
                "leave it out or give it another name"
            )


def _vectors(pack: Pack, names: Sequence[str], texts: Sequence[Sequence[str]]) -> np.ndarray:
    """One vector a class from its name, synonyms counting alike, and its texts: float64 (k, d_text)."""
    flat = [(i, part) for i, name in enumerate(names) for part in name.split(", ")[:8]]
    found = class_vectors(
        pack.text_encoder.encode,
        pack.centres,
        [part for _, part in flat],
        [texts[i] for i, _ in flat],
        [()] * len(flat),
    )
    vectors = np.zeros((len(names), found.shape[1] // 2))
    np.add.at(vectors, [i for i, _ in flat], found[:, : found.shape[1] // 2])
    return unit(vectors)


def _right(directions: Directions, true: np.ndarray, rivals: int = 24) -> tuple[float, int]:
    """Share of left-out rows that lie nearer to their own true row than those of up to 24 other classes do."""
    rng = np.random.default_rng(0)
    rivals = min(rivals, len(true) - 1)
    hits = []
    for i in range(len(true)):
        others = rng.choice(len(true) - 1, rivals, replace=False)
        others += others >= i
        score = directions.left_out[[i, *others], :-1] @ true[i]
        hits.append(score[0] > score[1:].max())
    return float(np.mean(hits)), rivals


def _confusions(
    weight: np.ndarray, added: np.ndarray, names: Sequence[str], new: Sequence[str]
) -> tuple[tuple[str, str, float], ...]:
    """Pairs of a new class and another whose rows are most alike, each new class once."""
    mean = weight.mean(0)
    everything = unit(np.concatenate([weight, added]) - mean)
    labels = [*names, *new]
    cosine = everything[len(weight) :] @ everything.T
    pairs = []
    for i in range(len(new)):
        cosine[i, len(weight) : len(weight) + i + 1] = -1
        other = int(cosine[i].argmax())
        pairs.append((new[i], labels[other], float(cosine[i, other])))
    return tuple(sorted(pairs, key=lambda pair: -pair[2])[:CONFUSIONS])
