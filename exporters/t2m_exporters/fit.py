"""Whether a backbone, a head and a manifest belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from t2m_exporters.tensor_names import FEATURES, INPUT
from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, QuantizedHead

if TYPE_CHECKING:
    from t2m_runtime.manifest import Manifest
    from t2m_runtime.tflite_file import Tensor


SOFTMAX_INT8 = (1 / 256, -128)
"""What TFLite's int8 SOFTMAX demands of its output: scale, zero point."""


def output_quantization(head: Head | QuantizedHead, dtype: str, scores: str) -> tuple[float, int]:
    """Scale and zero point of a classifier's integer output.

    "softmax": steps of 1/256, in which scores under 1/512 are 0. "logits": the int8 head's own.

    Args:
        dtype: "int8" or "uint8" (the int8 number plus 128).

    Raises:
        InputError: logits of a float head, which have no range that a calibration found.
    """
    if scores == "softmax":
        scale, zero_point = SOFTMAX_INT8
    elif isinstance(head, QuantizedHead):
        scale, zero_point = head.layers[-1].output_scale, head.layers[-1].output_zero_point
    else:
        raise InputError("integer logits need precision int8; use it, or softmax scores, or float32 output")
    return float(np.float32(scale)), int(zero_point) + (128 if dtype == "uint8" else 0)


def check_fit(image: Tensor, features: Tensor, head: Head | QuantizedHead, manifest: Manifest, target: str) -> None:
    """Raises InputError unless backbone ends, head, manifest and target belong together."""
    int8 = isinstance(head, QuantizedHead)
    dtype = "int8" if int8 else "float32"
    if image.name != INPUT or image.dtype != "uint8" or len(image.shape) != 4 or features.name != FEATURES:
        raise InputError('the backbone does not read a uint8 "image" and give "features"; use the pack\'s own file')
    if features.dtype != dtype:
        raise InputError(f"the backbone gives {features.dtype} features and the head reads {dtype}; match precisions")
    if features.shape != (1, head.n_features):
        raise InputError(f"the backbone's features have shape {features.shape}; the head reads (1, {head.n_features})")
    given = np.float32(features.scale), features.zero_point
    if int8 and (np.float32(head.input_scale), head.input_zero_point) != given:
        raise InputError(
            f"the head reads features at scale {head.input_scale}, zero point {head.input_zero_point}; the backbone "
            f"gives {features.scale}, {features.zero_point}; quantise the head with the backbone's own"
        )
    if tuple(manifest.labels) != head.labels:
        raise InputError("the manifest's labels are not the head's; make the manifest from the head")
    if manifest.target != target or int8 != (manifest.precision == "int8"):
        raise InputError(
            f"the manifest says {manifest.target} {manifest.precision} and the file is {target} with "
            f"{'an int8' if int8 else 'a float'} head; make the manifest for this file"
        )
    if (manifest.input.height, manifest.input.width) != image.shape[1:3]:
        raise InputError(
            f"the manifest's input is {manifest.input.height} x {manifest.input.width}; the backbone reads "
            f"{image.shape[1]} x {image.shape[2]}"
        )
    output = manifest.output
    if output.dtype != "float32":
        expected = output_quantization(head, output.dtype, output.scores)
        if (output.scale, output.zero_point) != expected:
            raise InputError(
                f"the manifest's output has scale {output.scale}, zero point {output.zero_point}; the head gives "
                f"{expected}; make the manifest from the head"
            )
