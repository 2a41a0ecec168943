"""A clip's custody documents, read strictly and compared with the chain (`docs/spec/clip.md`, sections 4 and 6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from verifier.canonical import NotCanonicalError, parse_strict
from verifier.clip_records import ACCESSED, DISPOSED, HOLD_LIFTED, HOLD_PLACED, PRESERVED, ClipRecord, LaterEvent
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


class CustodyError(ValueError):
    """The document cannot be read as a custody document; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Custody:
    """A custody document. `entries` are its steps as parsed, each with exactly the members of the format."""

    clip_id: str
    organisation_id: str
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
        earlier = at
    return Custody(
        clip_id=_read_text(document["clip_id"], "clip_id"),
        organisation_id=_read_text(document["organisation_id"], "organisation_id"),
        as_of=_read_time(document["as_of"], "as_of"),
        entries=entries,
    )


def contradictions(custody: Custody, record: ClipRecord, chain_id: str) -> Iterator[tuple[str, str]]:
    """What the chain says otherwise: (code, sentence) for each entry that differs."""
    events = {event.sequence: (event.hash, event.kind, event.subject) for event in record.later}
    events[record.sequence] = (record.hash, PRESERVED, custody.clip_id)
    for entry in custody.entries:
        place = f"entry {entry['number']} ({entry['action']!r:.60})"
        known = record.artefacts.get(entry["object"]) if isinstance(entry["object"], str) else None
        stated = {entry["digest_before"], entry["digest_after"]} - {None}
        if known is not None and stated - {known[0]}:
            yield "custody-digest-differs", f"{place} states a digest of {entry['object']} that the chain does not know"
        event = entry["detail"].get("event")
        if event is None or event["chain_id"] != chain_id:
            continue
        subject = _subject(entry, custody.clip_id)
        if events.get(event["sequence"]) != (event["hash"], _KINDS.get(entry["action"]), subject):
            yield "custody-event-differs", f"{place} names event {event['sequence']}, which does not say that"


def omissions(custody: Custody, record: ClipRecord) -> Iterator[LaterEvent]:
    """Events of the chain about the clip that the document should tell of and does not."""
    told = {(_KINDS.get(entry["action"]), _subject(entry, custody.clip_id)) for entry in custody.entries}
    for event in record.later:
        if event.at <= custody.as_of and (event.kind, event.subject) not in told:
            yield event


def _subject(entry: dict[str, Any], clip_id: str) -> object:
    detail = entry["detail"]
    return detail.get("hold_id") or detail.get("access_id") or clip_id


def _require_entry(number: int, entry: object) -> None:
    if not isinstance(entry, dict) or entry.keys() != _ENTRY_MEMBERS:
        raise CustodyError(f"entry {number} does not have exactly the members of an entry")
    if entry["number"] != number or not isinstance(entry["detail"], dict):
        raise CustodyError(f"entry {number} has another number, or no detail")
    _read_text(entry["action"], f"entry {number}'s action")
    for name in ("object", "digest_before", "digest_after"):
        if entry[name] is not None:
            _read_text(entry[name], f"entry {number}'s {name}")
    actor = entry["actor"]
    if not isinstance(actor, dict) or actor.keys() != {"kind", "name"} or actor["kind"] not in _ACTORS:
        raise CustodyError(f"entry {number} names no actor")
    _read_text(actor["name"], f"entry {number}'s actor")
    for name in ("hold_id", "access_id"):
        if name in entry["detail"]:
            _read_text(entry["detail"][name], f"entry {number}'s {name}")
    event = entry["detail"].get("event")
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
