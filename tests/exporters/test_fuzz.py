"""Damaged models: every reader of the exporters gives something, or an InputError."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from t2m_exporters.foreign_tflite import adopt_tflite
from t2m_exporters.heads import backbone_of, read_head
from t2m_exporters.onnx import append_head_onnx, write_backbone_onnx
from t2m_exporters.onnx_derived import derive_onnx
from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
from t2m_exporters.tflite_derived import derive_tflite
from t2m_runtime.backbone_file import without_head
from t2m_runtime.errors import InputError

EXAMPLES = settings(
    max_examples=80,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PATCHES = st.lists(st.tuples(st.integers(0, 10**7), st.binary(min_size=1, max_size=5)), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def models(make, graph):
    """kind -> (a float classifier, its manifest)."""
    head = make.head(3, 32, 4)
    found = {}
    for kind, write, append in (
        ("tflite", write_backbone_tflite, append_head_tflite),
        ("onnx", write_backbone_onnx, append_head_onnx),
    ):
        manifest = replace(make.manifest(head, kind, "fp32", 48))
        found[kind] = append(write(graph), head, manifest), manifest
    return found


def damaged(data: bytes, patches: list[tuple[int, bytes]]) -> bytes:
    """The model with bytes changed; half of them in its first 4 kB, where the tables are."""
    out = bytearray(data)
    for number, (place, patch) in enumerate(patches):
        place %= len(out) if number % 2 else min(4096, len(out))
        out[place : place + len(patch)] = patch
    return bytes(out[: len(data)])


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
@EXAMPLES
@given(patches=PATCHES)
def test_damaged_models_are_read_or_refused(models, kind, patches):
    data, manifest = models[kind]
    data = damaged(data, patches)
    for read in (
        lambda: without_head(data, kind),
        lambda: backbone_of(data, kind),
        lambda: read_head(data, kind, manifest),
        lambda: (derive_tflite if kind == "tflite" else derive_onnx)(data, "fp16"),
        lambda: (derive_tflite if kind == "tflite" else derive_onnx)(data, "int8-dynamic"),
        lambda: adopt_tflite(data) if kind == "tflite" else None,
    ):
        with contextlib.suppress(InputError):
            read()
