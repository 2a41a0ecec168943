"""Keeping recordings: disposal of what is decided, and uploads that came too late.

Locks, holds and the decision to dispose are those of clips (media/clips/hold.py, dispose.py).
"""

import asyncio
import time
from collections.abc import Sequence

import structlog

from media.clips.dispose import again_after, delete_objects
from media.errors import MediaError
from media.recordings.events import disposed_note, late_note, raw_id
from media.recordings.objects import read_twice
from media.recordings.plan import owned
from media.records.recording_upkeep import RecordingUpkeep
from media.records.recording_work import Raw
from media.storage.store import EvidenceStore
from media.storage.values import ListedObject, StoredObject

BATCH = 50
TOO_LATE = "it came after the recording had ended"

_log = structlog.stdlib.get_logger("evidence.recordings")


async def delete_disposed_recordings(records: RecordingUpkeep, store: EvidenceStore) -> int:
    """Steps 2 and 3 of a disposal; how many recordings were looked at."""
    due = await records.disposing(BATCH)
    for recording, disposal in due:
        try:
            await asyncio.to_thread(delete_objects, store, owned(recording))
        except MediaError as error:
            again_at = again_after(error)
            await records.postpone_disposal(recording.recording_id, error=error.message, again_at=again_at)
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


def _nothing(*_: object) -> None:
    return
