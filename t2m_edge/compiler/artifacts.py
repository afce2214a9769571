"""A head and the facts around it -> the bytes of an artifact, with the self-test inside."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from t2m_exporters.fit import output_quantization
from t2m_exporters.weights import rounded_head
from t2m_runtime import Head, InputError, Manifest, QuantizedHead
from t2m_runtime.head import scores_of
from t2m_runtime.manifest import NEVER_REACHED, OutputSpec
from t2m_runtime.self_test import HeadTest, SelfTest

TOLERANCE = {"int8-dynamic": 0.25, "fp16": 0.04, "fp32": 4e-3}
"""How far another engine's kernels may move a logit of size up to 4; of a larger one, in proportion."""
FEATURE_STEPS, LOGIT_STEPS = 2, 3
"""In int8, they may be off by so many steps in each feature, up or down, and in the logit."""


def output_spec(head: Head | QuantizedHead, output_type: str, scores: str) -> OutputSpec:
    """What the artifact of a head gives."""
    if output_type == "float32":
        return OutputSpec(output_type, scores)
    return OutputSpec(output_type, scores, *output_quantization(head, output_type, scores))


def check_thresholds(thresholds: Iterable[float | None], scores: str) -> None:
    """Raises InputError where an output of logits is to be compared with a threshold, which is a softmax score."""
    found = [t for t in thresholds if t not in (None, NEVER_REACHED)]
    if scores == "logits" and found:
        raise InputError(
            f"threshold {found[0]:g} is a softmax score and does not go with logits; leave one of them out"
        )


def with_self_test(
    manifest: Manifest, head: Head | QuantizedHead, features: np.ndarray, test: SelfTest | None
) -> Manifest:
    """The manifest with the answer that the artifact must give.

    Args:
        features: (1, d) of the test image, as the artifact's backbone gives them: int8 for a QuantizedHead.
        test: the image, its answer still to be filled in; None leaves the manifest without a self-test.
    """
    if test is None:
        return replace(manifest, self_test=None)
    held = head if isinstance(head, QuantizedHead) else rounded_head(head, manifest.target, manifest.precision)
    output, found = manifest.output, held.logits(features)
    tolerance = _tolerated_logit(held, manifest.precision, found)
    if output.scores != "logits":
        found = scores_of(found, output.scores)
        tolerance = _tolerated_score(found, tolerance)
    if output.dtype != "float32":
        low = -128 if output.dtype == "int8" else 0
        steps = np.clip(np.rint(found / output.scale) + output.zero_point, low, low + 255)
        found = (steps - output.zero_point) * output.scale
        tolerance = max(tolerance, 2 * output.scale)
    return replace(manifest, self_test=replace(test, expected=tuple(map(float, found[0])), tolerance=tolerance))


def _tolerated_logit(head: Head | QuantizedHead, precision: str, logits: np.ndarray) -> float:
    """How far another engine may move a logit."""
    if isinstance(head, Head):
        return TOLERANCE[precision] * max(1.0, float(np.abs(logits).max()) / 4)
    last = head.layers[-1]
    step = head.layers[-2].output_scale if len(head.layers) > 1 else head.input_scale
    longest = np.linalg.norm(last.weight * last.weight_scale[:, None], axis=1).max()
    return float(FEATURE_STEPS * step * longest + LOGIT_STEPS * last.output_scale)


def _tolerated_score(scores: np.ndarray, tolerance: float) -> float:
    """How far a softmax or sigmoid score can move when its logit moves by the tolerance against the others.

    So a flat answer of many classes is tested as sharply as a peaked one of a few.
    """
    odds = math.exp(tolerance) - 1
    return float((odds * scores * (1 - scores) / (1 + odds * scores)).max())


def head_test(head: Head | QuantizedHead, features: np.ndarray, index: int) -> HeadTest:
    """The self-test of a head file on a row of the bank.

    Args:
        features: (n, d) of the bank, int8 for a QuantizedHead, else float32.
    """
    logits = head.logits(features[index : index + 1])[0]
    step = head.layers[-1].output_scale if isinstance(head, QuantizedHead) else 1e-3
    digits = max(2, 1 - int(np.floor(np.log10(step))))
    return HeadTest(index, tuple(round(float(v), digits) for v in logits), float(f"{step:.2g}"))


def write_artifact(backbone: bytes, head: Head | QuantizedHead, manifest: Manifest) -> bytes:
    """The bytes of a full model (``backbone`` is the target's graph) or of a head file (``backbone`` is empty)."""
    if manifest.target == "tflite":
        from t2m_exporters.tflite import append_head_tflite

        return append_head_tflite(backbone, head, manifest)
    if manifest.target == "onnx":
        from t2m_exporters.onnx import append_head_onnx

        return append_head_onnx(backbone, head, manifest)
    from t2m_runtime.artifact import save_head

    return save_head(head, manifest)
