"""Legal holds: on the clip's record first, which is what disposal asks; then mirrored into the store where it can.

The record decides. The mirror keeps out whoever would delete objects behind the records' back; until it is there, or
where a store knows no such thing, only that protection is missing.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog

from media.clips.events import hold_lifted_note, hold_placed_note
from media.errors import MediaError
from media.records.records import Records
from media.records.values import Clip, Hold, Protection
from media.storage.store import EvidenceStore

BATCH = 50
RETRY_SECONDS = 60.0

_log = structlog.stdlib.get_logger("evidence.holds")


async def place_hold(  # noqa: PLR0913 - what a hold consists of
    records: Records, organisation_id: str, clip_id: UUID, *, by: str, reason: str, idempotency_key: str
) -> Hold:
    """Place a hold; from this commit on the clip is not disposed of. Raises MediaError as the records do."""
    hold = Hold(hold_id=uuid4(), clip_id=clip_id, reason=reason, placed_by=by, placed_at=time.time_ns() // 1000)
    placed, _ = await records.place_hold(
        organisation_id, hold, idempotency_key=idempotency_key, notes=[hold_placed_note(hold)]
    )
    return placed


async def lift_hold(records: Records, organisation_id: str, hold_id: UUID, *, by: str, reason: str) -> Hold:
    """Lift one hold; others on the clip stand. Raises MediaError as the records do."""
    at = time.time_ns() // 1000
    hold = await records.get_hold(organisation_id, hold_id)
    lifted, _ = await records.lift_hold(
        organisation_id,
        hold_id,
        by=by,
        reason=reason,
        at=at,
        notes=[hold_lifted_note(hold, by=by, reason=reason, at=at)],
    )
    return lifted


async def mirror_hold(records: Records, store: EvidenceStore, clip: Clip) -> bool:
    """Have the store hold a clip at once; whether it does. What fails here, `mirror_due` repeats.

    A hold that was lifted since is left to `mirror_due` as well: to take one off, the newest record must be asked.
    """
    if not clip.stored or not clip.holds:
        return False
    retention = await records.retention(clip.organisation_id)
    protection = Protection(
        clip_id=clip.clip_id,
        organisation_id=clip.organisation_id,
        number=0,
        objects=clip.stored,
        retain_until=clip.retain_until or 0,
        lock_mode=retention.lock_mode,
        held=True,
    )
    try:
        return await protect(store, protection)
    except MediaError:
        return False


async def mirror_due(records: Records, store: EvidenceStore) -> int:
    """Make the store's locks and holds as they are on record; how many clips were looked at."""
    due = await records.unprotected(BATCH)
    for protection in due:
        try:
            enforced = await protect(store, protection)
        except MediaError as error:
            again_at = datetime.now(UTC) + timedelta(seconds=RETRY_SECONDS)
            await records.postpone_protection(protection.clip_id, error=error.message, again_at=again_at)
            _log.warning("hold_not_mirrored", clip_id=str(protection.clip_id), reason=str(error.reason))
        else:
            await records.protected(protection, enforced=enforced)
    return len(due)


async def protect(store: EvidenceStore, protection: Protection) -> bool:
    """Whether every object is guarded as it should be."""
    enforced = [
        await asyncio.to_thread(
            store.protect,
            stored,
            retain_until=protection.retain_until,
            lock_mode=protection.lock_mode,
            held=protection.held,
        )
        for stored in protection.objects
    ]
    return all(enforced)
