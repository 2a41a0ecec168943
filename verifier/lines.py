"""The lines of a slice as far as they are read, and the reading of them one by one, which says what is wrong.

Reading a line in full costs many times what hashing it costs: for good lines `quick_lines.py` finds the same sooner.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from verifier.event import EventLine, MalformedEventError, parse_line, preimage

Problem = tuple[str, str]
"""A finding's code and text, before it is known for certain which event it belongs to."""

DIGEST_BYTES = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """Events that follow each other, by kind of field; one entry per line in each list."""

    start: int
    """Sequence of the first event, as its line claims; 0 when there is none."""
    first_prev_hash: str
    kinds: Sequence[bytes]
    """As they stand in a preimage, after their length in four bytes."""
    times: Sequence[int]
    payloads: Sequence[bytes]
    hashes: Sequence[bytes]
    """Hexadecimal, as stated."""
    digests: bytes
    """The same hashes in 32 bytes each, one after the other."""

    def kind(self, index: int) -> str:
        """Return the kind of one event."""
        return self.kinds[index][4:].decode("ascii")

    def prev_hash(self, index: int) -> str:
        """Return the hash of the event before one that is good."""
        return self.hashes[index - 1].decode("ascii") if index else self.first_prev_hash


def packed_kind(kind: bytes) -> bytes:
    """Return a kind as it stands in a preimage."""
    return struct.pack(">I", len(kind)) + kind


def read_in_full(data: bytes) -> tuple[Lines, dict[int, list[Problem]]]:
    """Read whole lines up to the first wrong one; return them and what is wrong with it (rules 1 to 5), by its index.

    A line that is an event, but not the one that is due, is the last of those returned; one that is no event is not.
    """
    events: list[EventLine] = []
    problems: dict[int, list[Problem]] = {}
    for index, line in enumerate(data.split(b"\n")[:-1]):
        try:
            events.append(parse_line(line))
        except MalformedEventError as error:
            problems[index] = [(error.code, str(error))]
            break
        if found := _differences(events):
            problems[index] = found
            break
    lines = Lines(
        start=events[0].sequence if events else 0,
        first_prev_hash=events[0].prev_hash if events else "",
        kinds=[packed_kind(event.kind.encode("ascii")) for event in events],
        times=[event.occurred_at for event in events],
        payloads=[event.payload for event in events],
        hashes=[event.hash.encode("ascii") for event in events],
        digests=b"".join(bytes.fromhex(event.hash) for event in events),
    )
    return lines, problems


def _differences(events: list[EventLine]) -> list[Problem]:
    """Say what is wrong with the last event, given those before it."""
    event = events[-1]
    before = events[-2] if len(events) > 1 else None
    found: list[Problem] = []
    due = events[0].sequence + len(events) - 1
    if event.sequence != due:
        found.append(("event-sequence", f"its sequence is {event.sequence}, but {due} was due"))
    if before is not None and event.prev_hash != before.hash:
        text = f"its prev_hash is {event.prev_hash}, which is not the hash of the event before it"
        found.append(("event-prev-hash", text))
    computed = sha256(preimage(event)).hexdigest()
    if computed != event.hash:
        found.append(("event-hash", f"its hash is stated as {event.hash}, but its contents give {computed}"))
    if before is not None and event.occurred_at < before.occurred_at:
        found.append(("event-time-order", "its time is before that of the event before it"))
    return found
