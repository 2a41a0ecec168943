"""Checks of one slice of a chain: some lines that follow each other. Slices can be checked apart, in any order.

What needs its neighbours (does a slice continue the one before, is a Merkle root right) is left to `chain.py`.
"""

from dataclasses import dataclass
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
from verifier.line_patterns import SEALED_NAME
from verifier.lines import DIGEST_BYTES, Lines, Problem, read_in_full
from verifier.merkle import MerkleRange
from verifier.quick_lines import QuickReader
from verifier.sealed import sealed_digests
from verifier.session import ENDED, PROCESSING, Step, item_id

BYTES_WORTH_LEARNING = 64 * 1024
"""Below this, parsing every line in full is quicker than compiling expressions for their shapes."""

_SEALED_NAME = SEALED_NAME.encode("ascii")
_KIND_AT = 4
"""Where a kind begins in its packed form."""

_PROCESSING = tuple(f"{name}.".encode("ascii") for name in PROCESSING)
_WITH_PAYLOAD = frozenset({ENDED.encode("ascii"), CLOSED.encode("ascii")})


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
    steps: tuple[Step, ...]
    """What the rules about the end of a session look at."""
    merkle: MerkleRange
    """Over the good events."""
    sealed: tuple[tuple[int, tuple[str, ...]], ...]
    """Sequence and digests of sealed members, for the events that have some."""
    pinned_at: int | None
    """Sequence of the event whose hash the caller looks for."""
    length: int
    """Bytes of the slice."""


def check_slice(data: bytes, reader: QuickReader, pin: str | None = None, *, grow: bool = True) -> SliceResult:
    """Check the lines of `data`. A last line without its line end is the slice's problem.

    `pin` is a hash to look for. Without `grow` the Merkle tree is left to whoever asks for its root.
    """
    whole, rest = data, b""
    if not data.endswith(b"\n"):
        rest = data[data.rfind(b"\n") + 1 :]
        whole = data[: len(data) - len(rest)]
    lines = reader.read(whole) if reader.patterns.known or len(data) >= BYTES_WORTH_LEARNING else None
    quick = lines is not None
    problems: dict[int, list[Problem]] = {}
    if lines is None:
        lines, problems = read_in_full(whole)
    count = len(lines.hashes)
    if rest and not problems:
        problems[count] = [_unended(rest)]
    kinds = set(lines.kinds)
    specials = _check_reserved_kinds(lines, kinds, problems)
    good = min(problems, default=count)
    merkle, checkpoints = _grow_tree(lines, good, specials, grow=grow)
    first = lines.kind(0) == OPENED and lines.start == 1 if good else False
    return SliceResult(
        start=lines.start,
        count=good,
        problems=tuple(problems.get(good, ())),
        first_prev_hash=lines.first_prev_hash,
        last_hash=lines.hashes[good - 1].decode("ascii") if good else "",
        first_time=lines.times[0] if count else 0,
        last_time=lines.times[good - 1] if good else 0,
        genesis=read_genesis(parse_canonical(lines.payloads[0])) if first else None,
        closed=bool(good) and lines.kind(good - 1) == CLOSED,
        checkpoints=tuple(checkpoints),
        steps=tuple(_session_steps(lines, kinds, good)),
        merkle=merkle,
        sealed=_sealed_members(lines, good) if reader.patterns.may_seal or not quick else (),
        pinned_at=_find(lines, good, pin),
        length=len(data),
    )


