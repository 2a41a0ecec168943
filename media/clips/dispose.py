"""Disposal: the bytes of a clip or a recording are deleted, its record and digests stay.

1. The decision is committed under the lock of the record, and only while no hold stands. From then on no hold can be
   placed and no byte of it is handed out.
2. Every object is deleted from the store, with the locks that only its retention had put there.
3. That the bytes are gone is committed, with the event for the operations chain.

A worker that dies after step 1 leaves a record that is DISPOSING: the next one deletes what is left, which may be
nothing. Steps 2 and 3 for recordings are in media/recordings/upkeep.py.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from media.clips.events import disposed_note
from media.errors import MediaError, Reason
from media.records.kept import Kept
from media.records.records import Records
from media.records.values import Disposal
from media.storage.errors import StoredObjectMissingError
from media.storage.locks import LegalHoldError
from media.storage.store import EvidenceStore
from media.storage.values import StoredObject

BATCH = 50
# A lock that ours do not open (COMPLIANCE) ends by itself; an outage sooner.
LOCKED_RETRY_SECONDS = 6 * 3600.0
RETRY_SECONDS = 60.0
BY_RETENTION = "retention"

_log = structlog.stdlib.get_logger("evidence.disposal")


async def decide_disposal(  # noqa: PLR0913 - who decides about what, and why
    records: Records, kept: Kept, organisation_id: str, subject_id: UUID, *, by: str, reason: str
) -> None:
    """Step 1. Raises MediaError: CLIP_HELD or RECORDING_HELD while a hold stands, and as the records do."""
    disposal = Disposal(by=by, reason=reason, decided_at=time.time_ns() // 1000)
    await records.begin_disposal(kept, organisation_id, subject_id, disposal)


async def dispose_expired(records: Records, kept: Kept, *, now: int | None = None) -> int:
    """Step 1 for what is past its retention; how many there were. `now`: microseconds since 1970."""
    due = await records.due_for_disposal(kept, now=now or time.time_ns() // 1000, limit=BATCH)
    for organisation_id, subject_id in due:
        try:
            await decide_disposal(
                records, kept, organisation_id, subject_id, by=BY_RETENTION, reason="its retention is over"
            )
        except MediaError as error:
            # A hold that was placed since it was listed; the records saw it in time.
            if error.reason is not kept.held:
                raise
            _log.info("disposal_stopped_by_hold", **{kept.column: str(subject_id)})
    return len(due)


async def delete_disposed(records: Records, store: EvidenceStore) -> int:
    """Steps 2 and 3; how many clips were looked at."""
    clips = await records.disposing(BATCH)
    for clip in clips:
        try:
            await asyncio.to_thread(delete_objects, store, clip.stored)
        except MediaError as error:
            await records.postpone_disposal(clip, error=error.message, again_at=again_after(error))
            _log.warning("disposal_postponed", clip_id=str(clip.clip_id), reason=str(error.reason))
            continue
        disposed_at = time.time_ns() // 1000
        note = disposed_note(clip, disposed_at=disposed_at)
        await records.finish_disposal(clip, disposed_at=disposed_at, notes=[note])
    return len(clips)


def delete_objects(store: EvidenceStore, objects: Iterable[StoredObject]) -> None:
    """Step 2. Raises MediaError: CLIP_LOCKED, STORE_UNAVAILABLE."""
    for stored in objects:
        # A hold that was lifted a moment ago may still be mirrored there, or be put on again by whoever mirrors it at
        # this moment: see `again_after`. A crash between the two leaves an object without a hold, still to be deleted.
        with contextlib.suppress(StoredObjectMissingError):
            store.protect(stored, retain_until=None, lock_mode="NONE", held=False)
        store.delete(stored)


def again_after(error: MediaError) -> datetime:
    """When to try again to delete what the store did not."""
    # A legal hold that is there just after it was taken off was put on by somebody who had read the record before the
    # disposal was decided. Nobody can place another hold now: in a minute all such work is over, and the next attempt
    # takes the hold off for good. At once, it might meet the same work again.
    is_locked = error.reason is Reason.CLIP_LOCKED and not isinstance(error, LegalHoldError)
    seconds = LOCKED_RETRY_SECONDS if is_locked else RETRY_SECONDS
    return datetime.now(UTC) + timedelta(seconds=seconds)
