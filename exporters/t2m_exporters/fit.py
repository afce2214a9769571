"""Whether a backbone, a head and a manifest belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from t2m_exporters.graph import FEATURES, INPUT
from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, QuantizedHead

if TYPE_CHECKING:
    from t2m_runtime.manifest import Manifest
    from t2m_runtime.tflite_file import Tensor


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
    if (manifest.target, manifest.precision) != (target, "int8" if int8 else "fp32"):
        raise InputError(
            f"the manifest says {manifest.target} {manifest.precision} and the file is "
            f"{target} {'int8' if int8 else 'fp32'}; make the manifest for this file"
        )
    if (manifest.input.height, manifest.input.width) != image.shape[1:3]:
        raise InputError(
            f"the manifest's input is {manifest.input.height} x {manifest.input.width}; the backbone reads "
            f"{image.shape[1]} x {image.shape[2]}"
        )
    if manifest.output.dtype != "float32":
        raise InputError(f"the manifest's output is {manifest.output.dtype}; only float32 is written")
