"""Reading a recording: every address for its bytes, every export and every check is on record before it is given."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from media.clips.access import StoredCheck, check_stored, findings
from media.errors import MediaError, Reason
from media.recordings.plan import named_raws
from media.recordings.session_events import accessed_note
from media.records.recording_accounts import recording_disposed
from media.records.recording_values import Recording, RecordingAccess
from media.records.recording_work import RecordingFile
from media.records.records import Records
from media.records.values import AccessKind
from media.storage.store import EvidenceStore


async def record_access(  # noqa: PLR0913 - what the record of an access consists of
    records: Records,
    recording: Recording,
    kind: AccessKind,
    *,
    who: str,
    detail: Mapping[str, Any],
    file: str | None = None,
) -> RecordingAccess:
    """Put an access on record, and on its way to the operations chain."""
    access = RecordingAccess(
        access_id=uuid4(),
        recording_id=recording.recording_id,
        kind=kind,
        who=who,
        at=time.time_ns() // 1000,
        file=file,
        detail=detail,
    )
    await records.recording_accounts.add_access(recording.organisation_id, access, accessed_note(recording, access))
    return access


async def verify_stored_recording(
    records: Records, store: EvidenceStore, recording: Recording, *, who: str
) -> tuple[list[StoredCheck], int]:
    """Read every file back now, and every raw object that is kept; what was found, and when.

    Raises MediaError: CLIP_ARCHIVED, STORE_UNAVAILABLE, RECORDING_NOT_COMPLETED before the recording has ended,
    RECORDING_DISPOSED.
    """
    require_bytes(recording, ("COMPLETED", "FAILED"))
    work = await records.recording_accounts.work(recording.organisation_id, recording.recording_id)
    # One that may yet be dropped could go while it is read.
    raws = [(name, raw.stored) for name, raw in named_raws(work) if raw.kept_because is not None]
    files = [(file.name, file.stored) for file in work.files]
    checks = [await check_stored(store, name, stored) for name, stored in (*files, *raws)]
    access = await record_access(records, recording, "verify", who=who, detail=findings(checks))
    return checks, access.at


def require_bytes(recording: Recording, states: Sequence[str] = ("COMPLETED",)) -> None:
    """Raises MediaError (RECORDING_NOT_COMPLETED, RECORDING_DISPOSED) unless the recording is in one of the states."""
    if recording.state in {"DISPOSING", "DISPOSED"}:
        raise recording_disposed(recording.recording_id)
    if recording.state not in states:
        raise MediaError(
            Reason.RECORDING_NOT_COMPLETED,
            f"the recording is {recording.state.lower()}, not completed",
            {"recording_id": str(recording.recording_id), "state": recording.state},
        )


async def require_readable(store: EvidenceStore, files: Sequence[RecordingFile]) -> None:
    """Raises MediaError (CLIP_ARCHIVED) while a file must be restored before it can be read."""
    for file in files:
        availability = await asyncio.to_thread(store.availability, file.stored)
        if not availability.is_readable:
            raise MediaError(
                Reason.CLIP_ARCHIVED,
                f"{file.name} is archived; have the object store bring it back, and come again when it is ready",
                {"file": file.name, "state": availability.state},
            )
