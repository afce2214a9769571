import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from t2m_edge.text.encoder_file import read_tensors, write_tensors
from t2m_runtime.errors import InputError

arrays = st.sampled_from([np.int8, np.uint32, np.float32]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=2, max_side=5))
)


@given(tensors=st.dictionaries(st.text("abc_", min_size=1, max_size=8), arrays, max_size=4))
def test_tensors_come_back_as_written(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("file") / "t.safetensors"
    path.write_bytes(write_tensors(tensors))
    back = read_tensors(path)
    assert back.keys() == tensors.keys()
    for name, array in tensors.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_the_safetensors_package_reads_the_file(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    tensors = {"a": np.arange(6, dtype=np.int8).reshape(2, 3), "b": np.array([1.5], np.float32)}
    (tmp_path / "t.safetensors").write_bytes(write_tensors(tensors))
    back = safetensors.load_file(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(back["a"], tensors["a"])
    np.testing.assert_array_equal(back["b"], tensors["b"])


def refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_tensors(path)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole = write_tensors({"a": np.arange(40, dtype=np.float32)})
    for end in range(0, len(whole), 7):
        refused(tmp_path / "cut", whole[:end])


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "I8", "shape": 3, "data_offsets": [0, 3]},
        {"dtype": "I8", "shape": [1, 1, 1], "data_offsets": [0, 1]},
        {"dtype": "I8"},
        [],
        None,
    ],
)
def test_a_header_that_does_not_fit_its_bytes_is_refused(tmp_path, entry):
    header = json.dumps({"a": entry}).encode()
    refused(tmp_path / "bad", len(header).to_bytes(8, "little") + header + bytes(8))


@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path_factory, data):
    refused(tmp_path_factory.mktemp("file") / "random", data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="gone.safetensors"):
        read_tensors(tmp_path / "gone.safetensors")
