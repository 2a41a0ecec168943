"""The chain of custody of one clip: who or what did what to it, when, and the digest before and after.

The stored custody.json ends with the preservation, since nothing stored may change. What happens later is on record,
and on the operations chain; `live_custody` puts both together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal
from uuid import UUID

from media.clips.events import ACCESSED, DISPOSED, HOLD_LIFTED, HOLD_PLACED, PRESERVED, time_text
from media.records.recording_values import RecordingAccess
from media.records.values import OPERATIONS_CHAIN_ID, Access, Clip, Disposal, Hold, NoteState

FORMAT = "indelible-clip-custody/1"
CUSTODY_NAME = "custody.json"

EventOf = Callable[[str, UUID], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One step. `actor_kind` says whether `actor` is a person (a token's subject) or software with its version."""

    at: int
    actor: str
    actor_kind: Literal["person", "software"]
    action: str
    object: str | None = None
    digest_before: str | None = None
    digest_after: str | None = None
    detail: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The entry as documents show it, without its number."""
        return {
            "at": time_text(self.at),
            "actor": {"kind": self.actor_kind, "name": self.actor},
            "action": self.action,
            "object": self.object,
            "digest_before": self.digest_before,
            "digest_after": self.digest_after,
            "detail": dict(self.detail or {}),
        }


def software(part: str) -> str:
    """How our own software is named as an actor."""
    return f"indelible {part} {version('indelible')}"


def custody_document(clip: Clip, entries: Sequence[Mapping[str, Any]], *, as_of: int) -> dict[str, Any]:
    """custody.json: `entries` as `Entry.document` gives them, numbered in their order."""
    about = {
        "format": FORMAT,
        "clip_id": str(clip.clip_id),
        "organisation_id": clip.organisation_id,
        "source": clip.source_id,
        "camera": clip.camera_id,
        "incident": clip.incident_id,
    }
    return about | in_order(entries, as_of=as_of)


def in_order(entries: Sequence[Mapping[str, Any]], *, as_of: int) -> dict[str, Any]:
    """`entries`, numbered, and `as_of`, as every custody document ends."""
    # Entries stand in the order in which they became known. Where one states an earlier time than the one before it
    # (a hold that was placed while the clip was still being made, or machines whose clocks disagree), it says so.
    ordered, latest = [], ""
    for number, entry in enumerate(entries, start=1):
        stated, latest = entry["at"], max(latest, entry["at"])
        detail = entry["detail"] if stated == latest else {**entry["detail"], "stated_at": stated}
        ordered.append({"number": number, **entry, "at": latest, "detail": detail})
    return {"as_of": max(latest, time_text(as_of)), "entries": ordered}


def live_custody(
    clip: Clip, holds: Sequence[Hold], accesses: Sequence[Access], notes: Sequence[NoteState], *, as_of: int
) -> dict[str, Any]:
    """The custody document up to now: what is stored, and everything since, each with its event once that is known."""
    event = events_of(note for note in notes if note.chain_id == OPERATIONS_CHAIN_ID)
    later = [*_ending(clip, event), *hold_entries(holds, event), *_accesses(clip, accesses, event)]
    # Placing and lifting may fall into the same microsecond: the order above then decides.
    later.sort(key=lambda entry: entry.at)
    begun: list[Mapping[str, Any]] = list((clip.facts or {}).get("custody", ()))
    return custody_document(clip, [*begun, *(entry.document() for entry in later)], as_of=as_of)


def events_of(notes: Iterable[NoteState]) -> EventOf:
    """What gives, for a kind and what it is about, the pointer to its event: null while the ledger was not told."""
    # Of two chains that were told the same, the later one's: that is the operations chain.
    events = {(note.kind, note.subject_id): note for note in notes if note.sequence is not None}

    def event(kind: str, subject: UUID) -> dict[str, Any]:
        note = events.get((kind, subject))
        if note is None:
            return {"event": None}
        return {"event": {"chain_id": note.chain_id, "sequence": note.sequence, "hash": note.event_hash}}

    return event


def _ending(clip: Clip, event: EventOf) -> list[Entry]:
    entries = []
    if clip.state in {"PRESERVED", "DISPOSING", "DISPOSED"} and clip.ended_at is not None and clip.facts is not None:
        entries += [
            Entry(
                at=clip.ended_at,
                actor=software("evidence worker"),
                actor_kind="software",
                action="stored and read back",
                object=artefact.name,
                digest_before=artefact.stored.sha256,
                digest_after=artefact.stored.sha256,
            )
            # All the others tell it in the stored document, which cannot tell it of itself.
            for artefact in clip.artefacts
            if artefact.role == "custody"
        ]
        entries.append(
            Entry(
                at=clip.ended_at,
                actor=software("evidence worker"),
                actor_kind="software",
                action="preserved",
                detail=event(PRESERVED, clip.clip_id),
            )
        )
    digests = {artefact.name: artefact.stored.sha256 for artefact in clip.artefacts}
    gone = event(DISPOSED, clip.clip_id)
    return entries + disposal_entries(clip.disposal, clip.disposed_at, digests.items(), gone)


def disposal_entries(
    disposal: Disposal | None, disposed_at: int | None, files: Iterable[tuple[str, str]], event: Mapping[str, Any]
) -> list[Entry]:
    """The decision to dispose of something, and the deletion of each of its files: their names and digests."""
    entries = []
    if disposal is not None:
        entries.append(
            Entry(
                at=disposal.decided_at,
                actor=disposal.by,
                actor_kind="person",
                action="disposal decided",
                detail={"reason": disposal.reason},
            )
        )
    if disposed_at is not None:
        entries += [
            Entry(
                at=disposed_at,
                actor=software("evidence worker"),
                actor_kind="software",
                action="deleted",
                object=name,
                digest_before=digest,
                detail=event,
            )
            for name, digest in files
        ]
    return entries


def hold_entries(holds: Sequence[Hold], event: EventOf) -> list[Entry]:
    """Every hold there ever was, and its lift."""
    entries = []
    for hold in holds:
        about = {"hold_id": str(hold.hold_id)}
        entries.append(
            Entry(
                at=hold.placed_at,
                actor=hold.placed_by,
                actor_kind="person",
                action="hold placed",
                detail={**about, "reason": hold.reason, **event(HOLD_PLACED, hold.hold_id)},
            )
        )
        if hold.lifted_at is not None:
            entries.append(
                Entry(
                    at=hold.lifted_at,
                    actor=hold.lifted_by or "",
                    actor_kind="person",
                    action="hold lifted",
                    detail={**about, "reason": hold.lift_reason, **event(HOLD_LIFTED, hold.hold_id)},
                )
            )
    return entries


def _accesses(clip: Clip, accesses: Sequence[Access], event: EventOf) -> list[Entry]:
    digests = {artefact.name: artefact.stored.sha256 for artefact in clip.artefacts}
    return [access_entry(access, access.artefact, digests, event(ACCESSED, access.access_id)) for access in accesses]


def access_entry(
    access: Access | RecordingAccess, name: str | None, digests: Mapping[str, str], event: Mapping[str, Any]
) -> Entry:
    """Somebody was given a file, or, where `name` is None, all of them."""
    actions = {"link": "link issued", "download": "downloaded", "export": "exported", "verify": "verified"}
    digest = digests.get(name) if name else None
    return Entry(
        at=access.at,
        actor=access.who,
        actor_kind="person",
        action=actions[access.kind],
        object=name,
        # Reading changes nothing: what is read back otherwise is a finding of the verification.
        digest_before=digest,
        digest_after=digest,
        detail={"access_id": str(access.access_id), **access.detail, **event},
    )
