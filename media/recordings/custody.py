"""The chain of custody of one recording, in the manner of a clip's (media/clips/custody.py, docs/spec/recording.md)."""

import time
from collections.abc import Sequence
from typing import Any

from media.clips.custody import (
    Entry,
    EventOf,
    access_entry,
    disposal_entries,
    events_of,
    hold_entries,
    in_order,
    software,
)
from media.recordings.attend import BY_SERVICE
from media.recordings.events import COMPLETED, DISPOSED, FAILED, FILE_HASHED, FILE_STORED, RAW_DROPPED, file_id
from media.recordings.plan import named_raws
from media.recordings.session_events import ACCESSED, STARTED, STOPPED
from media.records.kept import RECORDING
from media.records.recording_values import Recording, RecordingAccess
from media.records.recording_work import RecordingWork
from media.records.records import Records
from media.records.values import Hold, NoteState

FORMAT = "indelible-recording-custody/1"


async def recording_custody(records: Records, recording: Recording) -> dict[str, Any]:
    """The custody document up to now: who or what did what to a recording, each with its event once that is known."""
    organisation_id, recording_id = recording.organisation_id, recording.recording_id
    return custody_document(
        recording,
        await records.recording_accounts.work(organisation_id, recording_id),
        holds=await records.holds(RECORDING, organisation_id, recording_id),
        accesses=await records.recording_accounts.accesses(organisation_id, recording_id),
        notes=await records.recording_accounts.notes(organisation_id, recording_id),
        as_of=time.time_ns() // 1000,
    )


def custody_document(  # noqa: PLR0913 - all that is known of a recording
    recording: Recording,
    work: RecordingWork,
    *,
    holds: Sequence[Hold],
    accesses: Sequence[RecordingAccess],
    notes: Sequence[NoteState],
    as_of: int,
) -> dict[str, Any]:
    """The document, of what is on record."""
    event = events_of(notes)
    digests = {file.name: file.stored.sha256 for file in work.files}
    # What is there now, or was when it was disposed of.
    raws = [(name, raw.stored.sha256) for name, raw in named_raws(work) if raw.drop_decided_at is None]
    gone = event(DISPOSED, recording.recording_id)
    entries = [
        *_begun(recording, event),
        *_acquired(work, event),
        *_made(recording, work, event),
        *hold_entries(holds, event),
        *(access_entry(access, access.file, digests, event(ACCESSED, access.access_id)) for access in accesses),
        *disposal_entries(recording.disposal, recording.disposed_at, (*digests.items(), *raws), gone),
    ]
    # Several steps may fall into the same microsecond: the order above then decides.
    entries.sort(key=lambda entry: entry.at)
    about = {
        "format": FORMAT,
        "recording_id": str(recording.recording_id),
        "organisation_id": recording.organisation_id,
        "session_chain_id": recording.session_chain_id,
    }
    return about | in_order([entry.document() for entry in entries], as_of=as_of)


def _begun(recording: Recording, event: EventOf) -> list[Entry]:
    entries = [
        Entry(
            at=recording.started_at,
            actor=recording.requested_by,
            actor_kind="person",
            action="requested",
            detail=event(STARTED, recording.recording_id),
        )
    ]
    if recording.stopped_at is not None:
        entries.append(
            Entry(
                at=recording.stopped_at,
                actor=recording.stopped_by or "",
                actor_kind="software" if recording.stopped_by == BY_SERVICE else "person",
                action="stopped",
                detail={"reason": recording.stop_reason, **event(STOPPED, recording.recording_id)},
            )
        )
    return entries


def _acquired(work: RecordingWork, event: EventOf) -> list[Entry]:
    entries = []
    for name, raw in named_raws(work):
        digest = raw.stored.sha256
        entries.append(_by_worker(raw.read_at, "acquired", name, None, digest, event(FILE_HASHED, raw.raw_id)))
        if raw.drop_decided_at is not None:
            entries.append(
                _by_worker(raw.drop_decided_at, "dropped", name, digest, None, event(RAW_DROPPED, raw.raw_id))
            )
    return entries


def _made(recording: Recording, work: RecordingWork, event: EventOf) -> list[Entry]:
    ended_at, recording_id = recording.ended_at, recording.recording_id
    entries = [
        _by_worker(
            file.stored_at or 0,
            "stored and read back",
            file.name,
            file.stored.sha256,
            file.stored.sha256,
            event(FILE_STORED, file_id(recording_id, file.name)),
        )
        for file in work.files
    ]
    if ended_at is not None:
        has_failed = recording.failure_reason is not None
        detail = event(FAILED if has_failed else COMPLETED, recording_id)
        entries.append(_by_worker(ended_at, "failed" if has_failed else "completed", None, None, None, detail))
    return entries


def _by_worker(  # noqa: PLR0913, PLR0917 - one entry, as it is read
    at: int, action: str, name: str | None, before: str | None, after: str | None, detail: Any
) -> Entry:
    return Entry(
        at=at,
        actor=software("evidence worker"),
        actor_kind="software",
        action=action,
        object=name,
        digest_before=before,
        digest_after=after,
        detail=detail,
    )
