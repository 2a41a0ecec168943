"""A clip's custody documents, read strictly and compared with the chain (`docs/spec/clip.md`, sections 4 and 6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from verifier.canonical import NotCanonicalError, parse_strict
from verifier.clip_records import ACCESSED, DISPOSED, HOLD_LIFTED, HOLD_PLACED, PRESERVED, ClipEvent, ClipRecord
from verifier.event import is_integer, parse_time

CUSTODY = "custody.json"
"""As stored with the clip when it was preserved; its digest is on the chain."""

CUSTODY_TO_DATE = "custody-to-date.json"
"""The same, carried on until the bundle was made."""

FORMAT = "indelible-clip-custody/1"
MAX_ENTRIES = 50_000
_ACTORS = ("person", "software")
_MAX_TEXT_CHARACTERS = 10_000
_MAX_PARTS = 1_000_000  # brackets and commas: each costs memory when read

_MEMBERS = {"format", "clip_id", "organisation_id", "source", "camera", "incident", "as_of", "entries"}
_ENTRY_MEMBERS = {"number", "at", "actor", "action", "object", "digest_before", "digest_after", "detail"}
_KINDS = {
    "preserved": PRESERVED,
    "hold placed": HOLD_PLACED,
    "hold lifted": HOLD_LIFTED,
    "link issued": ACCESSED,
    "downloaded": ACCESSED,
    "exported": ACCESSED,
    "verified": ACCESSED,
    "deleted": DISPOSED,
}
"""The steps that events tell of, and of which kind these are."""

_OTHER_ACTIONS = {"requested", "acquired", "derived", "written", "stored and read back", "disposal decided"}
_NAMED_BY = {HOLD_PLACED: "hold_id", HOLD_LIFTED: "hold_id", ACCESSED: "access_id"}
# Chains of sessions know of a preservation as well; custody names the event that is always there.
_OPERATIONS = "operations"


class CustodyError(ValueError):
    """The document cannot be read as a custody document; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Custody:
    """A custody document. `entries` are its steps as parsed, each with exactly the members of the format."""

    clip_id: str
    organisation_id: str
    about: tuple[str, str, str]
    """Source, camera and incident."""
    as_of: int
    entries: Sequence[dict[str, Any]]


