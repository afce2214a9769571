"""Tables of a .tflite: what LiteRT's own schema module reads, and an InputError for anything else."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_runtime.backbone_file import without_head
from t2m_runtime.errors import InputError
from t2m_runtime.tflite_file import is_whole, read_constant, read_operator, read_tables, read_tensor

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def test_tensors_and_operators_are_those_that_the_schema_module_reads(models):
    data = models.colour_tflite()
    tree = schema.ModelT.InitFromPackedBuf(data, 0)
    graph, tables = tree.subgraphs[0], read_tables(data)
    assert tables.inputs == tuple(graph.inputs) and tables.outputs == tuple(graph.outputs)
    for expected, position in zip(graph.tensors, tables.tensors, strict=True):
        found = read_tensor(data, position)
        assert (found.name, found.shape) == (expected.name.decode(), tuple(expected.shape))
        values = tree.buffers[expected.buffer].data
        if values is not None and len(values):
            assert read_constant(data, tables, found).tobytes() == np.asarray(values).tobytes()
    for expected, position in zip(graph.operators, tables.operators, strict=True):
        index, inputs, outputs = read_operator(data, position)
        assert (index, inputs, outputs) == (expected.opcodeIndex, tuple(expected.inputs), tuple(expected.outputs))


def test_a_part_of_a_model_is_not_whole(models):
    data = models.colour_tflite()
    assert is_whole(data) and is_whole(data + b"more")
    for size in range(0, len(data) // 2, 7):
        assert not is_whole(data[:size])


@given(st.integers(0, 100_000), st.binary(min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_a_damaged_model_is_read_or_refused(models, position, patch):
    data = bytearray(models.colour_tflite())
    position %= len(data)
    data[position : position + len(patch)] = patch
    data = bytes(data)
    is_whole(data)
    with contextlib.suppress(InputError):
        tables = read_tables(data)
        for place in tables.tensors:
            with contextlib.suppress(InputError):
                read_constant(data, tables, read_tensor(data, place))
        for place in tables.operators:
            read_operator(data, place)
    with contextlib.suppress(InputError):
        without_head(data, "tflite")


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_or_read(data):
    for prefix in (b"", b"\x1c\x00\x00\x00TFL3"):
        for kind in ("tflite", "onnx"):
            with contextlib.suppress(InputError):
                without_head(prefix + data, kind)
