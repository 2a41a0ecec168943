"""Disposal: the bytes of a clip are deleted, its record and digests stay.

1. The decision is committed under the lock of the clip's record, and only while no hold stands. From then on no hold
   can be placed and no byte of the clip is handed out.
2. Every object is deleted from the store, with the locks that only its retention had put there.
3. That the bytes are gone is committed, with the event for the operations chain.

A worker that dies after step 1 leaves a clip that is DISPOSING: the next one deletes what is left, which may be
nothing.
"""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from media.clips.events import disposed_note
from media.errors import MediaError, Reason
from media.records.records import Records
from media.records.values import Clip, Disposal
from media.storage.errors import StoredObjectMissingError
from media.storage.store import EvidenceStore

BATCH = 50
# A lock that ours do not open (COMPLIANCE) ends by itself; an outage sooner.
LOCKED_RETRY_SECONDS = 6 * 3600.0
RETRY_SECONDS = 60.0
BY_RETENTION = "retention"

_log = structlog.stdlib.get_logger("evidence.disposal")


async def decide_disposal(records: Records, organisation_id: str, clip_id: UUID, *, by: str, reason: str) -> Clip:
    """Step 1. Raises MediaError: CLIP_HELD while a hold stands, and as the records do."""
    disposal = Disposal(by=by, reason=reason, decided_at=time.time_ns() // 1000)
    return await records.begin_disposal(organisation_id, clip_id, disposal)


async def dispose_expired(records: Records) -> int:
    """Step 1 for clips whose retention is over; how many there were."""
    due = await records.due_for_disposal(now=time.time_ns() // 1000, limit=BATCH)
    for clip in due:
        try:
            await decide_disposal(
                records, clip.organisation_id, clip.clip_id, by=BY_RETENTION, reason="its retention is over"
            )
        except MediaError as error:
            # A hold that was placed since the clip was listed; the records saw it in time.
            if error.reason is not Reason.CLIP_HELD:
                raise
            _log.info("disposal_stopped_by_hold", clip_id=str(clip.clip_id))
    return len(due)


async def delete_disposed(records: Records, store: EvidenceStore) -> int:
    """Steps 2 and 3; how many clips were looked at."""
    clips = await records.disposing(BATCH)
    for clip in clips:
        try:
            await asyncio.to_thread(_delete, store, clip)
        except MediaError as error:
            seconds = LOCKED_RETRY_SECONDS if error.reason is Reason.CLIP_LOCKED else RETRY_SECONDS
            again_at = datetime.now(UTC) + timedelta(seconds=seconds)
            await records.postpone_disposal(clip, error=error.message, again_at=again_at)
            _log.warning("disposal_postponed", clip_id=str(clip.clip_id), reason=str(error.reason))
            continue
        disposed_at = time.time_ns() // 1000
        note = disposed_note(clip, disposed_at=disposed_at)
        await records.finish_disposal(clip, disposed_at=disposed_at, notes=[note])
    return len(clips)


def _delete(store: EvidenceStore, clip: Clip) -> None:
    for stored in clip.stored:
        # A hold that was lifted a moment ago may still be mirrored there.
        with contextlib.suppress(StoredObjectMissingError):
            store.protect(stored, retain_until=None, lock_mode="NONE", held=False)
        store.delete(stored)
