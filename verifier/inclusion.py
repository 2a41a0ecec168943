"""Inclusion paths of RFC 9162, section 2.1.3: one entry shown to be in a Merkle tree without the others."""

import hashlib
from collections.abc import Sequence

_LEAF = b"\x00"
_NODE = b"\x01"


def root_from_path(entry: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Root of the RFC 9162 tree of `size` leaves from an inclusion path (section 2.1.3.2); None when it cannot fit."""
    if index >= size:
        return None
    node, last, place = hashlib.sha256(_LEAF + entry).digest(), size - 1, index
    for sibling in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            node = hashlib.sha256(_NODE + sibling + node).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = hashlib.sha256(_NODE + node + sibling).digest()
        place, last = place >> 1, last >> 1
    return node if last == 0 else None
