"""Where segments lie: a directory tree or an S3 prefix. Both can be listed, and one file at a time copied here.

What is listed is not trusted: names come from cameras, and anyone who may write there may put a link, a pipe or a file
without end. Only plain files beneath the root are opened, and no more is copied than the caller allows.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from media.clips.naming import MAX_NAME_CHARACTERS
from media.errors import MediaError, Reason
from media.video.recorder_ring import reading

MAX_LISTED = 200_000
MAX_DEPTH = 12
CHUNK_BYTES = 1024 * 1024


class GoneError(Exception):
    """A file that was listed is not there any more: a ring moved on, or a listing was late."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """One file of the source. `modified_at` is when it was last written, by the clock of whoever keeps it."""

    name: str  # beneath the source's root, with slashes
    size: int
    modified_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What a source holds, and how many things in it are not files with a usable name."""

    files: tuple[Listed, ...]
    passed_over: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A local copy: the digest is that of the bytes as they came."""

    size: int
    sha256: str
    modified_at: int
    changed: bool  # while it was copied, or since it was listed


class Readable(Protocol):
    """Bytes that come in order."""

    def read(self, amount: int, /) -> bytes:
        """At most `amount` bytes; none at the end."""


class Shelf(Protocol):
    """Something that segments lie in. All methods block; all raise MediaError (FOOTAGE_UNAVAILABLE)."""

    def list(self, prefixes: Sequence[str]) -> Listing:
        """Every file whose name begins with one of `prefixes`. Raises MediaError (TOO_LARGE) beyond MAX_LISTED."""

    def fetch(self, listed: Listed, target: Path, *, limit: int) -> Fetched:
        """Copy the file to `target`. Raises GoneError, MediaError (TOO_LARGE)."""

    def read(self, name: str, *, limit: int) -> bytes:
        """The first `limit` bytes of a small file. Raises GoneError."""


class DirectoryShelf:
    """A directory tree. Links inside it are not followed, so nothing outside of it can be reached."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self, prefixes: Sequence[str]) -> Listing:
        """As Shelf.list."""
        files: list[Listed] = []
        passed_over = 0
        try:
            for seen, (name, entry) in enumerate(_walk(self._root, "", prefixes, MAX_DEPTH), start=1):
                require_bounded(seen)
                if entry is None or not is_usable(name):
                    passed_over += 1
                    continue
                if not name.startswith(tuple(prefixes)):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    files.append(Listed(name=name, size=found.st_size, modified_at=found.st_mtime_ns // 1000))
        except OSError as error:
            raise unavailable(error.strerror) from error
        return Listing(files=tuple(files), passed_over=passed_over)

    def fetch(self, listed: Listed, target: Path, *, limit: int) -> Fetched:
        """As Shelf.fetch; a recorder's ring keeps the file meanwhile."""
        with self._opened(listed.name) as file, reading(file.fileno()):
            before = os.fstat(file.fileno())
            size, sha256 = copy(file, target, limit=limit)
            after = os.fstat(file.fileno())
        unchanged = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and size == after.st_size
        return Fetched(size=size, sha256=sha256, modified_at=after.st_mtime_ns // 1000, changed=not unchanged)

    def read(self, name: str, *, limit: int) -> bytes:
        """As Shelf.read."""
        with self._opened(name) as file:
            return file.read(limit)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        """The plain file called `name`, every folder on the way to it a real one at the time it is passed."""
        parts = PurePosixPath(name).parts
        if not parts or {"..", "/"} & set(parts):
            raise GoneError(name)
        *folders, last = parts
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.ExitStack() as closing:
            try:
                at = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                closing.callback(os.close, at)
                for folder in folders:
                    at = os.open(folder, flags | os.O_DIRECTORY, dir_fd=at)
                    closing.callback(os.close, at)
                # Without O_NONBLOCK a pipe would keep us waiting for its writer.
                file = closing.enter_context(os.fdopen(os.open(last, flags | os.O_NONBLOCK, dir_fd=at), "rb"))
            except FileNotFoundError as error:
                raise GoneError(name) from error
            except OSError as error:
                raise unavailable(error.strerror) from error
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise GoneError(name)
            yield file


def copy(source: Readable, target: Path, *, limit: int) -> tuple[int, str]:
    """Copy to `target`, a new file, hashing; size and SHA-256. Raises MediaError (TOO_LARGE, FOOTAGE_UNAVAILABLE)."""
    digest = hashlib.sha256()
    size = 0
    try:
        with target.open("xb") as file:
            while chunk := source.read(CHUNK_BYTES):
                size += len(chunk)
                if size > limit:
                    raise MediaError(Reason.TOO_LARGE, f"the footage is larger than the {limit} bytes allowed for it")
                digest.update(chunk)
                file.write(chunk)
    except OSError as error:
        raise unavailable(error.strerror) from error
    return size, digest.hexdigest()


def unavailable(why: str | None) -> MediaError:
    """The source cannot be reached now; trying again may help."""
    return MediaError(Reason.FOOTAGE_UNAVAILABLE, f"the footage cannot be reached now ({why or 'unknown reason'})")


def _walk(
    folder: Path, prefix: str, prefixes: Sequence[str], depth: int
) -> Iterator[tuple[str, "os.DirEntry[str] | None"]]:
    """Plain files beneath `folder` in the folders that `prefixes` lead to; None for what is neither file nor folder."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_file(follow_symlinks=False):
                yield name, entry
            elif not entry.is_dir(follow_symlinks=False) or depth == 0:
                yield name, None
            elif any(f"{name}/".startswith(wanted) or wanted.startswith(f"{name}/") for wanted in prefixes):
                folders.append(name)
    for name in folders:
        # A folder that went away meanwhile, as empty ones of a ring do, held nothing.
        with contextlib.suppress(FileNotFoundError):
            yield from _walk(folder / name.removeprefix(prefix), f"{name}/", prefixes, depth - 1)


def is_usable(name: str) -> bool:
    """Whether a document can carry the name as it is: control characters and broken UTF-8 could lie to its reader."""
    return name.isprintable() and len(name) <= MAX_NAME_CHARACTERS


def require_bounded(count: int) -> None:
    """Raise MediaError (TOO_LARGE) for a listing that is too long to be searched."""
    if count > MAX_LISTED:
        raise MediaError(
            Reason.TOO_LARGE,
            f"the source lists more than {MAX_LISTED} files around this time; let its names begin with the date, in "
            "folders, so that only the days in question are listed",
        )
