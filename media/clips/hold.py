"""Legal holds on clips and recordings: on record first, which is what disposal asks; then mirrored into the store.

The record decides. The mirror keeps out whoever would delete objects behind the records' back; until it is there, or
where a store knows no such thing, only that protection is missing.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
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


class Protections(Protocol):
    """What is on record about locks and holds in the store, of clips or of recordings."""

    async def unprotected(self, limit: int) -> Sequence[Protection]:
        """Those that the store is not known to guard as it should."""

    async def protected(self, protection: Protection, *, enforced: bool) -> None:
        """The store guards one as it should, or everything was tried."""

    async def postpone_protection(self, subject_id: UUID, /, *, error: str, again_at: datetime) -> None:
        """The store did not answer; try again then."""


async def place_hold(  # noqa: PLR0913 - what a hold consists of
    records: Records,
    organisation_id: str,
    *,
    clip_id: UUID | None = None,
    recording_id: UUID | None = None,
    by: str,
    reason: str,
    idempotency_key: str,
) -> Hold:
    """Place a hold; from this commit on the clip, or the recording, is not disposed of. Raises as the records do."""
    hold = Hold(
        hold_id=uuid4(),
        clip_id=clip_id,
        recording_id=recording_id,
        reason=reason,
        placed_by=by,
        placed_at=time.time_ns() // 1000,
    )
    placed, _ = await records.place_hold(
        organisation_id, hold, idempotency_key=idempotency_key, notes=[hold_placed_note(hold)]
    )
    return placed


async def lift_hold(records: Records, organisation_id: str, hold_id: UUID, *, by: str, reason: str) -> Hold:
    """Lift one hold; others on the same thing stand. Raises MediaError as the records do."""
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
    """Have the store hold a clip at once; whether it does. What fails here, `mirror_due` repeats."""
    if not clip.stored or not clip.holds:
        return False
    retention = await records.retention(clip.organisation_id)
    protection = Protection(
        subject_id=clip.clip_id,
        organisation_id=clip.organisation_id,
        number=0,
        objects=clip.stored,
        retain_until=clip.retain_until or 0,
        lock_mode=retention.lock_mode,
        held=True,
    )
    return await _mirror(store, protection)


async def mirror_recording_hold(records: Records, store: EvidenceStore, hold: Hold) -> bool:
    """The same of a recording that has ended. What is still recorded or processed is held when it ends."""
    protection = None if hold.recording_id is None else await records.recording_upkeep.protection(hold.recording_id)
    return protection is not None and bool(protection.objects) and await _mirror(store, protection)


async def mirror_due(records: Protections, store: EvidenceStore) -> int:
    """Make the store's locks and holds as they are on record; how many clips, or recordings, were looked at."""
    due = await records.unprotected(BATCH)
    for protection in due:
        try:
            enforced = await protect(store, protection)
        except MediaError as error:
            again_at = datetime.now(UTC) + timedelta(seconds=RETRY_SECONDS)
            await records.postpone_protection(protection.subject_id, error=error.message, again_at=again_at)
            _log.warning("hold_not_mirrored", subject_id=str(protection.subject_id), reason=str(error.reason))
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


async def _mirror(store: EvidenceStore, protection: Protection) -> bool:
    # A hold that was lifted since is left to `mirror_due`: to take one off, the newest record must be asked.
    try:
        return protection.held and await protect(store, protection)
    except MediaError:
        return False
