"""A head and the facts around it -> the bytes of an artifact, with the self-test inside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from t2m_exporters.fit import output_quantization
from t2m_exporters.weights import rounded_head
from t2m_runtime import Head, Manifest, QuantizedHead
from t2m_runtime.head import scores_of
from t2m_runtime.manifest import OutputSpec
from t2m_runtime.self_test import HeadTest, SelfTest

TOLERANCE = {"int8": 0.1, "int8-dynamic": 0.1, "fp16": 0.01, "fp32": 1e-3}
"""Largest difference of a score that another engine's kernels may show (int8: some tens of quantisation steps)."""


def output_spec(head: Head | QuantizedHead, output_type: str, scores: str) -> OutputSpec:
    """What the artifact of a head gives."""
    if output_type == "float32":
        return OutputSpec(output_type, scores)
    return OutputSpec(output_type, scores, *output_quantization(head, output_type, scores))


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
    tolerance = TOLERANCE[manifest.precision]
    if output.scores != "logits":
        found = scores_of(found, output.scores)
    else:
        # A softmax or sigmoid score moves at most a quarter as far as a logit does.
        tolerance *= max(4.0, float(np.abs(found).max()))
    if output.dtype != "float32":
        low = -128 if output.dtype == "int8" else 0
        steps = np.clip(np.rint(found / output.scale) + output.zero_point, low, low + 255)
        found = (steps - output.zero_point) * output.scale
        tolerance = max(tolerance, 2 * output.scale)
    return replace(manifest, self_test=replace(test, expected=tuple(map(float, found[0])), tolerance=tolerance))


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
