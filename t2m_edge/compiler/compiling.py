"""Task -> texts -> class vectors -> head -> artifact -> parity (DESIGN.md, how data flows through a compile)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from t2m_edge import __version__
from t2m_edge.compiler.artifacts import check_thresholds, head_test, output_spec, with_self_test, write_artifact
from t2m_edge.compiler.cells import (
    ENDINGS,
    OUTPUT_TYPES,
    PRECISIONS,
    SCORES,
    TARGETS,
    check_ending,
    not_int8,
    target_of,
    why_not,
)
from t2m_edge.compiler.known_words import check_words
from t2m_edge.compiler.made_with import made_with
from t2m_edge.compiler.negatives_alone import negatives_alone, with_lead
from t2m_edge.compiler.one_thread import one_thread
from t2m_edge.compiler.report import CompileReport, ModelParity
from t2m_edge.compiler.running import running
from t2m_edge.compiler.saving import check_output, written_aside
from t2m_edge.compiler.trust import expected_accuracy, measured_accuracy, riskiest_pairs
from t2m_edge.hypernetworks.class_vectors import class_vectors
from t2m_edge.packs import Pack, load_pack
from t2m_edge.task import Task, read_task
from t2m_edge.task.source import refuse_none_label
from t2m_exporters.parity import Parity, compare, head_parity, worst_layer
from t2m_exporters.quantize_head import quantize_head
from t2m_exporters.weights import rounded_head
from t2m_runtime import Classifier, Head, InputError, Manifest, QuantizedHead, WorkError
from t2m_runtime.head import scores_of
from t2m_runtime.manifest import MANIFEST_SCHEMA, NEVER_REACHED, PRESENT, OutputSpec

PROBES = 4
CHECK_THREADS = 4
"""Of the engine that runs the written file: a large backbone takes most of a compile's time there."""
COARSE = 100
"""Number of classes from which softmax scores in steps of 1/256 are worth a warning."""


