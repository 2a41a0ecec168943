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
from media.records.values import Hold, Protection
from media.storage.errors import StoreError
from media.storage.store import EvidenceStore

BATCH = 50
RETRY_SECONDS = 60.0
# How often one clip, or recording, is applied in one pass while its record changes all the time.
MAX_ROUNDS = 4

_log = structlog.stdlib.get_logger("evidence.holds")


class Protections(Protocol):
    """What is on record about locks and holds in the store, of clips or of recordings."""

    async def unprotected(self, limit: int) -> Sequence[UUID]:
        """Those that the store is not known to guard as it should."""

    async def protection(self, subject_id: UUID, /) -> Protection | None:
        """How the store should guard one now; None while it is being made, and once its disposal was decided."""

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


async def mirror_hold(records: Records, store: EvidenceStore, hold: Hold) -> bool:
    """Have the store hold a clip, or a recording, at once; whether it does. What fails here, `mirror_due` repeats.

    A recording that is still recorded or processed is held when it ends.
    """
    kind: Protections = records if hold.clip_id is not None else records.recording_upkeep
    subject_id = hold.clip_id or hold.recording_id
    # Not noted as dealt with: `mirror_due` may be applying an older record, and die before it has looked again. Then
    # the next pass puts the hold on once more. To take one off is left to it altogether.
    try:
        newest = None if subject_id is None else await kind.protection(subject_id)
        return newest is not None and newest.held and bool(newest.objects) and await protect(store, newest)
    except MediaError:
        return False


async def mirror_due(records: Protections, store: EvidenceStore) -> int:
    """Make the store's locks and holds as they are on record; how many clips, or recordings, were looked at."""
    due = await records.unprotected(BATCH)
    for subject_id in due:
        try:
            await _guard(records, store, subject_id)
        except StoreError as error:
            again_at = datetime.now(UTC) + timedelta(seconds=RETRY_SECONDS)
            await records.postpone_protection(subject_id, error=error.message, again_at=again_at)
            _log.warning("hold_not_mirrored", subject_id=str(subject_id), reason=str(error.reason))
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


async def _guard(records: Protections, store: EvidenceStore, subject_id: UUID) -> None:
    """Have the store guard one as the newest record says.

    No lock is kept while the store is asked: a hold can be placed while the store is away. So a hold may be placed,
    put into the store and answered for while an older record is applied here, which takes it off again. Therefore the
    record is asked again afterwards, and counts as dealt with only when it is still the one that was applied.

    A worker that dies in between has noted nothing: the next pass begins this one anew. So it does when the record
    changed in every round.
    """
    applied, enforced = None, False
    for _ in range(MAX_ROUNDS):
        newest = await records.protection(subject_id)
        if newest is None:  # what is being disposed of is left to the disposal
            return
        if newest == applied:
            await records.protected(newest, enforced=enforced)
            return
        enforced = await protect(store, newest)
        applied = newest