def read_custody(raw: bytes) -> Custody:
    """Read a custody document. Raises `CustodyError`."""
    if raw.count(b"[") + raw.count(b"{") + raw.count(b",") > _MAX_PARTS:
        raise CustodyError("it has too many parts")
    try:
        document = parse_strict(raw)
    except NotCanonicalError as error:
        raise CustodyError(str(error)) from error
    if not isinstance(document, dict) or document.keys() != _MEMBERS or document["format"] != FORMAT:
        raise CustodyError(f"it does not have exactly the members of {FORMAT}")
    entries = document["entries"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ENTRIES:
        raise CustodyError(f"it does not have 1 to {MAX_ENTRIES} entries")
    earlier = None
    for number, entry in enumerate(entries, start=1):
        _require_entry(number, entry)
        at = _read_time(entry["at"], f"entry {number}")
        if earlier is not None and at < earlier:
            raise CustodyError(f"entry {number} is older than the one before it")
        if "stated_at" in entry["detail"] and not (_stated_at(entry) < at == earlier):
            raise CustodyError(f"entry {number} states another time than its own without need")
        earlier = at
    as_of = _read_time(document["as_of"], "as_of")
    if earlier is not None and as_of < earlier:
        raise CustodyError("it tells of steps after the time that it was made")
    return Custody(
        clip_id=_read_text(document["clip_id"], "clip_id"),
        organisation_id=_read_text(document["organisation_id"], "organisation_id"),
        about=(
            _read_text(document["source"], "source"),
            _read_text(document["camera"], "camera"),
            _read_text(document["incident"], "incident"),
        ),
        as_of=as_of,
        entries=entries,
    )


def contradictions(custody: Custody, record: ClipRecord, chain_id: str) -> Iterator[tuple[str, str]]:
    """What the chain says otherwise: (code, sentence) for each entry that differs."""
    events: dict[tuple[str, object], ClipEvent] = {(event.kind, event.subject): event for event in record.events}
    told: set[int] = set()
    for entry in custody.entries:
        place = f"entry {entry['number']} ({entry['action']!r:.60})"
        if _states_other_digest(entry, record):
            yield "custody-digest-differs", f"{place} states a digest of {entry['object']} that the chain does not know"
        kind = _KINDS.get(entry["action"])
        if kind is None:
            continue
        event = events.get((kind, _subject(entry, custody.clip_id)))
        named = entry["detail"]["event"]
        if event is None:
            if named is not None and named["chain_id"] == chain_id:
                yield "custody-event-differs", f"{place} names event {named['sequence']}, which does not say that"
        elif not _names(named, event, chain_id):
            yield "custody-event-differs", f"{place} is told by event {event.sequence}, and names another"
        elif not _says_the_same(entry, event):
            yield "custody-event-differs", f"{place} tells it otherwise than event {event.sequence}"
        elif kind != DISPOSED and event.sequence in told:
            yield "custody-event-differs", f"{place} tells of event {event.sequence} a second time"
        else:
            told.add(event.sequence)


def omissions(custody: Custody, record: ClipRecord) -> Iterator[ClipEvent]:
    """Events of the chain about the clip that the document should tell of and does not."""
    told = {(_KINDS.get(entry["action"]), _subject(entry, custody.clip_id)) for entry in custody.entries}
    for event in record.events:
        if event.at <= custody.as_of and (event.kind, event.subject) not in told:
            yield event


def _states_other_digest(entry: dict[str, Any], record: ClipRecord) -> bool:
    # A file of footage may have the name of a file of the clip.
    if entry["action"] == "acquired" or entry["object"] not in record.artefacts:
        return False
    stated = {entry["digest_before"], entry["digest_after"]} - {None}
    return bool(stated - {record.artefacts[entry["object"]][0]})


def _names(named: dict[str, Any] | None, event: ClipEvent, chain_id: str) -> bool:
    """Whether an entry's `detail.event` is this event, or says nothing about this chain that is not so."""
    if named is None:
        return True
    if event.kind == PRESERVED and chain_id != _OPERATIONS and named["chain_id"] == _OPERATIONS:
        return True
    return named == {"chain_id": chain_id, "sequence": event.sequence, "hash": event.hash}


def _says_the_same(entry: dict[str, Any], event: ClipEvent) -> bool:
    """Whether an entry agrees with its event in everything that the event says."""
    detail = {name: value for name, value in entry["detail"].items() if name not in {"event", "stated_at"}}
    subject = {_NAMED_BY[event.kind]: event.subject} if event.kind in _NAMED_BY else {}
    actor = entry["actor"]
    by_whom = actor["kind"] == "software" if event.who is None else actor == {"kind": "person", "name": event.who}
    about = event.kind == DISPOSED or entry["object"] == event.artefact
    return (
        by_whom
        and about
        and entry["action"] == event.action
        and _stated_at(entry) == event.at
        and detail == {**event.detail, **subject}
    )


def _stated_at(entry: dict[str, Any]) -> int:
    return _read_time(entry["detail"].get("stated_at", entry["at"]), f"entry {entry['number']}")


def _subject(entry: dict[str, Any], clip_id: str) -> object:
    named_by = _NAMED_BY.get(_KINDS.get(entry["action"], ""))
    return clip_id if named_by is None else entry["detail"][named_by]


def _require_entry(number: int, entry: object) -> None:
    if not isinstance(entry, dict) or entry.keys() != _ENTRY_MEMBERS:
        raise CustodyError(f"entry {number} does not have exactly the members of an entry")
    if entry["number"] != number or not isinstance(entry["detail"], dict):
        raise CustodyError(f"entry {number} has another number, or no detail")
    if (action := _read_text(entry["action"], f"entry {number}'s action")) not in _KINDS and (
        action not in _OTHER_ACTIONS
    ):
        raise CustodyError(f"entry {number} tells of a step that this program does not know")
    for name in ("object", "digest_before", "digest_after"):
        if entry[name] is not None:
            _read_text(entry[name], f"entry {number}'s {name}")
    actor = entry["actor"]
    if not isinstance(actor, dict) or actor.keys() != {"kind", "name"} or actor["kind"] not in _ACTORS:
        raise CustodyError(f"entry {number} names no actor")
    _read_text(actor["name"], f"entry {number}'s actor")
    _require_event(number, entry["detail"], _KINDS.get(action))


def _require_event(number: int, detail: dict[str, Any], kind: str | None) -> None:
    """What the detail of a step must have that an event tells of."""
    if kind is None:
        return
    if kind in _NAMED_BY:
        _read_text(detail.get(_NAMED_BY[kind]), f"entry {number}'s {_NAMED_BY[kind]}")
    event = detail.get("event", ())
    if event is not None and not (
        isinstance(event, dict)
        and event.keys() == {"chain_id", "sequence", "hash"}
        and isinstance(event["chain_id"], str)
        and isinstance(event["hash"], str)
        and is_integer(event["sequence"], 1)
    ):
        raise CustodyError(f"entry {number} names an event in a form that this program does not know")


def _read_text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARACTERS:
        raise CustodyError(f"{name} is not a text of at most {_MAX_TEXT_CHARACTERS} characters")
    return value


def _read_time(value: object, name: str) -> int:
    try:
        return parse_time(_read_text(value, name))
    except CustodyError:
        raise
    except ValueError as error:
        raise CustodyError(f"{name}: {error}") from error
