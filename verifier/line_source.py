"""Cuts `events.jsonl` into slices of whole lines, wherever its bytes come from, with constant memory."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from verifier.event import MAX_LINE_BYTES

_CHECKPOINT = b'"kind":"chain.c'
"""Part of the line of every checkpoint event; elsewhere it only costs time."""

_CHECKPOINT_WINDOW_BYTES = 2 * 1024 * 1024
"""At the end of the events, where a checkpoint is looked for. One that is overlooked costs time, and nothing else."""

_SHORT_LINE_BYTES = 4096

SLICE_BYTES = 448 * 1024
"""Small enough for the processor's cache, large enough to be worth a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRange:
    """Some bytes of a file on disk: what another process needs to read them by itself."""

    path: str
    offset: int
    length: int
    grow: bool = True
    """Whether a checkpoint seems to follow, so that somebody will ask for the Merkle tree of the events in it."""

    def read(self) -> bytes:
        """Return the bytes; fewer if the file has become shorter."""
        with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - a bare descriptor, many times over
            return os.pread(file.fileno(), self.length, self.offset)


def ranges_of_lines(whole: FileRange) -> Iterator[FileRange]:
    """Cut a range into ranges of whole lines. One that holds an over-long line ends in the middle of it."""
    end = whole.offset + whole.length
    start = whole.offset
    with open(whole.path, "rb", buffering=0) as file:  # noqa: PTH123 - a bare descriptor for pread
        last_checkpoint = _last_checkpoint(file.fileno(), whole)
        while start < end:
            cut = min(start + SLICE_BYTES, end)
            if cut < end:
                cut += _to_line_end(file.fileno(), cut, end)
            yield FileRange(path=whole.path, offset=start, length=cut - start, grow=start <= last_checkpoint)
            start = cut


def _to_line_end(descriptor: int, at: int, end: int) -> int:
    """Return how many bytes from `at` on belong to the line there, with its line end; at most those of a whole line."""
    # Most lines are short, and the bytes are read again by whoever checks them.
    for size in (_SHORT_LINE_BYTES, MAX_LINE_BYTES + 1):
        window = os.pread(descriptor, min(size, end - at), at)
        if found := window.find(b"\n") + 1:
            return found
    return len(window)


def _last_checkpoint(descriptor: int, whole: FileRange) -> int:
    """Return where, near the end, the last text stands that every checkpoint event contains, or -1."""
    start = max(whole.length - _CHECKPOINT_WINDOW_BYTES, 0) + whole.offset
    found = os.pread(descriptor, whole.offset + whole.length - start, start).rfind(_CHECKPOINT)
    return start + found if found >= 0 else -1


def blocks_of_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut blocks of a file into blocks of whole lines; the last may lack its line end, or hold an over-long line."""
    kept = b""
    for block in blocks:
        whole, ended, rest = (kept + block).rpartition(b"\n")
        if ended:
            yield whole + ended
        kept = rest
        if len(kept) > MAX_LINE_BYTES:
            break
    if kept:
        yield kept
