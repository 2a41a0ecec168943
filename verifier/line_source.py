"""Cuts `events.jsonl` into slices of whole lines, wherever its bytes come from, with constant memory."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from verifier.event import MAX_LINE_BYTES

_CHECKPOINT = b'"kind":"chain.c'
"""Part of the line of every checkpoint event; elsewhere it only costs time."""

_SHORT_LINE_BYTES = 4096

SLICE_BYTES = 192 * 1024
"""Small enough for the processor's cache and for memory to be used again, large enough to be worth a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRange:
    """Some bytes of a file on disk: what another process needs to read them by itself."""

    path: str
    offset: int
    length: int
    leaves: bool = True
    """Whether a checkpoint may follow, so that the events in it are needed as leaves of a Merkle tree."""

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
            yield FileRange(path=whole.path, offset=start, length=cut - start, leaves=start <= last_checkpoint)
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
    """Return a place that no checkpoint event lies after: the last text that every one of them contains, or -1."""
    end = whole.offset + whole.length
    while end > whole.offset:
        start = max(end - SLICE_BYTES, whole.offset)
        # One text's length more, in case it lies across the border.
        found = os.pread(descriptor, end - start + len(_CHECKPOINT), start).rfind(_CHECKPOINT)
        if found >= 0:
            return start + found
        end = start
    return -1


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
