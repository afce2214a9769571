"""Head files go to bytes and back, and anything else is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_runtime.artifact import load_head, read_manifest, save_head
from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, Layer, QuantizedHead, QuantizedLayer


def float_head(k: int = 3, d: int = 5, hidden: int = 0, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    sizes = [d, hidden, k] if hidden else [d, k]
    layers = tuple(
        Layer(rng.normal(size=(out, width)).astype(np.float32), rng.normal(size=out).astype(np.float32))
        for width, out in ((sizes[i], sizes[i + 1]) for i in range(len(sizes) - 1))
    )
    return Head(tuple(f"class {i}" for i in range(k)), layers)


def int8_head(k: int = 3, d: int = 5, hidden: int = 0, seed: int = 0) -> QuantizedHead:
    rng = np.random.default_rng(seed)
    sizes = [d, hidden, k] if hidden else [d, k]
    layers = tuple(
        QuantizedLayer(
            rng.integers(-127, 128, (out, width), np.int8),
            rng.uniform(0.001, 0.01, out).astype(np.float32),
            rng.integers(-1000, 1000, out).astype(np.int32),
            float(np.float32(rng.uniform(0.01, 0.1))),
            int(rng.integers(-128, 128)),
        )
        for width, out in ((sizes[i], sizes[i + 1]) for i in range(len(sizes) - 1))
    )
    return QuantizedHead(tuple(f"class {i}" for i in range(k)), 1 / 128, 0, layers)


def file_of(models, head, **changes) -> bytes:
    return save_head(head, models.manifest(target="head", labels=head.labels, **changes))


@pytest.mark.parametrize("make", [float_head, int8_head])
@given(k=st.integers(2, 6), d=st.integers(1, 9), hidden=st.integers(0, 4), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_a_head_survives_its_file(models, make, k, d, hidden, seed):
    head = make(k, d, hidden, seed)
    data = file_of(models, head)
    read, manifest = load_head(data)
    assert type(read) is type(head) and manifest.labels == read.labels == head.labels
    features = np.random.default_rng(seed).integers(-128, 128, (4, d), np.int8)
    if isinstance(head, QuantizedHead):
        np.testing.assert_array_equal(read.logits_int8(features), head.logits_int8(features))
        np.testing.assert_array_equal(read.logits(features), head.logits(features))
    else:
        x = features.astype(np.float32)
        np.testing.assert_array_equal(read.logits(x), head.logits(x))
    assert save_head(read, manifest) == data
    assert read_manifest(data) == manifest


def test_a_head_file_on_disk(models, tmp_path):
    path = tmp_path / "colours.t2mh"
    path.write_bytes(file_of(models, int8_head()))
    assert load_head(path)[1] == load_head(str(path))[1] == read_manifest(path)


def test_a_head_file_is_a_safetensors_file(models):
    safetensors = pytest.importorskip("safetensors.numpy")
    head = int8_head(hidden=4)
    tensors = safetensors.load(file_of(models, head))
    assert sorted(tensors) == [f"layer{i}.{part}" for i in (0, 1) for part in ("bias", "scale", "weight")]
    np.testing.assert_array_equal(tensors["layer0.weight"], head.layers[0].weight)


def test_an_int8_head_file_is_hardly_larger_than_its_numbers(models):
    k, d = 10, 1280
    head = int8_head(k, d)
    assert len(file_of(models, head)) <= k * d + 8 * k + sum(len(label) for label in head.labels) + 1024


def test_the_labels_of_head_and_manifest_must_agree(models):
    with pytest.raises(InputError, match="labels"):
        save_head(float_head(), models.manifest(target="head"))


def test_other_safetensors_files_are_not_ours():
    safetensors = pytest.importorskip("safetensors.numpy")
    data = safetensors.save({"x": np.zeros(3, np.float32)})
    for read in (load_head, read_manifest):
        with pytest.raises(InputError, match="did not make it"):
            read(data)


def patched(data: bytes, change) -> bytes:
    """The file with its JSON header changed by a function, and nothing else."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def put(name: str, key: str, value):
    return lambda header: header[name].update({key: value})


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("layer0.bias"),
        lambda header: header.update(extra=header["layer0.bias"]),
        lambda header: header.update({"layer1.weight": header["layer0.weight"]}),
        lambda header: header.update({f"x{i}": header["layer0.bias"] for i in range(9)}),
        lambda header: header.update({"layer0.bias": [1]}),
        put("layer0.weight", "dtype", "F64"),
        put("layer0.weight", "dtype", ["I8"]),
        put("layer0.weight", "shape", [3, 4]),
        put("layer0.weight", "shape", [15]),
        put("layer0.weight", "shape", [0, 0]),
        put("layer0.weight", "shape", [-3, -5]),
        put("layer0.weight", "shape", [3.0, 5]),
        put("layer0.weight", "shape", [True, 15]),
        put("layer0.weight", "shape", [10**9, 10**9]),
        put("layer0.weight", "shape", None),
        put("layer0.weight", "data_offsets", [0, 15]),
        put("layer0.weight", "data_offsets", [24, 10**18]),
        put("layer0.weight", "data_offsets", [39, 24]),
        put("layer0.weight", "data_offsets", [24]),
        put("__metadata__", "input_scale", "0"),
        put("__metadata__", "input_scale", "nan"),
        put("__metadata__", "input_scale", "-inf"),
        put("__metadata__", "input_scale", "x" * 10**6),
        put("__metadata__", "input_zero_point", "128"),
        put("__metadata__", "input_zero_point", "1.5"),
        put("__metadata__", "layer0.output_scale", ""),
        put("__metadata__", "layer0.output_zero_point", "9" * 10**6),
        put("__metadata__", "t2m_manifest", "{}"),
        put("__metadata__", "t2m_manifest", 5),
        lambda header: header.update(__metadata__=[]),
        lambda header: header["__metadata__"].pop("input_scale"),
    ],
)
def test_a_head_file_with_a_wrong_header_is_refused(models, change):
    data = patched(file_of(models, int8_head()), change)
    with pytest.raises(InputError) as caught:
        load_head(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_hostile_sizes_are_refused_before_anything_is_read(models):
    data = file_of(models, int8_head())
    for size in (2**63, 2**40, len(data) - 7, len(data)):
        with pytest.raises(InputError):
            load_head(size.to_bytes(8, "little") + data[8:])
    with pytest.raises(InputError):
        load_head((300_000).to_bytes(8, "little") + b'{"a":' + b"[" * 299_995)


def test_a_head_file_cut_anywhere_is_refused(models):
    data = file_of(models, int8_head())
    for read in (load_head, read_manifest):
        for size in range(len(data)):
            with pytest.raises(InputError):
                read(data[:size])
        with pytest.raises(InputError, match="no tensor"):
            read(data + b"\0")


def test_a_head_file_that_is_cut_off_is_told_so(models, tmp_path):
    path = tmp_path / "cut.t2mh"
    path.write_bytes(file_of(models, int8_head())[:-1])
    with pytest.raises(InputError, match=f"^{path}: the head file is broken .it is cut short"):
        read_manifest(path)


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_damaged_head_file_gives_a_head_or_an_input_error(models, position, patch):
    data = file_of(models, int8_head(hidden=2))
    position %= len(data)
    try:
        head, manifest = load_head(data[:position] + patch + data[position + len(patch) :])
    except InputError:
        return
    assert head.labels == manifest.labels


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_head(data):
    with pytest.raises(InputError):
        load_head(data)