@one_thread()
def compile(
    task: Task | str | Path,
    output: str | Path | None = None,
    *,
    pack: str | Path | Pack = "default",
    target: str | None = None,
    precision: str = "int8",
    output_type: str = "float32",
    scores: str = "softmax",
    reject: float | None = None,
    multi_label: bool = False,
    min_agreement: float = 0.95,
    full_parity: bool = False,
    overwrite: bool = False,
) -> CompileReport:
    """Compile a task to a classifier file.

    Args:
        task: a descriptions file (.txt, .csv, .json, .yaml), "-" for the .txt form from standard input, or a Task.
        output: file to write, not one that is read; by default the task's name with the target's ending, in the
            working folder.
        pack: "default", the path of a pack, or a loaded Pack.
        target: "tflite", "onnx", or "head": a head file for a runtime that has the backbone. By default what the
            output's ending says, "tflite" without one.
        precision: "int8" (weights and activations), "fp32", "fp16" or "int8-dynamic" (int8 weights alone).
        output_type: "float32", "uint8" or "int8".
        scores: "softmax" (they sum to 1) or "logits".
        reject: adds the class "none of these", so set that this share of images outside the task still gets a name.
        multi_label: each class is a question of its own ("animals with fur") with a sigmoid and a threshold of its own;
            one class is enough. ``multi_label.py`` says what a score of 0.5 means.
        full_parity: run the artifact on all probe images of the pack, not on four.
        min_agreement: share of bank images on which the written head must choose the float head's class; of a
            multi-label model, share of the scores that must say as the float head whether the class is present.
        overwrite: replace an existing file.

    Returns:
        What was made, how exact it is and how long each stage took.

    Raises:
        InputError: the task, the pack or an argument is off; nothing is written.
        WorkError: the written head agrees with the float head on too few images; nothing is written.
    """
    guessed = target is None
    target = target or target_of(None if output is None else Path(output))
    for what, value, allowed in (
        ("target", target, TARGETS),
        ("precision", precision, PRECISIONS),
        ("output_type", output_type, OUTPUT_TYPES),
        ("scores", scores, SCORES),
    ):
        _one_of(what, value, allowed)
    if multi_label:
        if scores != "softmax":
            raise InputError("--multi-label does not go with --scores: its scores are sigmoids; leave one out")
        if reject is not None:
            raise InputError("--multi-label does not go with --reject: its classes have thresholds; leave one out")
        scores = "sigmoid"
    if reason := why_not(target, precision, output_type, scores):
        raise InputError(reason)
    stages: dict[str, float] = {}
    with _stage(stages, "read"):
        loaded = pack if isinstance(pack, Pack) else load_pack(pack)
        if target != "head":
            loaded.need_backbone(target, precision)
        inputs = [loaded.path]
        if not isinstance(task, Task):
            inputs.append(Path(task))
            task = read_task(task, max_classes=loaded.info.max_classes, min_classes=1 if multi_label else 2)
        check_thresholds((c.threshold for c in task.classes), scores)
        for description in task.classes:
            refuse_none_label(description.name, task.source or task.name, description.line)
        path = Path(output) if output is not None else Path(f"{task.name}.{ENDINGS[target]}")
        check_output(path, overwrite, inputs)
        check_ending(path, target, guessed)
    with _stage(stages, "encode"):
        encoder = loaded.text_encoder
        word_warnings, little_known = check_words(task, encoder)
        warnings = [*task.warnings, *word_warnings]
        labels = tuple(c.name for c in task.classes)
        texts, negatives = [c.texts for c in task.classes], [c.negatives for c in task.classes]
        classes = class_vectors(encoder.encode, loaded.centres, labels, texts, negatives, loaded.info.prompts)
    alone = negatives_alone(task)
    with _stage(stages, "hypernetwork"):
        head = loaded.head(labels, classes)
        if not multi_label:
            head = with_lead(head, alone, loaded.bank.real)
    made, rejection = head, None
    with _stage(stages, "quantise"):
        if multi_label:
            from t2m_edge.compiler.multi_label import with_levels

            head = with_levels(head, loaded.bank.real)
        if reject is not None:
            from t2m_edge.compiler.rejecting import with_none

            head, rejection = with_none(head, reject, loaded)
        written = _quantise(loaded, head, precision, scores)
    with _stage(stages, "write"):
        spec = output_spec(written, output_type, scores)
        manifest = _manifest(loaded, task, target, precision, written, spec, reject)
        data = write_artifact(b"" if target == "head" else loaded.backbone(target, precision), written, manifest)
    # LiteRT and ONNX Runtime work outside Python's lock: meanwhile all that the file does not need is done.
    with ExitStack() as stack:
        check = partial(_run, data, loaded, head, manifest, full_parity)
        checked = stack.enter_context(running(check)) if target != "head" else lambda: None
        with _stage(stages, "compare"):
            parity = _compare(loaded, head, written, target, precision, 0.0 if multi_label else None)
            if parity.top1_agreement < min_agreement:
                raise WorkError(
                    f"the {precision} head agrees with the float head on {parity.top1_agreement:.1%} of "
                    f"{'the answers on ' if multi_label else ''}{parity.images} bank images, under the floor of "
                    f"{min_agreement:.1%}: the error enters in {worst_layer(head, written, _bank(loaded, written))}; "
                    "use --precision fp32, describe near-identical classes more distinctly, or accept it with "
                    f"--min-agreement {np.floor(parity.top1_agreement * 100) / 100:g}"
                )
        with _stage(stages, "trust"):
            foreign = len(little_known) * 2 > len(labels)
            expected = None if multi_label or foreign else expected_accuracy(made, loaded.info.calibration, alone)
            measured = None if multi_label else measured_accuracy(head, loaded.bank, alone)
            riskiest = () if multi_label else riskiest_pairs(made)
        with _stage(stages, "save"):
            move = stack.enter_context(written_aside(path, data, overwrite))
        with _stage(stages, "check"):
            model_parity = checked()
            move()
    if output_type != "float32" and scores == "softmax" and len(labels) >= COARSE:
        warnings.append(f"{output_type} scores have steps of 1/256, coarse for {len(labels)} classes; float32 has none")
    return CompileReport(
        output=str(path),
        size_bytes=len(data),
        labels=labels,
        target=target,
        precision=precision,
        pack=f"{loaded.info.name} {loaded.info.version}",
        head=parity,
        model=model_parity,
        backbone=loaded.info.parity.get(f"{precision}.{target}", {}),
        not_int8=not_int8(target, output_type, scores) if precision == "int8" and target != "head" else {},
        expected=expected,
        measured=measured,
        riskiest=riskiest,
        little_known=little_known,
        negatives_alone=tuple(label for label, only in zip(labels, alone) if only),
        rejection=rejection,
        stages=stages,
        warnings=tuple(warnings),
    )


