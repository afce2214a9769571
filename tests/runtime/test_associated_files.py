"""The zip at the end of a .tflite is read within its bounds."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_runtime.associated_files import read_associated_file
from t2m_runtime.errors import InputError

PREFIX = b"\x1c\0\0\0TFL3" + bytes(range(200))


def archive(members: dict[str, bytes], prefix: bytes = PREFIX, **options) -> bytes:
    file = io.BytesIO(prefix)
    with zipfile.ZipFile(file, "a", **options) as out:
        for name, body in members.items():
            out.writestr(name, body)
    return file.getvalue()


@given(st.binary(max_size=50), st.binary(max_size=300))
def test_a_stored_member_is_read(body, prefix):
    data = archive({"labels.txt": b"a\nb", "m.json": body, "z": b"1"}, prefix)
    assert read_associated_file(data, "m.json", 1000) == body
    assert read_associated_file(data, "labels.txt", 1000) == b"a\nb"


def test_an_archive_that_was_made_apart_and_appended_is_read():
    data = PREFIX + archive({"m.json": b"body"}, prefix=b"")
    assert read_associated_file(data, "m.json", 1000) == b"body"


def test_an_archive_with_a_comment_is_read():
    file = io.BytesIO(PREFIX)
    with zipfile.ZipFile(file, "a") as out:
        out.writestr("m.json", b"body")
        out.comment = b"made by hand"
    assert read_associated_file(file.getvalue(), "m.json", 1000) == b"body"


@pytest.mark.parametrize("data", [b"", b"PK", PREFIX, PREFIX * 1000, b"PK\x05\x06"])
def test_a_file_without_an_archive_has_no_member(data):
    assert read_associated_file(data, "m.json", 1000) is None


def test_a_missing_member_is_none():
    assert read_associated_file(archive({"other": b"x"}), "m.json", 1000) is None


def test_a_member_larger_than_asked_for_is_refused():
    with pytest.raises(InputError, match="at most 3"):
        read_associated_file(archive({"m.json": b"body"}), "m.json", 3)


def test_a_compressed_member_is_refused():
    data = archive({"m.json": b"0" * 10_000}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="compressed"):
        read_associated_file(data, "m.json", 100_000)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused():
    file = io.BytesIO(PREFIX)
    with zipfile.ZipFile(file, "a") as out:
        out.writestr("m.json", b"one")
        out.writestr("m.json", b"two")
    with pytest.raises(InputError, match="twice"):
        read_associated_file(file.getvalue(), "m.json", 1000)


def test_too_many_members_are_refused():
    with pytest.raises(InputError, match="100 members"):
        read_associated_file(archive({str(i): b"" for i in range(100)}), "m.json", 1000)


def test_damaged_content_is_refused():
    data = archive({"m.json": b"body"})
    with pytest.raises(InputError, match="damaged"):
        read_associated_file(data.replace(b"body", b"bodi"), "m.json", 1000)


def patched_end(data: bytes, offset: int, code: str, value: int) -> bytes:
    """Changes one field of the end record."""
    out = bytearray(data)
    struct.pack_into(code, out, len(data) - 22 + offset, value)
    return bytes(out)


@pytest.mark.parametrize(
    ("offset", "code", "value"),
    [
        (4, "<H", 1),
        (8, "<H", 7),
        (12, "<I", 2**32 - 1),
        (12, "<I", 0),
        (16, "<I", 2**32 - 1),
        (20, "<H", 9),
    ],
    ids=["disk", "count", "size-4GB", "size-0", "offset-4GB", "comment"],
)
def test_an_end_record_that_lies_is_refused(offset, code, value):
    data = archive({"m.json": b"body"})
    with pytest.raises(InputError):
        read_associated_file(patched_end(data, offset, code, value), "m.json", 1000)


@pytest.mark.parametrize("field", range(6, 46, 4))
def test_a_directory_entry_that_claims_4_gigabytes_is_harmless(field):
    data = archive({"m.json": b"body"})
    start = data.rindex(b"PK\x01\x02")
    changed = data[: start + field] + b"\xff\xff\xff\xff" + data[start + field + 4 :]
    with contextlib.suppress(InputError):
        assert read_associated_file(changed, "m.json", 2**32) in (b"body", None)


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=6))
@settings(max_examples=500)
def test_a_damaged_archive_gives_the_member_nothing_or_an_input_error(position, patch):
    data = archive({"labels.txt": b"a", "m.json": b"body"})
    position = len(PREFIX) + position % (len(data) - len(PREFIX))
    try:
        found = read_associated_file(data[:position] + patch + data[position + len(patch) :], "m.json", 1000)
    except InputError:
        return
    assert found in (b"body", None)


def test_an_archive_cut_anywhere_gives_nothing_or_an_input_error():
    data = archive({"m.json": b"body"})
    for size in range(len(data)):
        with contextlib.suppress(InputError):
            assert read_associated_file(data[:size], "m.json", 1000) is None
