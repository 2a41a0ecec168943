"""Merkle trees of RFC 9162, section 2.1, kept as the roots of perfect subtrees: O(log n) memory.

A `MerkleRange` covers the leaves from `start` on. Ranges that follow each other can be joined, so slices of a
chain can be hashed apart and put together afterwards. The range that starts at 0 has the root of the tree.

Most chains are read to their end without anybody asking for a root, so leaves wait, unhashed, until somebody does or
until they are too many.
"""

import hashlib
import struct

MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Of leaves that wait: a million."""

_GROWN_BYTES = 128 * 1024
"""Of leaves that are hashed at a time: bounds memory."""

_LEAF = b"\x00"
_NODE = b"\x01"
_DIGEST_BYTES = 32


class MerkleRange:
    """The leaves `start` to `end` (not included), as the largest subtrees that lie wholly inside."""

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.end = start
        self._subtrees: list[tuple[int, bytes]] = []
        self._grown_to = start
        # Leaves from there on: 32-byte event hashes, some after the other in each piece.
        self._waiting: list[bytes] = []

    def add_leaves(self, entries: bytes) -> None:
        """Append leaves: 32-byte event hashes, one after the other."""
        self._waiting.append(entries)
        self.end += len(entries) // _DIGEST_BYTES
        if (self.end - self._grown_to) * _DIGEST_BYTES > MAX_WAITING_BYTES:
            self.grow()

    def grow(self) -> None:
        """Hash the leaves that wait."""
        entries = b"".join(self._waiting)
        self._waiting.clear()
        for at in range(0, len(entries), _GROWN_BYTES):
            self._grow(entries[at : at + _GROWN_BYTES])

    def _grow(self, entries: bytes) -> None:
        sha256 = hashlib.sha256
        level = [sha256(_LEAF + entry).digest() for entry in _cut(entries, _DIGEST_BYTES)]
        position, height = self._grown_to, 0
        right_edge: list[tuple[int, bytes]] = []
        # Level by level: a node that starts or ends a level without its sibling stays as a subtree of its own.
        while level:
            if position & 1:
                self._push(height, level[0])
                del level[0]
                position += 1
            if len(level) & 1:
                right_edge.append((height, level.pop()))
            level = [sha256(_NODE + pair).digest() for pair in _cut(b"".join(level), 2 * _DIGEST_BYTES)]
            position >>= 1
            height += 1
        for subtree in reversed(right_edge):
            self._push(*subtree)

    def join(self, following: "MerkleRange") -> None:
        """Append another range, which must start where this one ends; `ValueError` otherwise."""
        if following.start != self.end:
            raise ValueError("the ranges do not follow each other")
        if following._subtrees:  # noqa: SLF001 - the same class, here and below
            self.grow()
        for height, node in following._subtrees:  # noqa: SLF001
            self._push(height, node)
            self.end = self._grown_to
        for entries in following._waiting:  # noqa: SLF001
            self.add_leaves(entries)

    def root(self) -> bytes:
        """Return the Merkle tree hash over everything so far; only meaningful for a range that starts at 0."""
        self.grow()
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
        twin._grown_to = self._grown_to
        twin._subtrees = list(self._subtrees)
        twin._waiting = list(self._waiting)
        return twin

    def _push(self, height: int, node: bytes) -> None:
        self._grown_to += 1 << height
        # Two subtrees of one height become one when the left one starts at an even place among its equals.
        while self._subtrees and self._subtrees[-1][0] == height and not self._grown_to & ((2 << height) - 1):
            _, left = self._subtrees.pop()
            node = hashlib.sha256(_NODE + left + node).digest()
            height += 1
        self._subtrees.append((height, node))


def _cut(data: bytes, size: int) -> tuple[bytes, ...]:
    pieces: tuple[bytes, ...] = struct.unpack(f"{size}s" * (len(data) // size), data)
    return pieces
