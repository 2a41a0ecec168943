"""Checks of one slice of a chain: some lines that follow each other. Slices can be checked apart, in any order.

What needs its neighbours (does a slice continue the one before, is a Merkle root right) is left to `chain.py`.
"""

import re
import struct
from binascii import Error as BinasciiError
from binascii import hexlify, unhexlify
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from verifier.canonical import parse_canonical
from verifier.event import (
    CHECKPOINTS,
    CLOSED,
    MAX_LINE_BYTES,
    OPENED,
    RESERVED_PREFIX,
    Genesis,
    is_integer,
    read_digest,
    read_genesis,
)
from verifier.line_patterns import SEALED_NAME, Columns, LinePatterns
from verifier.merkle import MerkleRange
from verifier.sealed import sealed_digests

BYTES_WORTH_LEARNING = 64 * 1024
"""Below this, parsing every line in full is quicker than compiling expressions for their shapes."""

_SEALED_NAME = SEALED_NAME.encode("ascii")
_HUNDRED = 100
_ENDINGS = [b"%02d" % number for number in range(_HUNDRED)]
_DIGEST = re.compile(rb"[0-9a-f]{64}")

Problem = tuple[str, str]
"""A finding's code and text, before it is known for certain which event it belongs to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checkpoint event as it stands in a slice, with the Merkle tree of the slice's events before it."""

    sequence: int
    hash: str
    prev_hash: str
    occurred_at: int
    kind: str
    merkle_root: str
    before: MerkleRange


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceResult:
    """What the check of one slice found. The first `count` events are good as far as the slice can tell."""

    start: int
    """Sequence of the first event, as its line claims."""
    count: int
    problems: tuple[Problem, ...]
    """What is wrong with the event after the good ones; empty when all are good."""
    first_prev_hash: str
    last_hash: str
    first_time: int
    last_time: int
    genesis: Genesis | None
    closed: bool
    checkpoints: tuple[Checkpoint, ...]
    merkle: MerkleRange | None
    sealed: tuple[tuple[int, tuple[str, ...]], ...]
    """Sequence and digests of sealed members, for the events that have some."""
    pinned_at: int | None
    """Sequence of the event whose hash the caller looks for."""
    length: int
    """Bytes of the slice."""


def check_slice(data: bytes, patterns: LinePatterns, pin: str | None = None, *, leaves: bool = True) -> SliceResult:
    """Check the lines of `data`. A last line without its line end is the slice's problem.

    `pin` is a hash to look for. Without `leaves` no Merkle tree is grown: for events that no checkpoint follows.
    """
    whole, rest = data, b""
    if not data.endswith(b"\n"):
        rest = data[data.rfind(b"\n") + 1 :]
        whole = data[: len(data) - len(rest)]
    read = patterns.read if len(data) >= BYTES_WORTH_LEARNING else patterns.read_in_full
    columns, malformed = read(whole)
    digests = _in_order(columns)
    ordered = digests is not None
    if digests is None:
        columns, malformed = patterns.read_in_full(whole)
        digests = [bytes.fromhex(stated.decode("ascii")) for stated in columns.hashes]
    count = len(columns.hashes)
    start = _start(columns)
    problems: dict[int, list[Problem]] = {}
    if malformed is not None:
        problems[count] = [(malformed.code, str(malformed))]
    elif rest:
        problems[count] = [_unended(rest)]
    if not ordered:
        _find_disorder(columns, start, problems)
    specials = _check_reserved_kinds(columns, start, problems)
    good = min(problems, default=count)
    merkle, checkpoints = _grow_tree(columns, digests[:good], start, specials) if leaves or specials else (None, [])
    first = columns.kinds[0] == OPENED.encode() and start == 1 if good else False
    return SliceResult(
        start=start,
        count=good,
        problems=tuple(problems.get(good, ())),
        first_prev_hash=columns.prev_hashes[0].decode("latin-1") if count else "",
        last_hash=columns.hashes[good - 1].decode("ascii") if good else "",
        first_time=columns.times[0] if count else 0,
        last_time=columns.times[good - 1] if good else 0,
        genesis=read_genesis(parse_canonical(columns.payloads[0])) if first else None,
        closed=bool(good) and columns.kinds[good - 1] == CLOSED.encode(),
        checkpoints=tuple(checkpoints),
        merkle=merkle,
        sealed=_sealed_members(columns, start, good) if patterns.may_seal else (),
        pinned_at=_find(columns.hashes[:good], pin, start),
        length=len(data),
    )


