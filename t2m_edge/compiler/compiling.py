"""Task -> texts -> class vectors -> head -> artifact -> parity (DESIGN.md, how data flows through a compile)."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from t2m_edge import __version__
from t2m_edge.compiler.known_words import check_words
from t2m_edge.compiler.report import CompileReport, ModelParity
from t2m_edge.hypernetworks.class_vectors import class_vectors
from t2m_edge.packs import Pack, load_pack
from t2m_edge.task import Task, read_task
from t2m_exporters.parity import Parity, head_parity
from t2m_exporters.quantize import quantize_head
from t2m_runtime import Classifier, Head, InputError, Manifest, QuantizedHead, WorkError
from t2m_runtime.manifest import MANIFEST_SCHEMA, OutputSpec

TARGETS = ("tflite", "onnx")
PRECISIONS = ("int8", "fp32")
PROBES = 4
SELF_TEST_TOLERANCE = {"int8": 0.1, "fp32": 1e-3}
"""Largest difference of a score that another engine's kernels may show (int8: some tens of quantisation steps)."""


def compile(
    task: Task | str | Path,
    output: str | Path | None = None,
    *,
    pack: str | Path | Pack = "default",
    target: str = "tflite",
    precision: str = "int8",
    min_agreement: float = 0.95,
    overwrite: bool = False,
) -> CompileReport:
    """Compile a task to a classifier file.

    Args:
        task: a descriptions file (.txt, .csv, .json, .yaml) or a Task.
        output: file to write; by default the task's name with the target's ending, in the working folder.
        pack: "default", the path of a pack, or a loaded Pack.
        target: "tflite" or "onnx".
        precision: "int8" (weights and activations) or "fp32".
        min_agreement: share of bank images on which the written head must choose the float head's class.
        overwrite: replace an existing file.

    Returns:
        What was made, how exact it is and how long each stage took.

    Raises:
        InputError: the task, the pack or an argument is off; nothing is written.
        WorkError: the written head agrees with the float head on too few images; nothing is written.
    """
    _one_of("target", target, TARGETS)
    _one_of("precision", precision, PRECISIONS)
    stages: dict[str, float] = {}
    with _stage(stages, "read"):
        loaded = pack if isinstance(pack, Pack) else load_pack(pack)
        if not isinstance(task, Task):
            task = read_task(task, max_classes=loaded.info.max_classes)
        path = Path(output) if output is not None else Path(f"{task.name}.{target}")
        _check_output(path, overwrite)
    with _stage(stages, "encode"):
        encoder = loaded.text_encoder
        warnings = [*task.warnings, *check_words(task, encoder)]
        labels = tuple(c.name for c in task.classes)
        texts, negatives = [c.texts for c in task.classes], [c.negatives for c in task.classes]
        classes = class_vectors(encoder.encode, loaded.centres, labels, texts, negatives)
    with _stage(stages, "hypernetwork"):
        head = loaded.head(labels, classes)
    with _stage(stages, "quantise"):
        written, parity = _quantise(loaded, head, precision)
        if parity.top1_agreement < min_agreement:
            raise WorkError(
                f"the {precision} head agrees with the float head on {parity.top1_agreement:.1%} of {parity.images} "
                f"bank images, under the floor of {min_agreement:.1%}: the error enters in the head; "
                "use --precision fp32, or describe near-identical classes more distinctly"
            )
    with _stage(stages, "write"):
        manifest = _manifest(loaded, task, target, precision, written)
        data = _append(target, loaded.backbone(target, precision), written, manifest)
    with _stage(stages, "check"):
        model_parity = _run(data, loaded, head)
    with _stage(stages, "save"):
        _save(path, data, overwrite)
    return CompileReport(
        output=str(path),
        size_bytes=len(data),
        labels=labels,
        target=target,
        precision=precision,
        pack=f"{loaded.info.name} {loaded.info.version}",
        head=parity,
        model=model_parity,
        stages=stages,
        warnings=tuple(warnings),
    )


def _quantise(pack: Pack, head: Head, precision: str) -> tuple[Head | QuantizedHead, Parity]:
    features, info = pack.bank.features, pack.info
    if precision == "fp32":
        return head, Parity(0.0, 0.0, 1.0, 1.0, len(features))
    quantised = quantize_head(head, features, info.scale, info.zero_point)
    return quantised, head_parity(head, quantised, features)


def _manifest(pack: Pack, task: Task, target: str, precision: str, head: Head | QuantizedHead) -> Manifest:
    probes = pack.probes
    features = probes.quantised[:1] if isinstance(head, QuantizedHead) else probes.features[:1]
    expected = tuple(float(v) for v in softmax(head.logits(features))[0])
    return Manifest(
        schema_version=MANIFEST_SCHEMA,
        name=task.name,
        labels=head.labels,
        thresholds=tuple(c.threshold for c in task.classes),
        target=target,
        precision=precision,
        input=pack.info.input,
        output=OutputSpec("float32", "softmax"),
        pack=pack.ref,
        backbone_sha256=pack.backbone_sha256(target, precision),
        tool_version=__version__,
        self_test=replace(pack.self_test, expected=expected, tolerance=SELF_TEST_TOLERANCE[precision]),
    )


def _append(target: str, backbone: bytes, head: Head | QuantizedHead, manifest: Manifest) -> bytes:
    if target == "tflite":
        from t2m_exporters.tflite import append_head_tflite

        return append_head_tflite(backbone, head, manifest)
    from t2m_exporters.onnx import append_head_onnx

    return append_head_onnx(backbone, head, manifest)


def _run(data: bytes, pack: Pack, head: Head) -> ModelParity:
    """Run the artifact on a few probe images and compare with the float model, whose features the pack holds."""
    images = pack.probes.images[:PROBES]
    expected = softmax(head.logits(pack.probes.features[:PROBES]))
    with Classifier.load(data) as classifier:
        scores = np.stack([classifier.scores(image) for image in images])
    error = np.abs(scores - expected)
    agreement = float(np.mean(scores.argmax(1) == expected.argmax(1)))
    return ModelParity(len(images), float(error.max()), float(error.mean()), agreement)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise softmax, float32 (n, k)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _check_output(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the file to write with -o")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give another name with -o, or --overwrite")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} cannot be written to; choose another with -o")


def _save(path: Path, data: bytes, overwrite: bool) -> None:
    """Write ``data`` to a file beside ``path`` and move it there: the file appears whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        aside.chmod(0o666 & ~_umask())
        _check_output(path, overwrite)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _stage(stages: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    stages[name] = time.perf_counter() - began


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{what} {value!r} is unknown; write one of {', '.join(allowed)}")