def _quantise(pack: Pack, head: Head, precision: str, scores: str) -> Head | QuantizedHead:
    """The head as it is written."""
    if precision != "int8":
        return head
    info, bank, softmax = pack.info, pack.bank, scores == "softmax"
    return quantize_head(head, bank.features, info.scale, info.zero_point, info.logits, bank.real, softmax)


def _compare(
    pack: Pack, head: Head, written: Head | QuantizedHead, target: str, precision: str, level: float | None
) -> Parity:
    """How close the written head is to the float one on the bank."""
    bank = pack.bank
    if isinstance(written, QuantizedHead):
        return head_parity(head, written, bank.features, bank.real, level)
    if precision == "fp32":
        return Parity(0.0, 0.0, 1.0, 1.0, len(bank.features))
    return compare(head.logits(bank.real), rounded_head(head, target, precision).logits(bank.real), level)


def _bank(pack: Pack, head: Head | QuantizedHead) -> np.ndarray:
    """The bank's features as a head reads them: int8 or float32 (n, d)."""
    return pack.bank.features if isinstance(head, QuantizedHead) else pack.bank.real


def _manifest(
    pack: Pack,
    task: Task,
    target: str,
    precision: str,
    head: Head | QuantizedHead,
    output: OutputSpec,
    reject: float | None,
) -> Manifest:
    thresholds = tuple(c.threshold for c in task.classes)
    manifest = Manifest(
        schema_version=MANIFEST_SCHEMA,
        name=task.name,
        labels=head.labels,
        thresholds=thresholds if reject is None else (*thresholds, NEVER_REACHED),
        target=target,
        precision=precision,
        input=pack.info.input,
        output=output,
        pack=pack.ref,
        backbone_sha256=pack.backbone_id(precision),
        tool_version=__version__,
        made_with=made_with(),
        independent=pack.info.independent and len(head.layers) == 1,
        reject=reject,
    )
    if target == "head":
        return replace(manifest, self_test=head_test(head, _bank(pack, head), 0))
    probes = pack.probes
    features = probes.quantised[:1] if isinstance(head, QuantizedHead) else probes.features[:1]
    return with_self_test(manifest, head, features, pack.self_test)


def _run(data: bytes, pack: Pack, head: Head, manifest: Manifest, full: bool) -> ModelParity:
    """Run the artifact on probe images and compare with the float model, whose features the pack holds.

    Raises:
        WorkError: it does not give its own self-test answer.
    """
    count = len(pack.probes.images) if full else PROBES
    images = pack.probes.images[:count]
    expected = scores_of(head.logits(pack.probes.features[:count]), manifest.output.scores)
    with Classifier.load(data, num_threads=min(CHECK_THREADS, os.cpu_count() or 1), trusted=True) as classifier:
        found = np.stack([classifier.scores(image) for image in images])
    test = manifest.self_test
    if test is not None and (error := float(np.abs(found[0] - test.expected).max())) > test.tolerance:
        raise WorkError(
            f"the written model misses its own self-test by {error:.3g} (tolerance {test.tolerance:g}) on "
            f"{classifier.engine.name} {classifier.engine.version}: the error enters in the backbone; "
            "use another --precision, and report it"
        )
    parity = compare(expected, found, PRESENT if manifest.output.scores == "sigmoid" else None)
    return ModelParity(parity.images, parity.max_abs, parity.mean_abs, parity.cosine, parity.top1_agreement)


@contextmanager
def _stage(stages: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    stages[name] = time.perf_counter() - began


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{what} {value!r} is unknown; write one of {', '.join(allowed)}")