def _start(columns: Columns) -> int:
    return int(columns.sequences[0]) if columns.sequences else 0


def _in_order(columns: Columns) -> list[bytes] | None:
    """Return the lines' digests if sequences, links, hashes and times are right (rules 2 to 5 within the slice)."""
    if not columns.hashes:
        return []
    start = _start(columns)
    stated = b"".join(columns.hashes)
    if (
        columns.sequences != _written(start, len(columns.hashes))
        or columns.prev_hashes[1:] != columns.hashes[:-1]
        or sorted(columns.times) != columns.times
    ):
        return None
    try:
        digests = _digests(columns, start, unhexlify(columns.prev_hashes[0] + stated[:-64]))
    except BinasciiError:
        return None
    # Equal to what `hexlify` writes, so the form of all hashes is proved too, but for the first prev_hash.
    proved = hexlify(b"".join(digests)) == stated and _DIGEST.fullmatch(columns.prev_hashes[0]) is not None
    return digests if proved else None


def _written(start: int, count: int) -> list[bytes]:
    """Return `count` sequences from `start` on as they stand in lines. By the hundred, which takes half the time."""
    if start < _HUNDRED:
        return [b"%d" % sequence for sequence in range(start, start + count)]
    first = start // _HUNDRED
    hundreds = [b"%d" % number for number in range(first, (start + count) // _HUNDRED + 1)]
    texts = [hundred + ending for hundred in hundreds for ending in _ENDINGS]
    return texts[start - first * _HUNDRED :][:count]


def _find_disorder(columns: Columns, start: int, problems: dict[int, list[Problem]]) -> None:
    """Add what is wrong with the first line that is not in order, if there is one."""
    for index in range(len(columns.hashes)):
        found = _differences(columns, index, b"%d" % (start + index))
        if found:
            problems.setdefault(index, []).extend(found)
            return


def _digests(columns: Columns, start: int, previous: bytes) -> list[bytes]:
    """Recompute the hashes (`docs/spec/chain.md`, section 3); `previous` are the hashes before, one after the other.

    Field by field for all lines at once, which takes a third of the time of packing line by line.
    """
    count = len(columns.hashes)
    kinds = {kind: struct.pack(">I", len(kind)) + kind for kind in set(columns.kinds)}
    lengths = list(map(len, columns.payloads))
    packed_lengths = {length: struct.pack(">I", length) for length in set(lengths)}
    preimages = zip(
        _packed("Q", range(start, start + count)),
        struct.unpack("32s" * count, previous),
        map(kinds.__getitem__, columns.kinds),
        map(packed_lengths.__getitem__, lengths),
        columns.payloads,
        _packed("q", columns.times),
        strict=True,
    )
    return [sha256(preimage).digest() for preimage in map(b"".join, preimages)]


def _packed(code: str, numbers: Iterable[int]) -> tuple[bytes, ...]:
    """Return each number in big-endian bytes; `code` is its type in `struct`."""
    values = tuple(numbers)
    size = struct.calcsize(f">{code}")
    fields: tuple[bytes, ...] = struct.unpack(f"{size}s" * len(values), struct.pack(f">{len(values)}{code}", *values))
    return fields


def _differences(columns: Columns, index: int, expected_sequence: bytes) -> list[Problem]:
    found: list[Problem] = []
    sequence, stated_hash, prev_hash = (
        column[index].decode("latin-1") for column in (columns.sequences, columns.hashes, columns.prev_hashes)
    )
    if sequence != expected_sequence.decode():
        found.append(("event-sequence", f"its sequence is {sequence}, but {expected_sequence.decode()} was due"))
    if index and prev_hash != columns.hashes[index - 1].decode():
        found.append(("event-prev-hash", f"its prev_hash is {prev_hash}, which is not the hash of the event before it"))
    one = Columns(*([column[index]] for column in columns))  # type: ignore[arg-type] # one entry of each column
    computed = _digests(one, int(sequence), bytes.fromhex(prev_hash))[0].hex()
    if computed != stated_hash:
        found.append(("event-hash", f"its hash is stated as {stated_hash}, but its contents give {computed}"))
    if index and columns.times[index] < columns.times[index - 1]:
        found.append(("event-time-order", "its time is before that of the event before it"))
    return found


def _check_reserved_kinds(
    columns: Columns, start: int, problems: dict[int, list[Problem]]
) -> dict[int, dict[str, Any]]:
    """Check the events of reserved kinds up to the first problem; return the checkpoints' payloads by index."""
    specials: dict[int, dict[str, Any]] = {}
    prefix = RESERVED_PREFIX.encode()
    if start == 1 and columns.kinds[0] != OPENED.encode():
        problems.setdefault(0, []).append(("chain-genesis", f"the first event is not {OPENED}"))
    if not any(kind.startswith(prefix) for kind in set(columns.kinds)):
        return specials
    limit = min(problems, default=len(columns.kinds))
    for index in [at for at, kind in enumerate(columns.kinds[: limit + 1]) if kind.startswith(prefix)]:
        payload = parse_canonical(columns.payloads[index])
        kind, sequence = columns.kinds[index].decode(), start + index
        problem = _reserved_problem(kind, sequence, payload)
        if problem:
            problems.setdefault(index, []).append(problem)
            return specials
        if kind in CHECKPOINTS:
            specials[index] = payload
        if kind == CLOSED and index + 1 < len(columns.kinds):
            problems.setdefault(index + 1, []).append(after_close())
            return specials
    return specials


def after_close() -> Problem:
    """The problem of an event that follows the closing of its chain."""
    return "chain-after-close", f"it follows {CLOSED}, after which nothing can be appended"


def _reserved_problem(kind: str, sequence: int, payload: dict[str, Any]) -> Problem | None:
    try:
        if kind == OPENED:
            if sequence != 1:
                return "chain-genesis", f"{OPENED} stands at sequence {sequence}, but only event 1 may open a chain"
            read_genesis(payload)
        elif kind not in CHECKPOINTS:
            return "chain-reserved-kind", f"its kind {kind} is reserved and unknown"
        elif not is_integer(payload.get("tree_size"), 1) or payload["tree_size"] != sequence - 1:
            return "checkpoint-tree-size", f"its tree_size is {payload.get('tree_size')!r:.40}, not {sequence - 1}"
        else:
            read_digest(payload.get("merkle_root"), "merkle_root")
    except ValueError as error:
        return ("chain-genesis" if kind == OPENED else "checkpoint-merkle-root"), str(error)
    return None


def _grow_tree(
    columns: Columns, leaves: list[bytes], start: int, specials: dict[int, dict[str, Any]]
) -> tuple[MerkleRange, list[Checkpoint]]:
    # Leaf 0 of the tree is event 1.
    merkle = MerkleRange(max(start - 1, 0))
    checkpoints: list[Checkpoint] = []
    done = 0
    for index, payload in specials.items():
        if index >= len(leaves):
            break
        merkle.add_leaves(leaves[done:index])
        done = index
        checkpoints.append(
            Checkpoint(
                sequence=start + index,
                hash=columns.hashes[index].decode("ascii"),
                prev_hash=columns.prev_hashes[index].decode("ascii"),
                occurred_at=columns.times[index],
                kind=columns.kinds[index].decode("ascii"),
                merkle_root=payload["merkle_root"],
                before=merkle.copy(),
            )
        )
    merkle.add_leaves(leaves[done:])
    return merkle, checkpoints


def _sealed_members(columns: Columns, start: int, good: int) -> tuple[tuple[int, tuple[str, ...]], ...]:
    return tuple(
        (start + index, tuple(sealed_digests(parse_canonical(payload))))
        for index, payload in enumerate(columns.payloads[:good])
        if _SEALED_NAME in payload
    )


def _find(hashes: list[bytes], pin: str | None, start: int) -> int | None:
    if pin is None:
        return None
    wanted = pin.encode("ascii")
    return start + hashes.index(wanted) if wanted in hashes else None


def _unended(rest: bytes) -> Problem:
    if len(rest) > MAX_LINE_BYTES:
        return "event-too-long", f"its line is longer than {MAX_LINE_BYTES} bytes"
    return "event-malformed", "its line does not end with a line feed"
