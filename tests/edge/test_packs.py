"""A pack gives its parts, and refuses to when any byte is not the one that its index lists."""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2m_edge.packs import load_pack
from t2m_edge.packs.writing import write_pack, zip_pack
from t2m_runtime import InputError


@pytest.fixture
def copy(tiny_pack: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pack, tmp_path / "copy"))


def edit_index(pack: Path, **changes: object) -> None:
    index = json.loads((pack / "pack.json").read_text())
    (pack / "pack.json").write_text(json.dumps({**index, **changes}))


def test_a_pack_gives_its_parts(tiny_pack: Path) -> None:
    pack = load_pack(tiny_pack)
    pack.verify()
    assert (pack.info.name, pack.info.features, pack.info.input.height) == ("tiny", 16, 32)
    assert pack.bank.features.dtype == np.int8
    assert pack.text_encoder.encode(["a zebra"]).shape == (1, 24)
    assert pack.backbone("tflite", "int8")[4:8] == b"TFL3"
    assert pack.head(("a", "b"), np.eye(48, dtype=np.float32)[:2]).layers[0].weight.shape == (2, 16)


def test_a_zipped_pack_is_the_same_pack(tiny_pack: Path, tmp_path: Path) -> None:
    zip_pack(tiny_pack, tmp_path / "tiny.t2mpack")
    zipped, folder = load_pack(tmp_path / "tiny.t2mpack"), load_pack(tiny_pack)
    zipped.verify()
    assert zipped.ref == folder.ref
    assert (zipped.text_encoder.encode(["red apple"]) == folder.text_encoder.encode(["red apple"])).all()


def test_a_zip_that_is_cut_off_is_told_from_what_is_no_pack(tiny_pack: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.t2mpack"
    zip_pack(tiny_pack, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="tiny.t2mpack is damaged or cut off .*get the pack again"):
        load_pack(path)
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match="tiny.t2mpack is not a pack; give"):
        load_pack(path)


def test_zipping_twice_gives_the_same_bytes(tiny_pack: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        zip_pack(tiny_pack, tmp_path / f"{name}.t2mpack")
    assert (tmp_path / "one.t2mpack").read_bytes() == (tmp_path / "two.t2mpack").read_bytes()


def test_an_unchanged_pack_is_loaded_once(tiny_pack: Path) -> None:
    assert load_pack(tiny_pack) is load_pack(tiny_pack)


@pytest.mark.parametrize("damage", ["changed", "cut", "longer", "missing"])
def test_a_file_that_is_not_the_listed_one_is_refused(copy: Path, damage: str) -> None:
    path = copy / "bank.safetensors"
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"changed": data[:-1] + b"\x07", "cut": data[:-9], "longer": data + b"x"}[damage])
    with pytest.raises(InputError, match=r"bank\.safetensors"):
        _ = load_pack(copy).bank


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"input": None}, "get the pack again"),
        ({"features": {"size": "many"}}, "get the pack again"),
        ({"files": []}, "lists no files"),
        ({"files": {f"{i}": {} for i in range(100)}}, "more than"),
    ],
)
def test_an_index_that_is_off_is_refused(copy: Path, changes: dict, said: str) -> None:
    edit_index(copy, **changes)
    with pytest.raises(InputError, match=said):
        load_pack(copy)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a\\b"])
def test_a_listed_file_may_not_leave_the_pack(copy: Path, name: str) -> None:
    (copy.parent / "secret").write_bytes(b"x")
    edit_index(copy, files={name: {"bytes": 1, "sha256": "0" * 64}})
    with pytest.raises(InputError, match="leaves the pack"):
        load_pack(copy).verify()


def test_a_huge_claim_is_refused_before_it_is_read(copy: Path) -> None:
    edit_index(copy, files={"bank.safetensors": {"bytes": 2**50, "sha256": "0" * 64}})
    with pytest.raises(InputError, match="at most"):
        _ = load_pack(copy).bank


def test_no_pack_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pack at"):
        load_pack(tmp_path / "nothing")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), head=st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 18]))
def test_any_bytes_as_a_pack_are_an_input_error(tmp_path: Path, data: bytes, head: bytes) -> None:
    path = tmp_path / "any.t2mpack"
    path.write_bytes(head + data)
    with pytest.raises(InputError):
        load_pack(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_a_damaged_zip_is_an_input_error_or_the_same_pack(
    tiny_pack: Path, tmp_path: Path, place: float, value: int
) -> None:
    path = tmp_path / "tiny.t2mpack"
    if not path.exists():
        zip_pack(tiny_pack, path)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] = value
    damaged = tmp_path / "damaged.t2mpack"
    damaged.write_bytes(data)
    with contextlib.suppress(InputError):
        found = load_pack(damaged)
        found.verify()
        assert found.ref == load_pack(tiny_pack).ref


def test_a_zip_bomb_is_cut_at_the_claimed_size(tmp_path: Path) -> None:
    path = tmp_path / "bomb.t2mpack"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("pack.json", b" " * 50_000_000)
    with pytest.raises(InputError):
        load_pack(path)


def test_a_pack_is_not_overwritten_by_chance(tiny_pack: Path) -> None:
    with pytest.raises(InputError, match="--overwrite"):
        write_pack(tiny_pack, {}, {})
    load_pack(tiny_pack).verify()
