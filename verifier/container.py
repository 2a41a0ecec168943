"""The files of a bundle, in a directory or a zip file, seen alike. Nothing is unpacked, no link is followed."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from verifier.line_source import FileRange
from verifier.zip_archive import BLOCK_BYTES, BadArchiveError, DamagedEntryError, ZipEntry, read_blocks, read_entries

MAX_FILES = 25_000
"""Two files for each of 10,000 anchors, and room for evidence and artefacts."""

MAX_PATH_CHARACTERS = 512
PATH = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}/)*[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class UnusableBundle(ValueError):  # noqa: N818 - the name is part of the published interface
    """The input is not a bundle, is beyond a reader's limits, or cannot be read; the text says why."""


class DamagedFileError(ValueError):
    """A file of the container cannot be read to its end as its container promises."""


class Container(Protocol):
    """Files by their path within the bag.

    Implementations guarantee: every path is one `check_paths` accepts; `blocks` yields all of a file's bytes in order
    or raises `DamagedFileError`; reading one file does not disturb reading another.
    """

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes in bytes, by path: the same dictionary each time, for it is asked for with every file."""

    def blocks(self, path: str) -> Iterator[bytes]:
        """Yield a file's bytes in blocks."""

    def file_range(self, path: str) -> FileRange | None:
        """Return where the file's bytes stand as they are in a file on disk, if they do."""

    def close(self) -> None:
        """Give back what was opened."""


class ZipContainer:
    """A bag in a zip file, in one top-level directory or in none."""

    def __init__(self, file: BinaryIO, path: Path | None) -> None:
        self._file = file
        self._path = path
        try:
            # Two entries may lie beside the bag's own only as directories, which are not counted as files.
            entries = read_entries(file, max_entries=2 * MAX_FILES)
        except BadArchiveError as error:
            raise UnusableBundle(f"This is not a bundle: {error}.") from error
        base = _base([entry.name for entry in entries])
        self._entries: dict[str, ZipEntry] = {}
        for entry in entries:
            if not entry.name.startswith(base) or entry.name[len(base) :] in self._entries:
                raise UnusableBundle(f"This is not a bundle: {entry.name!r:.100} is outside the bag or there twice.")
            self._entries[entry.name[len(base) :]] = entry
        check_paths(self._entries)
        self.sizes = {path: entry.size for path, entry in self._entries.items()}

    def blocks(self, path: str) -> Iterator[bytes]:
        """Yield a file's bytes in blocks; raise `DamagedFileError`."""
        try:
            yield from read_blocks(self._file, self._entries[path])
        except DamagedEntryError as error:
            raise DamagedFileError(str(error)) from error

    def file_range(self, path: str) -> FileRange | None:
        """Return where a stored entry's bytes stand in the zip file."""
        entry = self._entries[path]
        if self._path is None or not entry.stored:
            return None
        return FileRange(path=str(self._path), offset=entry.data_offset, length=entry.size)

    def close(self) -> None:
        """Close the zip file if it was opened here."""
        if self._path is not None:
            self._file.close()


class DirectoryContainer:
    """A bag in a plain directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.sizes: dict[str, int] = {}
        pending = [""]
        while pending:
            for entry in self._scan(pending.pop()):
                path = os.path.relpath(entry.path, root).replace(os.sep, "/")
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and len(path) <= MAX_PATH_CHARACTERS:
                    pending.append(path)
                elif stat.S_ISREG(status.st_mode):
                    self.sizes[path] = status.st_size
                else:
                    raise UnusableBundle(f"This is not a bundle: {path!r:.100} is a link, a special file or too deep.")
                if len(self.sizes) + len(pending) > MAX_FILES:
                    raise UnusableBundle(f"This is not a bundle: it has more than {MAX_FILES} files.")
        check_paths(self.sizes)

    def blocks(self, path: str) -> Iterator[bytes]:
        """Yield a file's bytes in blocks; raise `DamagedFileError`."""
        length = 0
        try:
            # A link put in the file's place since the directory was listed is refused as well.
            with os.fdopen(os.open(self._root / path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
                while block := file.read(BLOCK_BYTES):
                    length += len(block)
                    yield block
        except OSError as error:
            raise DamagedFileError(f"it cannot be read: {error.strerror}") from error
        if length != self.sizes[path]:
            raise DamagedFileError("its length changed while it was read")

    def file_range(self, path: str) -> FileRange | None:
        """Return the whole file."""
        return FileRange(path=str(self._root / path), offset=0, length=self.sizes[path])

    def close(self) -> None:
        """Nothing is kept open."""

    def _scan(self, path: str) -> list["os.DirEntry[str]"]:
        try:
            with os.scandir(self._root / path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise UnusableBundle(f"The bundle cannot be read: {error.strerror}: {path or self._root}.") from error


def open_container(source: Path | BinaryIO) -> Container:
    """Open a directory, a zip file or an open, seekable zip file; raise `UnusableBundle`."""
    if not isinstance(source, (str, os.PathLike)):
        return ZipContainer(source, None)
    path = Path(source)
    if path.is_dir():
        return DirectoryContainer(path)
    try:
        # Opening a pipe would wait for a writer for ever.
        if not path.is_file():
            raise UnusableBundle("This is not a bundle: it is neither a file nor a directory.")  # noqa: TRY301 - as read
        file = path.open("rb")
    except UnusableBundle:
        raise
    except (OSError, ValueError) as error:
        raise UnusableBundle(f"The bundle cannot be opened: {error}.") from error
    try:
        return ZipContainer(file, path)
    except BaseException:
        file.close()
        raise


def check_paths(paths: dict[str, ZipEntry] | dict[str, int]) -> None:
    """Refuse paths that a bundle cannot have, and sets of paths that collide on some file systems."""
    if len(paths) > MAX_FILES:
        raise UnusableBundle(f"This is not a bundle: it has more than {MAX_FILES} files.")
    for path in paths:
        if len(path) > MAX_PATH_CHARACTERS or not PATH.fullmatch(path):
            raise UnusableBundle(f"This is not a bundle: it may not contain a file named {path!r:.200}.")
    folded = {path.lower() for path in paths}
    if len(folded) != len(paths):
        raise UnusableBundle("This is not a bundle: two of its files differ only in upper and lower case.")
    # A file cannot be a directory as well; a zip file could claim so.
    parents = {path[:at] for path in folded for at, character in enumerate(path) if character == "/"}
    if parents & folded:
        raise UnusableBundle("This is not a bundle: one of its paths is both a file and a directory.")


def _base(names: list[str]) -> str:
    if "bagit.txt" in names:
        return ""
    bases = {name.partition("/")[0] + "/" for name in names}
    if len(bases) != 1 or next(iter(bases)) + "bagit.txt" not in names:
        raise UnusableBundle("This is not a bundle: it has no bagit.txt.")
    return bases.pop()
