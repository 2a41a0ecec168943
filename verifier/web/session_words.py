"""What an ended session's anchors cover, in words: the session, the processing after it, the whole chain."""

from dataclasses import dataclass
from typing import Any

_COVERS = {
    "part": "A part of the record: events 1 to {sequence}.",
    "session": "The whole session up to its end, as it was when it ended: events 1 to {sequence}.",
    "processing": "The whole session, and what had come of its recordings and clips by then: events 1 to {sequence}.",
    "chain": "The whole record with its closing: events 1 to {sequence}.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A part of an ended session's chain; `since` is the time of the earliest valid time stamp that covers it."""

    events: str
    meaning: str
    count: int
    since: str


def covers(token: dict[str, Any]) -> str:
    """How much of the record a token of the report is about."""
    return _COVERS.get(token["covers"], _COVERS["part"]).format(sequence=token["sequence"])


def stages(report: dict[str, Any]) -> tuple[Stage, ...]:
    """The parts of an ended session's chain in their order; none where no end is known or the chain is not intact."""
    end = report["session_end"]
    if end is None or not report["chain_integrity"]["ok"]:
        return ()
    ended, count, closed = end["sequence"], report["event_count"], report["closed"]
    found = [
        _stage(
            report,
            first=1,
            last=ended,
            meaning="The session, up to its end. Nothing could be added to it from then on but what is said below.",
        )
    ]
    last = count - 1 if closed else count
    if last > ended:
        text = "What came of the recordings and clips that were still in the making when the session ended."
        if not closed:
            text += " More may follow: the chain is not closed yet."
        elif end["unfinished"]:
            unfinished = len(end["unfinished"])
            text += (
                f" {unfinished} of them {'was' if unfinished == 1 else 'were'} not finished when the chain was closed."
            )
        found.append(_stage(report, first=ended + 1, last=last, meaning=text))
    if closed:
        found.append(
            _stage(report, first=1, last=count, meaning="The whole record, with its closing: nothing can follow it.")
        )
    return tuple(found)


def _stage(report: dict[str, Any], *, first: int, last: int, meaning: str) -> Stage:
    tokens = [token for token in report["tokens"] if token["ok"] and token["sequence"] >= last]
    times = sorted((str(token["time"]) for token in tokens if token["time"]), key=lambda time: time.rstrip("Z"))
    return Stage(
        events=f"{first} to {last}" if last > first else str(first),
        meaning=meaning,
        count=len(tokens),
        since=times[0] if times else "",
    )