def _check_reserved_kinds(
    lines: Lines, kinds: set[bytes], problems: dict[int, list[Problem]]
) -> dict[int, dict[str, Any]]:
    """Check the events of reserved kinds up to the first problem; return the checkpoints' payloads by index."""
    specials: dict[int, dict[str, Any]] = {}
    prefix = RESERVED_PREFIX.encode()
    if lines.start == 1 and lines.kind(0) != OPENED:
        problems.setdefault(0, []).append(("chain-genesis", f"the first event is not {OPENED}"))
    if not any(kind.startswith(prefix, _KIND_AT) for kind in kinds):
        return specials
    limit = min(problems, default=len(lines.kinds))
    for index in [at for at, kind in enumerate(lines.kinds[: limit + 1]) if kind.startswith(prefix, _KIND_AT)]:
        payload = parse_canonical(lines.payloads[index])
        kind, sequence = lines.kind(index), lines.start + index
        problem = _reserved_problem(kind, sequence, payload)
        if problem:
            problems.setdefault(index, []).append(problem)
            return specials
        if kind in CHECKPOINTS:
            specials[index] = payload
        if kind == CLOSED and index + 1 < len(lines.kinds):
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
    lines: Lines, good: int, specials: dict[int, dict[str, Any]], *, grow: bool
) -> tuple[MerkleRange, list[Checkpoint]]:
    # Leaf 0 of the tree is event 1.
    merkle = MerkleRange(max(lines.start - 1, 0))
    checkpoints: list[Checkpoint] = []
    done = 0
    for index, payload in specials.items():
        if index >= good:
            break
        merkle.add_leaves(lines.digests[done * DIGEST_BYTES : index * DIGEST_BYTES])
        done = index
        # A checkpoint's copy would grow the same leaves again.
        merkle.grow()
        checkpoints.append(
            Checkpoint(
                sequence=lines.start + index,
                hash=lines.hashes[index].decode("ascii"),
                prev_hash=lines.prev_hash(index),
                occurred_at=lines.times[index],
                kind=lines.kind(index),
                merkle_root=payload["merkle_root"],
                before=merkle.copy(),
            )
        )
    merkle.add_leaves(lines.digests[done * DIGEST_BYTES : good * DIGEST_BYTES])
    if grow:
        merkle.grow()
    return merkle, checkpoints


def _session_steps(lines: Lines, kinds: set[bytes], good: int) -> list[Step]:
    """Find ends, closings and events of processing, and the ordinary events that would be the first after an end."""
    named = {kind: kind[_KIND_AT:] for kind in kinds}
    telling = {kind for kind, name in named.items() if name in _WITH_PAYLOAD or name.startswith(_PROCESSING)}
    ordinary = {kind for kind, name in named.items() if not name.startswith(RESERVED_PREFIX.encode())} - telling
    steps: list[Step] = []
    is_first = True
    for index, kind in enumerate(lines.kinds[:good]):
        if kind in telling:
            steps.append(_telling_step(lines, index))
            is_first |= named[kind] in _WITH_PAYLOAD
        elif is_first and kind in ordinary:
            steps.append(_step(lines, index))
            is_first = False
        if not telling and not is_first:
            break
    return steps


def _telling_step(lines: Lines, index: int) -> Step:
    payload = parse_canonical(lines.payloads[index])
    kind = lines.kind(index)
    if kind.startswith(tuple(f"{name}." for name in PROCESSING)):
        return _step(lines, index, item_id=item_id(kind, payload))
    return _step(lines, index, payload=payload)


def _step(lines: Lines, index: int, **particulars: Any) -> Step:
    return Step(
        sequence=lines.start + index,
        prev_hash=lines.prev_hash(index),
        occurred_at=lines.times[index],
        kind=lines.kind(index),
        **particulars,
    )


def _sealed_members(lines: Lines, good: int) -> tuple[tuple[int, tuple[str, ...]], ...]:
    return tuple(
        (lines.start + index, tuple(sealed_digests(parse_canonical(payload))))
        for index, payload in enumerate(lines.payloads[:good])
        if _SEALED_NAME in payload
    )


def _find(lines: Lines, good: int, pin: str | None) -> int | None:
    if pin is None:
        return None
    hashes, wanted = lines.hashes[:good], pin.encode("ascii")
    return lines.start + hashes.index(wanted) if wanted in hashes else None


def _unended(rest: bytes) -> Problem:
    if len(rest) > MAX_LINE_BYTES:
        return "event-too-long", f"its line is longer than {MAX_LINE_BYTES} bytes"
    return "event-malformed", "its line does not end with a line feed"
