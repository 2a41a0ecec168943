"""What a chain says about preserved clips (`docs/spec/clip.md`, section 5), read from its events."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from verifier.bundle import EVENTS, Bundle
from verifier.canonical import parse_strict
from verifier.event import EventLine, is_integer, parse_line, parse_time, read_digest

PRESERVED = "clip.preserved"
HOLD_PLACED = "hold.placed"
HOLD_LIFTED = "hold.lifted"
ACCESSED = "clip.accessed"
DISPOSED = "clip.disposed"

_ACCESS_ACTIONS = {"link": "link issued", "download": "downloaded", "export": "exported", "verify": "verified"}
# Of each kind: the members that name what it is about, when it was and who did it, and what custody calls it. An access
# has its name from the payload; a preservation and a disposal are the software's doing.
_ABOUT: Mapping[str, tuple[str, str, str | None, str]] = MappingProxyType(
    {
        PRESERVED: ("clip_id", "preserved_at", None, "preserved"),
        HOLD_PLACED: ("hold_id", "placed_at", "placed_by", "hold placed"),
        HOLD_LIFTED: ("hold_id", "lifted_at", "lifted_by", "hold lifted"),
        ACCESSED: ("access_id", "at", "who", ""),
        DISPOSED: ("clip_id", "disposed_at", None, "deleted"),
    }
)
# A quick look at lines that a strict look has accepted before: the kind stands at one place in every line.
_ABOUT_CLIPS = re.compile(rb'\{"hash":"[0-9a-f]{64}","kind":"(?:clip|hold)\.')

MAX_EVENTS_ABOUT_CLIPS = 50_000
"""Each is kept in some hundred bytes of memory."""

MAX_ARTEFACTS = 100
"""Of one clip; six are usual."""


class TooManyEventsError(ValueError):
    """The chain says more about these clips than this program keeps in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipEvent:
    """An event about a clip, with what the entry of a custody document that tells of it must say."""

    sequence: int
    hash: str
    kind: str
    subject: str
    """The id of the hold, of the access or of the clip."""
    at: int
    """When it happened by its own words, in microseconds since 1970."""
    who: object
    """The person; None where software acts."""
    action: str
    artefact: object
    """The file it is about; None for all, or for none."""
    detail: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRecord:
    """One clip by the event that records its preservation. `artefacts`: SHA-256 and size of each file by its name.

    `events` are that event and all others about the clip; a hold may have been placed before there was a clip.
    """

    sequence: int
    occurred_at: int
    source: str
    camera: str
    incident: str
    artefacts: Mapping[str, tuple[str, int]]
    events: Sequence[ClipEvent]


def read_records(bundle: Bundle, clip_ids: Collection[str]) -> dict[str, ClipRecord]:
    """The records of these clips in a chain whose every line was found intact; malformed records are left out.

    Memory does not grow with the chain. Raises `TooManyEventsError`.
    """
    records: dict[str, ClipRecord] = {}
    events: dict[str, list[ClipEvent]] = {clip_id: [] for clip_id in clip_ids}
    for count, (line, payload) in enumerate(_events_about(bundle, clip_ids)):
        if count == MAX_EVENTS_ABOUT_CLIPS:
            raise TooManyEventsError(f"it has more than {MAX_EVENTS_ABOUT_CLIPS} events about them")
        clip_id = payload["clip_id"]
        event = _event(line, payload)
        if line.kind == PRESERVED:
            # The first one counts.
            record = None if clip_id in records else _record(line, payload, events[clip_id])
            if record is None:
                continue
            records[clip_id] = record
        if event is not None:
            events[clip_id].append(event)
    return records


def _event(line: EventLine, payload: Mapping[str, Any]) -> ClipEvent | None:
    """The event in the words of custody; None for a kind that custody does not tell of."""
    if line.kind not in _ABOUT:
        return None
    named, timed, actor, action = _ABOUT[line.kind]
    is_access = line.kind == ACCESSED
    if is_access:
        action = _ACCESS_ACTIONS.get(str(payload.get("access")), "")
    stated = payload.get("detail")
    detail: dict[str, Any] = dict(stated) if is_access and isinstance(stated, dict) else {}
    if line.kind in {HOLD_PLACED, HOLD_LIFTED}:
        detail["reason"] = payload.get("reason")
    return ClipEvent(
        sequence=line.sequence,
        hash=line.hash,
        kind=line.kind,
        subject=str(payload.get(named)),
        at=_time(payload.get(timed), line.occurred_at),
        who=None if actor is None else payload.get(actor),
        action=action,
        artefact=payload.get("artefact") if is_access else None,
        detail=detail,
    )


def _events_about(bundle: Bundle, clip_ids: Collection[str]) -> Iterator[tuple[EventLine, dict[str, Any]]]:
    for line in bundle.iter_lines(EVENTS):
        if _ABOUT_CLIPS.match(line):
            event = parse_line(line)
            payload = parse_strict(event.payload)
            clip_id = payload.get("clip_id")
            if isinstance(clip_id, str) and clip_id in clip_ids:
                yield event, payload


def _record(event: EventLine, payload: Mapping[str, Any], events: Sequence[ClipEvent]) -> ClipRecord | None:
    try:
        artefacts = _artefacts(payload.get("artefacts"))
        source, camera, incident = payload["source"], payload["camera"], payload["incident"]
    except (KeyError, ValueError):
        return None
    return ClipRecord(
        sequence=event.sequence,
        occurred_at=event.occurred_at,
        source=str(source),
        camera=str(camera),
        incident=str(incident),
        artefacts=artefacts,
        events=events,
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
