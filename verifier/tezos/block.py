"""Blocks of Tezos: raw headers, and the trees that lead from an operation to a header."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HASH_BYTES = 32
VALIDATION_PASSES = 4

_FIXED = struct.Struct(">iB32sqB32sI")  # level, proto, predecessor, time, passes, operations hash, length of fitness
_LENGTH_BYTES = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MalformedHeaderError(ValueError):
    """The bytes are no block header of Tezos."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The members of a raw block header that the check needs."""

    level: int
    time: datetime
    operations_hash: bytes


def blake2b(data: bytes) -> bytes:
    """The 32-byte BLAKE2b digest that Tezos uses everywhere."""
    return hashlib.blake2b(data, digest_size=HASH_BYTES).digest()


def parse_header(raw: bytes) -> Header:
    """Reads a raw block header up to its protocol data, which is the rest and is not interpreted.

    Raises MalformedHeaderError.
    """
    if len(raw) < _FIXED.size:
        raise MalformedHeaderError("it is too short")
    level, _, _, seconds, passes, operations_hash, fitness_bytes = _FIXED.unpack_from(raw)
    end = _FIXED.size + fitness_bytes
    # The context hash and at least one byte of protocol data, the baker's signature, follow the fitness.
    if len(raw) <= end + HASH_BYTES or not _is_fitness(raw[_FIXED.size : end]):
        raise MalformedHeaderError("its fitness does not fit")
    if passes != VALIDATION_PASSES or level < 0:
        raise MalformedHeaderError(f"it does not have {VALIDATION_PASSES} validation passes and a level")
    try:
        time = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise MalformedHeaderError("its time is impossible") from None
    return Header(level=level, time=time, operations_hash=operations_hash)


def list_root(items: Sequence[bytes]) -> bytes:
    """Root of the Tezos list tree over `items`: padded to a power of two by repeating the last leaf."""
    if not items:
        return blake2b(b"")
    level = [blake2b(item) for item in items]
    # The leaves are padded, not each level: with 6 leaves the fourth pair is (last, last), not a copy of the third.
    level += [level[-1]] * ((1 << (len(level) - 1).bit_length()) - len(level))
    while len(level) > 1:
        level = [blake2b(left + right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def climb(leaf: bytes, index: int, path: Sequence[bytes]) -> bytes | None:
    """Root of the list tree from the item `leaf` at `index`; None when `index` cannot be a place with such a path.

    A path fits one index only. Beside a sibling equal to itself a node could stand on either side; but the items of a
    block differ, so such a sibling is padding, and padding stands to the right.
    """
    if index >> len(path):
        return None
    node = blake2b(leaf)
    for sibling in path:
        if index & 1 and sibling == node:
            return None
        node = blake2b(sibling + node if index & 1 else node + sibling)
        index >>= 1
    return node


def _is_fitness(data: bytes) -> bool:
    """Whether `data` is a list of byte strings, each with its length in front."""
    place = 0
    while place < len(data):
        place += _LENGTH_BYTES + int.from_bytes(data[place : place + _LENGTH_BYTES])
    return place == len(data)
