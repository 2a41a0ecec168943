"""Tells a file that lost its end from one that never was footage, after libav could make nothing of it."""

from pathlib import Path
from typing import Final

_BOX_HEADER: Final = 8
_LARGE_BOX_HEADER: Final = 16
_MOST_BOXES: Final = 10_000
# Types with which MP4 and MOV files begin (ISO/IEC 14496-12; the QuickTime file format).
_FIRST_BOXES: Final = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"})
_MATROSKA: Final = b"\x1a\x45\xdf\xa3"


def is_cut_off(path: Path) -> bool:
    """Whether the beginning is that of an MP4, MOV or Matroska file, but what must follow is not there."""
    with path.open("rb") as file:
        start = file.read(_BOX_HEADER)
        if start[:4] == _MATROSKA:
            return True
        if start[4:] not in _FIRST_BOXES:
            return False
        size, position = path.stat().st_size, 0
        for _ in range(_MOST_BOXES):
            file.seek(position)
            header = file.read(_LARGE_BOX_HEADER)
            if len(header) < _BOX_HEADER:
                return True  # the end, and no index on the way
            length, kind = int.from_bytes(header[:4]), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:16])
            whole = length >= _BOX_HEADER and position + length <= size
            if kind == b"moov" or not whole:
                return not whole
            position += length
        return False
