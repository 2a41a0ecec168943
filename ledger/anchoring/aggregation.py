"""Many heads under one root: the Merkle tree of RFC 9162, section 2.1, kept whole so that every path costs nothing.

`ledger.chain.merkle` computes one root or one path from leaves that it does not keep; here all paths are asked for.
"""

from collections.abc import Sequence
from hashlib import sha256

_LEAF = b"\x00"
_NODE = b"\x01"


class HeadTree:
    """The tree over `heads` (32 bytes each, at least one), in their order."""

    def __init__(self, heads: Sequence[bytes]) -> None:
        if not heads:
            raise ValueError("a tree needs at least one head")
        level = [sha256(_LEAF + head).digest() for head in heads]
        self._levels = [level]
        while len(level) > 1:
            above = [
                sha256(_NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)
            ]
            if len(level) & 1:
                above.append(level[-1])  # a last node without a sibling moves up as it is
            self._levels.append(level := above)

    @property
    def size(self) -> int:
        """The number of heads."""
        return len(self._levels[0])

    @property
    def root(self) -> bytes:
        """What is anchored for all of them."""
        return self._levels[-1][0]

    def path(self, index: int) -> tuple[bytes, ...]:
        """The inclusion path of the head at `index`, nearest sibling first. Raises IndexError."""
        if not 0 <= index < self.size:
            raise IndexError(f"there is no head {index} among {self.size}")
        path: list[bytes] = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                path.append(level[sibling])
            index >>= 1
        return tuple(path)
