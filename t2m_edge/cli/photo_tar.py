"""The photos of a tar, read from it one by one; nothing is unpacked to disk."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path, PurePosixPath

from t2m_edge.cli.photos import is_photo_name
from t2m_runtime.errors import InputError

MAX_PHOTO_BYTES = 256 * 2**20
MAX_TAR_MEMBERS = 5_000_000


class PhotoTar:
    """A tar of photos. Close it after use.

    Attributes:
        names: paths of the photos inside the tar, in its order, which is the quickest to read them in.
    """

    def __init__(self, path: Path):
        """Lists the photos of a .tar, .tar.gz, .tar.bz2 or .tar.xz file.

        Raises:
            InputError: no tar, a broken one, or too many files.
        """
        self._path = path
        self._tar: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            self._tar = tarfile.open(path)  # noqa: SIM115 (closed in close)
            for count, member in enumerate(self._tar):
                if count == MAX_TAR_MEMBERS:
                    raise InputError(f"{path}: more than {MAX_TAR_MEMBERS:,} files; give a smaller tar")
                if member.isfile() and is_photo_name(member.name):
                    self._members[PurePosixPath(member.name).as_posix()] = member
            # tarfile takes a broken header for the end of the archive
            self._tar.fileobj.seek(self._tar.offset)
            if self._tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError("a file's header is cut off or broken")
        except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
            self.close()
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: not a readable tar ({error}); give a folder or a tar of photos") from None
        self.names = sorted(self._members, key=self.offset)

    def close(self) -> None:
        """Closes the file."""
        if self._tar is not None:
            self._tar.close()

    def offset(self, name: str) -> int:
        """Where a photo lies: reading in this order is quickest."""
        return self._members[name].offset

    def read(self, name: str) -> bytes:
        """A photo's bytes.

        Raises:
            InputError: too large, or a broken archive.
        """
        member = self._members[name]
        if member.size > MAX_PHOTO_BYTES:
            raise InputError(f"{name}: {member.size:,} bytes; a photo has at most {MAX_PHOTO_BYTES:,}")
        try:
            file = self._tar.extractfile(member)
            data = file.read() if file else b""
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise InputError(f"{self._path}: {name} cannot be read ({error}); make the tar again") from None
        if len(data) != member.size:
            raise InputError(f"{self._path}: ends inside {name}; make the tar again")
        return data
