"""Keeping recordings: locks in the store, disposal at the end of retention, and uploads that came too late.

As for clips (media/clips/hold.py, dispose.py, sweep.py), whose rules these follow.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog

from media.clips.dispose import BY_RETENTION, LOCKED_RETRY_SECONDS
from media.clips.hold import RETRY_SECONDS, protect
from media.errors import MediaError, Reason
from media.recordings.events import disposed_note, late_note, raw_id
from media.recordings.objects import read_twice
from media.recordings.plan import owned
from media.records.recording_upkeep import RecordingUpkeep
from media.records.recording_work import Raw, RecordingWork
from media.storage.errors import StoredObjectMissingError
from media.storage.store import EvidenceStore
from media.storage.values import ListedObject, StoredObject

BATCH = 50
TOO_LATE = "it came after the recording had ended"

_log = structlog.stdlib.get_logger("evidence.recordings")


async def protect_due(records: RecordingUpkeep, store: EvidenceStore) -> int:
    """Make the store's locks as they are on record; how many recordings were looked at."""
    due = await records.unprotected(BATCH)
    for protection in due:
        try:
            enforced = await protect(store, protection)
        except MediaError as error:
            again_at = datetime.now(UTC) + timedelta(seconds=RETRY_SECONDS)
            await records.postpone(protection.clip_id, error=error.message, again_at=again_at)
            _log.warning("recording_not_locked", recording_id=str(protection.clip_id), reason=str(error.reason))
        else:
            await records.protected(protection, enforced=enforced)
    return len(due)


async def dispose_due(records: RecordingUpkeep, store: EvidenceStore) -> int:
    """Dispose of recordings whose retention is over, as clips are: decided, deleted, said. How many were looked at."""
    now = time.time_ns() // 1000
    await records.begin_disposals(now=now, by=BY_RETENTION, reason="its retention is over", limit=BATCH)
    due = await records.disposing(BATCH)
    for recording, disposal in due:
        try:
            await asyncio.to_thread(_delete, store, recording)
        except MediaError as error:
            seconds = LOCKED_RETRY_SECONDS if error.reason is Reason.CLIP_LOCKED else RETRY_SECONDS
            again_at = datetime.now(UTC) + timedelta(seconds=seconds)
            await records.postpone(recording.recording_id, error=error.message, again_at=again_at)
            _log.warning("disposal_postponed", recording_id=str(recording.recording_id), reason=str(error.reason))
            continue
        disposed_at = time.time_ns() // 1000
        note = disposed_note(recording, disposal, disposed_at=disposed_at)
        await records.finish_disposal(recording, [note], disposed_at=disposed_at)
    return len(due)


async def keep_late(records: RecordingUpkeep, store: EvidenceStore, listed: Sequence[ListedObject]) -> int:
    """Put raw objects on record that came too late: hashed, kept, and told to the operations chain. How many."""
    late = await records.late(listed)
    for one, recording, stay_id in late:
        found = await read_twice(store, one, _nothing)
        raw = Raw(
            raw_id=raw_id(recording.recording_id, one.key, one.version_id),
            stay_id=stay_id,
            stored=StoredObject(key=one.key, version_id=one.version_id, size=found.size, sha256=found.sha256),
            counts=False,
            read_at=time.time_ns() // 1000,
            kept_because=TOO_LATE,
        )
        await records.keep_late(recording, raw, [late_note(recording, raw)])
        _log.warning("late_upload", recording_id=str(recording.recording_id), key=one.key)
    return len(late)


def _delete(store: EvidenceStore, recording: RecordingWork) -> None:
    for stored in owned(recording):
        with contextlib.suppress(StoredObjectMissingError):
            store.protect(stored, retain_until=None, lock_mode="NONE", held=False)
        store.delete(stored)


def _nothing(*_: object) -> None:
    return
