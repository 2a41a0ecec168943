"""A BagIt bag (RFC 8493), built on disk and written as a zip whose bytes follow from its content alone."""

import hashlib
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

# The earliest time a zip can state: a bundle says when things happened in its data, never in its container.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = (stat.S_IFREG | 0o644) << 16
_MADE_BY_UNIX = 3
_COPY_BYTES = 1024 * 1024

_BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    digest: str
    size: int


class HashedFile:
    """A file being written; its digest and size are known the moment it is complete."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._digest.update(data)
        self.size += len(data)
        self._file.write(data)

    def hexdigest(self) -> str:
        """SHA-256 of everything written so far."""
        return self._digest.hexdigest()


class Bag:
    """Files under `data/` are added in any order; the tag files are made from them at the end.

    Memory holds one line for each file. The caller owns `directory` and removes it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._entries: dict[str, _Entry] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    @contextmanager
    def create(self, path: str) -> Iterator[HashedFile]:
        """A new file to write piece by piece. `path` is relative to the bag, with `/` between its parts."""
        place = self._directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            hashed = HashedFile(file)
            yield hashed
        self._entries[path] = _Entry(digest=hashed.hexdigest(), size=hashed.size)

    def add(self, path: str, data: bytes) -> None:
        """A new file at once."""
        with self.create(path) as file:
            file.write(data)

    def finish(self, *, external_identifier: str, dated: datetime) -> None:
        """Write the tag files (bundle.md, section 2)."""
        payload = sorted(self._entries.items())
        octets = sum(entry.size for _, entry in payload)
        self.add("bagit.txt", _BAGIT)
        self.add(
            "bag-info.txt",
            f"Bagging-Date: {dated:%Y-%m-%d}\n"
            f"External-Identifier: {external_identifier}\n"
            f"Payload-Oxum: {octets}.{len(payload)}\n".encode(),
        )
        self.add("manifest-sha256.txt", _manifest(payload))
        tags = sorted((path, entry) for path, entry in self._entries.items() if not path.startswith("data/"))
        self.add("tagmanifest-sha256.txt", _manifest(tags))

    def write_zip(self, target: BinaryIO, *, top: str) -> None:
        """Write every file under the folder `top`, in the one way that bundle.md, section 8, allows a writer.

        Nothing is compressed: what deflate gives differs between libraries, and the bytes must not.
        """
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for path, entry in sorted(self._entries.items()):
                info = zipfile.ZipInfo(f"{top}/{path}", _ZIP_TIME)
                info.create_system = _MADE_BY_UNIX
                info.external_attr = _REGULAR_FILE
                # Known in advance, so that the local header is right at once and says Zip64 only when it must.
                info.file_size = entry.size
                with (self._directory / path).open("rb") as source, archive.open(info, "w") as member:
                    shutil.copyfileobj(source, member, _COPY_BYTES)


def _manifest(entries: list[tuple[str, _Entry]]) -> bytes:
    return "".join(f"{entry.digest}  {path}\n" for path, entry in entries).encode()
