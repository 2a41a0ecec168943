"""What the chains are told about clips: kinds and payloads of events (docs/spec/clip.md, section 5).

Pure: records in, notes out. Times in payloads are RFC 3339, digests lower-case hex.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ledger.timestamps import moment, rfc3339
from media.records.values import Access, Artefact, Clip, Failed, Hold, Note, Preserved, Retention

REQUESTED = "clip.requested"
PRESERVED = "clip.preserved"
FAILED = "clip.failed"
ACCESSED = "clip.accessed"
DISPOSED = "clip.disposed"
HOLD_PLACED = "hold.placed"
HOLD_LIFTED = "hold.lifted"
RETENTION_CHANGED = "retention.changed"

# An event is for the chain's readers; metadata.json, whose digest it carries, lists every gap.
MAX_GAPS = 100
MAX_KEPT = 100


def requested_notes(clip: Clip) -> list[Note]:
    """A clip is asked for: for the session's chain, which then waits for it, when one was named."""
    if clip.session_chain_id is None:
        return []
    payload = {**_about(clip), "session_chain_id": clip.session_chain_id}
    return [Note(kind=REQUESTED, payload=payload, subject_id=clip.clip_id, chain_id=clip.session_chain_id)]


def preserved_notes(clip: Clip, outcome: Preserved) -> list[Note]:
    """A clip is preserved: for the operations chain, and for the session's when one was named."""
    payload = {
        **_about(clip),
        "actual_from": time_text(outcome.actual_from),
        "actual_to": time_text(outcome.actual_to),
        "gap_count": len(outcome.gaps),
        "gaps": list(outcome.gaps[:MAX_GAPS]),
        "artefacts": artefact_list(outcome.artefacts),
        "preserved_at": time_text(outcome.preserved_at),
    }
    return _on_both_chains(PRESERVED, clip, payload)


def failed_notes(clip: Clip, outcome: Failed) -> list[Note]:
    """A clip could not be preserved: for the same chains."""
    payload = {
        **_about(clip),
        "reason": outcome.reason,
        "message": outcome.message,
        "kept": [
            {
                "key": one.key,
                "version_id": one.version_id,
                "size": one.size,
                "sha256": one.expected_sha256,
                "found_sha256": one.found_sha256,
                "problem": one.problem,
            }
            for one in outcome.kept[:MAX_KEPT]
        ],
        "failed_at": time_text(outcome.failed_at),
    }
    return _on_both_chains(FAILED, clip, payload)


def accessed_note(access: Access) -> Note:
    """Somebody is given bytes of a clip."""
    payload = {
        "access_id": str(access.access_id),
        "clip_id": str(access.clip_id),
        "access": access.kind,
        "artefact": access.artefact,
        "detail": dict(access.detail),
        "who": access.who,
        "at": time_text(access.at),
    }
    return Note(kind=ACCESSED, payload=payload, subject_id=access.access_id)


def hold_placed_note(hold: Hold) -> Note:
    """A legal hold is placed on a clip or a recording."""
    payload = {
        **_of_hold(hold),
        "reason": hold.reason,
        "placed_by": hold.placed_by,
        "placed_at": time_text(hold.placed_at),
    }
    return Note(kind=HOLD_PLACED, payload=payload, subject_id=hold.hold_id)


def hold_lifted_note(hold: Hold, *, by: str, reason: str, at: int) -> Note:
    """A legal hold is lifted."""
    payload = {
        **_of_hold(hold),
        "reason": reason,
        "lifted_by": by,
        "lifted_at": time_text(at),
    }
    return Note(kind=HOLD_LIFTED, payload=payload, subject_id=hold.hold_id)


def disposed_note(clip: Clip, *, disposed_at: int) -> Note:
    """A clip's bytes are gone; its digests stay here for ever."""
    disposal = clip.disposal
    payload = {
        **_about(clip),
        "artefacts": artefact_list(clip.artefacts),
        "decided_by": disposal.by if disposal else "",
        "reason": disposal.reason if disposal else "",
        "decided_at": time_text(disposal.decided_at) if disposal else None,
        "disposed_at": time_text(disposed_at),
    }
    return Note(kind=DISPOSED, payload=payload, subject_id=clip.clip_id)


def retention_note(retention: Retention) -> Note:
    """An organisation's retention changes. Raises ValueError for the default, which is no change."""
    if retention.change_id is None or retention.changed_at is None:
        raise ValueError("the default retention is not a change")
    payload = {
        "change_id": str(retention.change_id),
        "days": retention.days,
        "lock_mode": retention.lock_mode,
        "reason": retention.reason,
        "changed_by": retention.changed_by,
        "changed_at": time_text(retention.changed_at),
    }
    return Note(kind=RETENTION_CHANGED, payload=payload, subject_id=retention.change_id)


def artefact_list(artefacts: Sequence[Artefact]) -> list[dict[str, Any]]:
    """Name, place, size and digest of each artefact."""
    return [
        {
            "name": artefact.name,
            "key": artefact.stored.key,
            "version_id": artefact.stored.version_id,
            "size": artefact.stored.size,
            "sha256": artefact.stored.sha256,
        }
        for artefact in artefacts
    ]


def time_text(microseconds: int) -> str:
    """A time as documents and events write it."""
    return rfc3339(moment(microseconds))


def _about(clip: Clip) -> dict[str, Any]:
    return {
        "clip_id": str(clip.clip_id),
        "source": clip.source_id,
        "camera": clip.camera_id,
        "incident": clip.incident_id,
        "event_at": time_text(clip.event_at),
        "asked_from": time_text(clip.asked_from),
        "asked_to": time_text(clip.asked_to),
        "requested_by": clip.requested_by,
        "requested_at": time_text(clip.requested_at),
    }


def _of_hold(hold: Hold) -> dict[str, str]:
    subject = {"clip_id": hold.clip_id, "recording_id": hold.recording_id}
    return {"hold_id": str(hold.hold_id)} | {name: str(one) for name, one in subject.items() if one is not None}


def _on_both_chains(kind: str, clip: Clip, payload: Mapping[str, Any]) -> list[Note]:
    notes = [Note(kind=kind, payload=payload, subject_id=clip.clip_id)]
    if clip.session_chain_id is not None:
        notes.append(Note(kind=kind, payload=payload, subject_id=clip.clip_id, chain_id=clip.session_chain_id))
    return notes
