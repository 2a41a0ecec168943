"""What a chain says about preserved clips (`docs/spec/clip.md`, section 5), read from its events."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from verifier.bundle import EVENTS, Bundle
from verifier.canonical import parse_strict
from verifier.event import EventLine, is_integer, parse_line, parse_time, read_digest

PRESERVED = "clip.preserved"
HOLD_PLACED = "hold.placed"
HOLD_LIFTED = "hold.lifted"
ACCESSED = "clip.accessed"
DISPOSED = "clip.disposed"

# Of each kind of later event: the member that names what it is about, and the one that says when.
_LATER = {
    HOLD_PLACED: ("hold_id", "placed_at"),
    HOLD_LIFTED: ("hold_id", "lifted_at"),
    ACCESSED: ("access_id", "at"),
    DISPOSED: ("clip_id", "disposed_at"),
}
# A quick look at lines that a strict look has accepted before: the kind stands at one place in every line.
_ABOUT_CLIPS = re.compile(rb'\{"hash":"[0-9a-f]{64}","kind":"(?:clip|hold)\.')

MAX_EVENTS_ABOUT_CLIPS = 50_000
"""Each is kept in some hundred bytes of memory."""

MAX_ARTEFACTS = 100
"""Of one clip; six are usual."""


class TooManyEventsError(ValueError):
    """The chain says more about these clips than this program keeps in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaterEvent:
    """An event about a clip after it was preserved. `subject` is the id of the hold, of the access or of the clip."""

    sequence: int
    hash: str
    kind: str
    subject: str
    at: int
    """When it happened by its own words, in microseconds since 1970."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRecord:
    """One clip by the event that records its preservation. `artefacts`: SHA-256 and size of each file by its name."""

    sequence: int
    hash: str
    occurred_at: int
    camera: str
    incident: str
    artefacts: Mapping[str, tuple[str, int]]
    later: list[LaterEvent] = field(default_factory=list)


def read_records(bundle: Bundle, clip_ids: Collection[str]) -> dict[str, ClipRecord]:
    """The records of these clips in a chain whose every line was found intact; malformed records are left out.

    Memory does not grow with the chain. Raises `TooManyEventsError`.
    """
    records: dict[str, ClipRecord] = {}
    for count, (event, payload) in enumerate(_events_about(bundle, clip_ids)):
        if count == MAX_EVENTS_ABOUT_CLIPS:
            raise TooManyEventsError(f"it has more than {MAX_EVENTS_ABOUT_CLIPS} events about them")
        record = records.get(payload["clip_id"])
        if event.kind == PRESERVED and record is None:
            if (record := _record(event, payload)) is not None:
                records[payload["clip_id"]] = record
        elif record is not None and event.kind in _LATER:
            named, timed = _LATER[event.kind]
            if isinstance(subject := payload.get(named), str):
                at = _time(payload.get(timed), event.occurred_at)
                later = LaterEvent(sequence=event.sequence, hash=event.hash, kind=event.kind, subject=subject, at=at)
                record.later.append(later)
    return records


def _events_about(bundle: Bundle, clip_ids: Collection[str]) -> Iterator[tuple[EventLine, dict[str, Any]]]:
    for line in bundle.iter_lines(EVENTS):
        if _ABOUT_CLIPS.match(line):
            event = parse_line(line)
            payload = parse_strict(event.payload)
            clip_id = payload.get("clip_id")
            if isinstance(clip_id, str) and clip_id in clip_ids:
                yield event, payload


def _record(event: EventLine, payload: Mapping[str, Any]) -> ClipRecord | None:
    try:
        artefacts = _artefacts(payload.get("artefacts"))
        camera, incident = payload["camera"], payload["incident"]
    except (KeyError, ValueError):
        return None
    return ClipRecord(
        sequence=event.sequence,
        hash=event.hash,
        occurred_at=event.occurred_at,
        camera=str(camera),
        incident=str(incident),
        artefacts=artefacts,
    )


def _artefacts(value: object) -> dict[str, tuple[str, int]]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ARTEFACTS:
        raise ValueError("artefacts is not a list of files")
    artefacts: dict[str, tuple[str, int]] = {}
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not is_integer(item.get("size"), 0):
            raise ValueError("an artefact has no name or no size")
        artefacts[item["name"]] = (read_digest(item.get("sha256"), "sha256"), item["size"])
    if len(artefacts) != len(value):
        raise ValueError("two artefacts have one name")
    return artefacts


def _time(value: object, otherwise: int) -> int:
    try:
        return parse_time(value) if isinstance(value, str) else otherwise
    except ValueError:
        return otherwise
