"""The metadata of an .onnx is found without the onnx package, within the file's bounds."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_runtime.errors import InputError
from t2m_runtime.onnx_metadata import is_onnx, read_metadata


def entry(key: bytes, value: bytes) -> bytes:
    """A metadata_props field with short key and value."""
    body = b"\x0a" + bytes([len(key)]) + key + b"\x12" + bytes([len(value)]) + value
    return b"\x72" + bytes([len(body)]) + body


GRAPH = b"\x3a\x02\x12\x00"
HEAD = b"\x08\x08"


@given(st.text(min_size=1, max_size=30), st.text(max_size=300))
@settings(max_examples=30, deadline=None)
def test_properties_that_onnx_wrote_are_read(models, key, value):
    import onnx

    model = onnx.load_from_string(models.colour_onnx(None))
    onnx.helper.set_model_props(model, {"before": "x", "t2m": value, "after": key})
    data = model.SerializeToString()
    assert is_onnx(data)
    assert read_metadata(data, "t2m", 10_000) == value.encode()
    assert read_metadata(data, "missing", 10_000) is None


def test_a_value_larger_than_asked_for_is_refused():
    with pytest.raises(InputError, match="at most 3"):
        read_metadata(HEAD + GRAPH + entry(b"k", b"four"), "k", 3)


def test_a_key_that_comes_twice_is_refused():
    with pytest.raises(InputError, match="twice"):
        read_metadata(HEAD + GRAPH + entry(b"k", b"1") + entry(b"k", b"2"), "k", 10)


def test_an_entry_without_a_value_is_empty():
    assert read_metadata(HEAD + GRAPH + b"\x72\x03\x0a\x01k", "k", 10) == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + entry(b"k", b"v"),
        HEAD + GRAPH + GRAPH,
        HEAD + GRAPH + b"\x72\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        HEAD + GRAPH + b"\x72\x05\x0a\x7fk",
        HEAD + GRAPH + b"\x80" * 50,
        HEAD + GRAPH + b"\x0b",
        HEAD + GRAPH + b"\x00\x00",
        HEAD + GRAPH + b"\x79abc",
    ],
    ids=["empty", "no-graph", "metadata-only", "two-graphs", "4EB", "key-outside", "varint", "group", "field-0", "cut"],
)
def test_broken_protobuf_is_refused(data):
    with pytest.raises(InputError):
        read_metadata(data, "k", 10)


def test_millions_of_fields_are_refused_at_once():
    start = time.perf_counter()
    with pytest.raises(InputError, match="more than 10000 fields"):
        read_metadata(HEAD + b"\x08\x01" * 20_000_000, "k", 10)
    assert time.perf_counter() - start < 1


def test_a_model_cut_anywhere_is_refused_or_has_no_such_property(models):
    data = models.colour_onnx("text")
    for size in range(len(data)):
        with contextlib.suppress(InputError):
            assert read_metadata(data[:size], "t2m_manifest", 1000) is None


@given(st.binary(max_size=100))
@settings(max_examples=300)
def test_any_bytes_give_a_value_nothing_or_an_input_error(data):
    for start in (b"", HEAD + GRAPH):
        with contextlib.suppress(InputError):
            assert isinstance(read_metadata(start + data, "k", 10), (bytes, type(None)))
