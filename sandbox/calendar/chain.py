"""A chain of blocks as Bitcoin's test network "regtest" allows: real headers, whose work takes two tries to find."""

import hashlib
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

FIRST_HEIGHT = 100
COMPACT_TARGET = 0x207FFFFF  # the easiest there is; a header hashes below it every other time
_TARGET = 0x7FFFFF << 232
_VERSION = 0x20000000
_TIMES = 11  # a block must be later than the median of so many before it; here, later than the last


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A mined block: its raw header and the ids of its transactions."""

    height: int
    header: bytes
    transactions: tuple[bytes, ...]

    @property
    def hash(self) -> bytes:
        """The header's hash, in the order of the bytes that are hashed."""
        return double_sha256(self.header)


class BlockChain:
    """Blocks from FIRST_HEIGHT on."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.mine([])

    @property
    def tip(self) -> int:
        """The height of the newest block."""
        return self.blocks[-1].height

    def block(self, height: int) -> Block | None:
        """The block at `height`."""
        index = height - FIRST_HEIGHT
        return self.blocks[index] if 0 <= index < len(self.blocks) else None

    def mine(self, transactions: Sequence[bytes]) -> Block:
        """A block with a coinbase of its own and the transactions with these ids."""
        height = FIRST_HEIGHT + len(self.blocks)
        previous = self.blocks[-1].hash if self.blocks else bytes(32)
        before = struct.unpack_from("<I", self.blocks[-1].header, 68)[0] if self.blocks else 0
        ids = (double_sha256(b"coinbase of block %d" % height), *transactions)
        moment = max(int(time.time()), before + 1 if len(self.blocks) < _TIMES else before)
        start = struct.pack("<I32s32sII", _VERSION, previous, merkle_root(ids), moment, COMPACT_TARGET)
        nonce = 0
        while int.from_bytes(double_sha256(start + struct.pack("<I", nonce)), "little") > _TARGET:
            nonce += 1
        block = Block(height=height, header=start + struct.pack("<I", nonce), transactions=ids)
        self.blocks.append(block)
        return block


def double_sha256(data: bytes) -> bytes:
    """Bitcoin's hash."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def merkle_root(ids: Sequence[bytes]) -> bytes:
    """The root of Bitcoin's tree over transaction ids."""
    level = list(ids)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def merkle_path(ids: Sequence[bytes], index: int) -> list[tuple[bool, bytes]]:
    """The siblings on the way from an id to the root; each with whether it stands on the left."""
    path: list[tuple[bool, bytes]] = []
    level = list(ids)
    while len(level) > 1:
        sibling = min(index ^ 1, len(level) - 1)  # a last id without one is its own
        path.append((sibling < index, level[sibling]))
        level = _above(level)
        index >>= 1
    return path


def _above(level: list[bytes]) -> list[bytes]:
    level = level + level[-1:] if len(level) % 2 else level
    return [double_sha256(left + right) for left, right in zip(level[::2], level[1::2], strict=True)]
