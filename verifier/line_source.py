"""Cuts `events.jsonl` into slices of whole lines, wherever its bytes come from, with constant memory."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from verifier.event import MAX_LINE_BYTES

SLICE_BYTES = 512 * 1024
"""Small enough for the processor's cache, large enough that the work per slice is small beside the hashing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRange:
    """Some bytes of a file on disk: what another process needs to read them by itself."""

    path: str
    offset: int
    length: int

    def read(self) -> bytes:
        """Return the bytes; fewer if the file has become shorter."""
        with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - a bare descriptor, many times over
            return os.pread(file.fileno(), self.length, self.offset)


def ranges_of_lines(whole: FileRange) -> Iterator[FileRange]:
    """Cut a range into ranges of whole lines. One that holds an over-long line ends in the middle of it."""
    end = whole.offset + whole.length
    start = whole.offset
    with open(whole.path, "rb", buffering=0) as file:  # noqa: PTH123 - a bare descriptor for pread
        while start < end:
            cut = min(start + SLICE_BYTES, end)
            if cut < end:
                window = os.pread(file.fileno(), min(MAX_LINE_BYTES + 1, end - cut), cut)
                cut += window.find(b"\n") + 1 or len(window)
            yield FileRange(path=whole.path, offset=start, length=cut - start)
            start = cut


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
