"""The protobuf pieces, read back with the onnx package."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_runtime import onnx_wire as wire
from t2m_runtime.errors import InputError

onnx = pytest.importorskip("onnx")


@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_read_back(value):
    assert wire.read_varint(memoryview(wire.varint(value)), 0) == value


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (0, 2)])
def test_tensors_keep_shape_and_values(dtype, shape):
    value = np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
    found = onnx.TensorProto.FromString(wire.tensor("name", value))
    assert found.name == "name"
    read = onnx.numpy_helper.to_array(found)
    assert read.dtype == value.dtype and read.shape == shape
    np.testing.assert_array_equal(read, value)


def test_a_node_is_what_onnx_helper_makes():
    found = onnx.NodeProto.FromString(wire.node("Gemm", ["a", "b"], ["c"], transB=1, axis=-1, alpha=0.5))
    assert found == onnx.helper.make_node("Gemm", ["a", "b"], ["c"], name="c", alpha=0.5, axis=-1, transB=1)


def test_a_value_info_is_what_onnx_helper_makes():
    found = onnx.ValueInfoProto.FromString(wire.value_info("scores", "float32", (1, 1000)))
    assert found == onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, 1000])


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_an_input_error(data):
    try:
        found = list(wire.fields(memoryview(data)))
    except InputError:
        return
    assert sum(end - start for _, _, start, _, end in found) == len(data)


def test_a_constant_is_read_and_one_whose_data_do_not_fill_its_shape_is_refused() -> None:
    from onnx import numpy_helper

    values = np.arange(6, dtype=np.int64).reshape(2, 3)
    message = numpy_helper.from_array(values, "w").SerializeToString()
    name, found = wire.constant(memoryview(message))
    assert name == "w"
    np.testing.assert_array_equal(found, values)
    proto = numpy_helper.from_array(values, "w")
    for dims in ([2, 4], [-1, 6], [2**62, 2**62]):
        proto.ClearField("dims")
        proto.dims.extend(dims)
        with pytest.raises(InputError, match="'w' is damaged"):
            wire.constant(memoryview(proto.SerializeToString()))
