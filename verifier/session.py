"""The end of a session whose recordings or clips were still in the making (`docs/spec/chain.md`, section 8).

What must hold, event by event:

1. `session.ended` stands in a session's chain, once, names what is pending there and a deadline of a minute to a week.
2. What follows it is a checkpoint, the closing, or tells of a recording or clip that is pending at that moment.
3. The closing names what is pending then; while that is anything, it is not before the deadline.

An event of the kind `session.ended` without the format of section 8 is an ordinary event: older chains may have it.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from verifier.event import CLOSED, IDENTIFIER, format_time, parse_time
from verifier.lines import Problem

Coverage = Literal["part", "session", "processing", "chain"]

ENDED = "session.ended"
END_FORMAT = "indelible-session-end/1"
PROCESSING = ("recording", "clip")
"""First words of the kinds that tell of processing; the item's id is the member of that name and `_id`."""

_BEGIN = frozenset({"recording.started", "clip.requested"})
_END = frozenset({"recording.completed", "recording.failed", "clip.preserved", "clip.failed"})
_MINUTE = 60 * 1_000_000
MAX_PENDING = 100_000
"""Items kept in mind at a time, some 20 MB; a session that ends can name far fewer in its last event."""

_WEEK = 7 * 24 * 60 * _MINUTE


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An event that the rules look at. Of ordinary events the first of a slice is one, and the first after an end."""

    sequence: int
    prev_hash: str
    occurred_at: int
    kind: str
    item_id: str | None = None
    """Of processing: what the event is about, if it names that properly."""
    payload: dict[str, Any] | None = None
    """Of an end or a closing."""

    @property
    def item(self) -> tuple[str, str] | None:
        """Type and id of the recording or clip that the event tells of."""
        return None if self.item_id is None else (self.kind.partition(".")[0], self.item_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionEnd:
    """Where a session ended: the sequence of `session.ended`, and the deadline in microseconds since 1970."""

    sequence: int
    closes_by: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished:
    """A recording or clip that was begun and had not been ended when the chain was closed, or where it stops."""

    type: str
    item_id: str
    since_sequence: int


@dataclass(slots=True)
class Session:
    """What is pending after the good events so far, and whether the session has ended."""

    end: SessionEnd | None = None
    _pending: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def unfinished(self) -> tuple[Unfinished, ...]:
        """What is pending, by type and id."""
        return tuple(
            Unfinished(type=kind, item_id=item_id, since_sequence=sequence)
            for (kind, item_id), sequence in sorted(self._pending.items())
        )

    def take(self, step: Step, *, is_session: bool) -> list[Problem]:
        """Check one step and take it in; return what is wrong with it. An operations chain has no session to end."""
        ends = step.kind == ENDED and step.payload is not None and step.payload.get("format") == END_FORMAT
        if not is_session:
            return [("session-end", "it ends a session, but an operations log has none")] if ends else []
        problems: list[Problem] = []
        if self.end is not None:
            problems = self._after_end(step, self.end)
        elif ends:
            problems = self._end(step)
        if step.item is not None:
            if step.kind in _BEGIN:
                self._pending[step.item] = step.sequence
                if len(self._pending) > MAX_PENDING:
                    return [("session-items-too-many", f"more than {MAX_PENDING:,} recordings and clips are pending")]
            elif step.kind in _END:
                self._pending.pop(step.item, None)
        return problems

    def _end(self, step: Step) -> list[Problem]:
        payload = step.payload or {}
        if payload.get("pending") != self._listed():
            return [("session-end", "it ends the session and does not name what was pending then")]
        if not isinstance(payload.get("ending", {}), dict):
            return [("session-end", "what it says about the ending is not an object")]
        try:
            closes_by = parse_time(str(payload.get("closes_by")))
        except ValueError:
            return [("session-end", "it ends the session and sets no deadline")]
        if not _MINUTE <= closes_by - step.occurred_at <= _WEEK:
            return [("session-end", "its deadline is not between a minute and a week after it")]
        self.end = SessionEnd(sequence=step.sequence, closes_by=closes_by)
        return []

    def _after_end(self, step: Step, end: SessionEnd) -> list[Problem]:
        if step.kind == CLOSED:
            return self._closing(step, end)
        if step.item is not None and step.item in self._pending:
            return []
        text = f"it follows {ENDED} (event {end.sequence}) and tells of no recording or clip that was pending"
        return [("session-after-end", text)]

    def _closing(self, step: Step, end: SessionEnd) -> list[Problem]:
        if (step.payload or {}).get("unfinished") != self._listed():
            return [("session-closing", "it closes the chain and does not name what was unfinished then")]
        if self._pending and step.occurred_at < end.closes_by:
            deadline = format_time(end.closes_by)
            return [
                ("session-closing", f"it closes the chain over what was unfinished before the deadline, {deadline}")
            ]
        return []

    def _listed(self) -> list[dict[str, Any]]:
        return [
            {"item_id": item.item_id, "since_sequence": item.since_sequence, "type": item.type}
            for item in self.unfinished
        ]


def coverage(sequence: int, *, end: SessionEnd | None, closed_at: int | None) -> Coverage:
    """How much of a chain an anchor of the event `sequence` covers.

    The whole "chain" with its closing; the whole "session" and nothing behind its end; the session and "processing"
    after it; or a "part" of a session or of an operations log.
    """
    if sequence == closed_at:
        return "chain"
    if end is None or sequence <= end.sequence:
        return "part"
    # The ledger appends the session's own checkpoint together with its end.
    return "session" if sequence == end.sequence + 1 else "processing"


def item_id(kind: str, payload: dict[str, Any]) -> str | None:
    """Return what an event of processing is about, if it names that properly."""
    value = payload.get(f"{kind.partition('.')[0]}_id")
    return value if isinstance(value, str) and IDENTIFIER.fullmatch(value) else None
