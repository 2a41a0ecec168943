"""The Merkle tree of RFC 9162, section 2.1, over the hashes of a chain's events.

A frontier holds the roots of the perfect subtrees that the leaves so far make up, largest first: at most one for each
bit of the size, so a chain of a million events needs 20 hashes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
_LEAF = b"\x00"
_NODE = b"\x01"


@dataclass(frozen=True, kw_only=True, slots=True)
class Frontier:
    """The tree over the first `size` leaves, ready to take more. `peaks` are subtree roots, largest first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def extended(self, hashes: Iterable[bytes]) -> "Frontier":
        """The frontier after appending one leaf for each 32-byte event hash."""
        size = self.size
        peaks = list(self.peaks)
        for digest in hashes:
            node = leaf_hash(digest)
            # Every trailing 1 bit of the old size is a subtree as large as what we carry: join the two.
            carry = size
            while carry & 1:
                node = node_hash(peaks.pop(), node)
                carry >>= 1
            peaks.append(node)
            size += 1
        return Frontier(size=size, peaks=tuple(peaks))

    def root(self) -> bytes:
        """The root of the tree; of no leaves at all it is SHA-256 of nothing."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def leaf_hash(digest: bytes) -> bytes:
    """A leaf: SHA-256(00 || event hash)."""
    return sha256(_LEAF + digest).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """An inner node: SHA-256(01 || left || right)."""
    return sha256(_NODE + left + right).digest()


def merkle_root(hashes: Iterable[bytes]) -> bytes:
    """The root over the given event hashes, in order."""
    return Frontier().extended(hashes).root()


def inclusion_path(hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The audit path of leaf `index` (from 0), nearest sibling first (RFC 9162, section 2.1.3.1).

    Raises IndexError when there is no such leaf.
    """
    if not 0 <= index < len(hashes):
        raise IndexError(f"there is no leaf {index} in a tree of {len(hashes)}")
    path: list[bytes] = []
    low, high = 0, len(hashes)
    while high - low > 1:
        # The left subtree is the largest power of two smaller than the whole.
        split = low + (1 << ((high - low - 1).bit_length() - 1))
        if index < split:
            path.append(merkle_root(hashes[split:high]))
            high = split
        else:
            path.append(merkle_root(hashes[low:split]))
            low = split
    return tuple(reversed(path))


def root_of_path(digest: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that `path` proves for event hash `digest` at `index` of `size` leaves; None if it proves none.

    RFC 9162, section 2.1.3.2, step by step.
    """
    if not 0 <= index < size:
        return None
    node, last = index, size - 1
    root = leaf_hash(digest)
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        node >>= 1
        last >>= 1
    return root if last == 0 else None
