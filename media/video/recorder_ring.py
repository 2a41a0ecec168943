"""The recorder's directory: a ring of segments, the oldest deleted when they are too old or too many.

Rules:
1. One recorder for one directory: it holds a lock on `recorder.lock` for as long as it lives; the kernel releases it.
2. Deleted are only files that carry the recorder's own kind of name. Anything else in the directory stays.
3. The segment being written and the newest complete one are never deleted, nor one that a reader has locked
   (`flock`, shared) to copy it: the kernel knows, so a reader that dies holds nothing back.
4. A segment that a killed recorder left behind is kept, and marked as interrupted by the next one.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.timestamps import moment
from media.video.recorder_sidecar import (
    MAX_BYTES,
    SegmentState,
    Sidecar,
    SidecarError,
    parse_sidecar,
    sidecar_of,
    write_sidecar,
)

# As media.clips.naming reads it: the UTC time at which the segment's first picture came.
SEGMENT_NAMES = "%Y%m%dT%H%M%S.%f%z.m*"
MP4, QUICKTIME = ".mp4", ".mov"
LOCK_NAME = "recorder.lock"

_CLOCK_MARGIN_US = 60_000_000
_SEGMENT_NAME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.(mp4|mov)")


class RingError(Exception):
    """The directory cannot be recorded into; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What is in the ring."""

    segments: int
    size: int  # bytes, with sidecars
    deleted: int  # segments, by the call that says this
    in_use: int  # segments that should have been deleted, but are being read


class Ring:
    """A directory that this process alone records into. Raises RingError."""

    def __init__(self, directory: Path, *, keep_us: int, keep_bytes: int) -> None:
        """Take the directory, which is created if it is missing, until `close`."""
        self.directory = directory
        self._keep_us = keep_us
        self._keep_bytes = keep_bytes
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RingError(f"{directory} cannot be written to: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise RingError(f"{directory} belongs to another recorder that is running") from error

    def close(self) -> None:
        """Leave the directory to others."""
        os.close(self._lock)

    def new_segment(self, at: int, suffix: str) -> Path:
        """A name for a segment whose first picture came at `at`; no file has it yet."""
        while True:
            path = self.directory / f"{_stem(at)}{suffix}"
            if not path.exists() and not sidecar_of(path).exists():
                return path
            at += 1  # the clock was set back to the very microsecond

    def recover(self) -> list[Path]:
        """Mark what a killed recorder left unfinished; which segments those were."""
        interrupted = []
        for path in self._segments():
            beside = sidecar_of(path)
            with contextlib.suppress(OSError, SidecarError):
                sidecar = _read_sidecar(beside)
                if sidecar.state is SegmentState.RECORDING:
                    size = path.stat().st_size
                    write_sidecar(beside, replace(sidecar, state=SegmentState.INTERRUPTED, size=size), durably=True)
                    interrupted.append(path)
        return interrupted

    def prune(self, now: int, *, writing: Path | None, spare: int = 0) -> Kept:
        """Delete what is too old at `now` (µs), then the oldest until the rest fits. Raises OSError.

        `spare`: free so many bytes at least, because the disk is full before the ring is.
        """
        # Names from the future are of a clock that was set back since: not the newest, whatever they say.
        latest = _stem(now + _CLOCK_MARGIN_US)
        ordered = sorted(self._segments(), key=lambda path: (path.name <= latest, path.name))
        sizes = {path: _size(path) for path in ordered}
        total = sum(sizes.values())
        most = min(self._keep_bytes, total - spare)
        complete = [path for path in sizes if path != writing]
        oldest_kept = _stem(max(0, now - self._keep_us))
        deleted = in_use = 0
        for path in complete[:-1]:  # rule 3
            if path.name >= oldest_kept and total <= most:
                break
            if not _delete_unless_read(path):
                in_use += 1
                continue
            deleted += 1
            total -= sizes[path]
        self._delete_strays(set(sizes))
        return Kept(segments=len(sizes) - deleted, size=total, deleted=deleted, in_use=in_use)

    def _segments(self) -> list[Path]:
        """The oldest first: their names sort as their times."""
        with os.scandir(self.directory) as entries:
            return sorted(
                self.directory / entry.name
                for entry in entries
                if _SEGMENT_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            )

    def _delete_strays(self, segments: set[Path]) -> None:
        """Sidecars and drafts whose segment is gone: a recorder was killed between the two."""
        stems = {path.stem for path in segments}
        for path in self.directory.iterdir():
            named = _SEGMENT_NAME.fullmatch(f"{path.stem}{MP4}") and path.suffix in {".json", ".draft"}
            if named and path.stem not in stems:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def reading(descriptor: int) -> Iterator[None]:
    """Keep the recorder from deleting the open segment meanwhile. Harmless for files of others."""
    with contextlib.suppress(OSError):  # a file system without locks: the copy is of an open file all the same
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _delete_unless_read(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        # The segment first: a sidecar alone is a stray, a segment alone would have lost its clock.
        path.unlink()
        sidecar_of(path).unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)


def _stem(at: int) -> str:
    return f"{moment(at):%Y%m%dT%H%M%S.%f}Z"


def _size(path: Path) -> int:
    size = path.stat().st_size
    with contextlib.suppress(FileNotFoundError):
        size += sidecar_of(path).stat().st_size
    return size


def _read_sidecar(path: Path) -> Sidecar:
    with path.open("rb") as file:
        return parse_sidecar(file.read(MAX_BYTES + 1))
