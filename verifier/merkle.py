"""Merkle trees of RFC 9162, section 2.1, kept as the roots of perfect subtrees: O(log n) memory.

A `MerkleRange` covers the leaves from `start` on. Ranges that follow each other can be joined, so slices of a
chain can be hashed apart and put together afterwards. The range that starts at 0 has the root of the tree.
"""

import hashlib
from collections.abc import Iterable

_LEAF = b"\x00"
_NODE = b"\x01"


class MerkleRange:
    """The leaves `start` to `end` (not included), as the largest subtrees that lie wholly inside."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.end = start
        self._subtrees: list[tuple[int, bytes]] = []

    def add_leaves(self, entries: Iterable[bytes]) -> None:
        """Append entries: 32-byte event hashes, hashed here into leaves."""
        sha256 = hashlib.sha256
        level = [sha256(_LEAF + entry).digest() for entry in entries]
        position, height = self.end, 0
        right_edge: list[tuple[int, bytes]] = []
        # Level by level: a node that starts or ends a level without its sibling stays as a subtree of its own.
        while level:
            if position & 1:
                self._push(height, level[0])
                del level[0]
                position += 1
            if len(level) & 1:
                right_edge.append((height, level.pop()))
            pairs = iter(level)
            level = [sha256(_NODE + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            position >>= 1
            height += 1
        for subtree in reversed(right_edge):
            self._push(*subtree)

    def join(self, following: "MerkleRange") -> None:
        """Append another range, which must start where this one ends; `ValueError` otherwise."""
        if following.start != self.end:
            raise ValueError("the ranges do not follow each other")
        for height, node in following._subtrees:  # noqa: SLF001 - the same class
            self._push(height, node)

    def root(self) -> bytes:
        """Return the Merkle tree hash over everything so far; only meaningful for a range that starts at 0."""
        if not self._subtrees:
            return hashlib.sha256(b"").digest()
        _, result = self._subtrees[-1]
        for _, left in reversed(self._subtrees[:-1]):
            result = hashlib.sha256(_NODE + left + result).digest()
        return result

    def copy(self) -> "MerkleRange":
        """Return a range that can grow on its own."""
        twin = MerkleRange(self.start)
        twin.end = self.end
        twin._subtrees = list(self._subtrees)
        return twin

    def _push(self, height: int, node: bytes) -> None:
        self.end += 1 << height
        # Two subtrees of one height become one when the left one starts at an even place among its equals.
        while self._subtrees and self._subtrees[-1][0] == height and not self.end & ((2 << height) - 1):
            _, left = self._subtrees.pop()
            node = hashlib.sha256(_NODE + left + node).digest()
            height += 1
        self._subtrees.append((height, node))
