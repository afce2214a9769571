"""The files at the end of a .tflite: a zip archive appended to the flatbuffer (TFLite Metadata's "associated files").

A small reader of its own, because the zip comes from outside: only the end record, the central directory and the
asked member are looked at, everything is bounded before it is read, and nothing is decompressed.
"""

from __future__ import annotations

import struct
import zlib

from t2m_runtime.errors import InputError

MAX_MEMBERS = 64

_END = struct.Struct("<4s4H2IH")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_STORED = 0
_ENCRYPTED = 1


def read_associated_file(data: bytes, name: str, most: int) -> bytes | None:
    """One stored member of the archive at the end of a file.

    Args:
        data: the whole file.
        name: of the member, ASCII.
        most: largest size to accept, in bytes.

    Returns:
        The member's bytes, or None where the file has no archive or the archive has no such member.

    Raises:
        InputError: the archive is broken, has more than MAX_MEMBERS members or the name twice, or the member is
            compressed, encrypted, larger than ``most``, outside the file, or damaged.
    """
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - _END.size - 0xFFFF))
    if end < 0 or end + _END.size > len(data):
        return None
    _, disk, start_disk, here, count, size, offset, comment = _END.unpack_from(data, end)
    if end + _END.size + comment != len(data) or disk or start_disk or here != count:
        raise _broken("its end record does not fit the file")
    if count > MAX_MEMBERS:
        raise InputError(f"the model's zip archive has {count} members; expected at most {MAX_MEMBERS}")
    if size > end:
        raise _broken("its directory is larger than the file")
    position = end - size
    # Offsets count from the start of the whole file, or of the archive where it was appended afterwards.
    shift = position - offset
    if shift < 0:
        raise _broken("its directory starts beyond its place")

    found = None
    for _ in range(count):
        if position + _CENTRAL.size > end:
            raise _broken("its directory is cut short")
        entry = _CENTRAL.unpack_from(data, position)
        if entry[0] != b"PK\x01\x02":
            raise _broken("its directory has a broken entry")
        name_size, extra_size, comment_size = entry[10:13]
        name_start = position + _CENTRAL.size
        position = name_start + name_size + extra_size + comment_size
        if position > end:
            raise _broken("its directory is cut short")
        if data[name_start : name_start + name_size] == name.encode("ascii"):
            if found is not None:
                raise InputError(f"the model's zip archive has {name} twice; make the model again")
            found = entry
    if found is None:
        return None
    return _member(data, found, name, shift, end - size, most)


def has_unfinished_archive(data: bytes) -> bool:
    """Whether a file holds the beginning of an archive and not its end."""
    end = data.rfind(b"PK\x05\x06")
    return b"PK\x03\x04" in data and (end < 0 or end + _END.size > len(data))


def _member(data: bytes, entry: tuple, name: str, shift: int, limit: int, most: int) -> bytes:
    """The bytes of one central directory entry, which must lie before ``limit``."""
    flags, method, crc, packed, size, name_size, offset = (entry[i] for i in (3, 4, 7, 8, 9, 10, 16))
    if method != _STORED or packed != size or flags & _ENCRYPTED:
        raise InputError(f"{name} in the model's zip archive is compressed or encrypted; store it as it is")
    if size > most:
        raise InputError(f"{name} in the model's zip archive has {size} bytes; expected at most {most}")
    start = shift + offset
    if start + _LOCAL.size > limit:
        raise _broken(f"{name} lies outside the file")
    local = _LOCAL.unpack_from(data, start)
    content = start + _LOCAL.size + local[9] + local[10]
    local_name = data[start + _LOCAL.size : start + _LOCAL.size + local[9]]
    if local[0] != b"PK\x03\x04" or local[9] != name_size or local_name != name.encode("ascii"):
        raise _broken(f"{name} is not where the directory says")
    if content + size > limit:
        raise _broken(f"{name} lies outside the file")
    body = data[content : content + size]
    if zlib.crc32(body) != crc:
        raise _broken(f"{name} is damaged")
    return bytes(body)


def _broken(reason: str) -> InputError:
    return InputError(f"the model's zip archive is broken ({reason}); make the model again")
