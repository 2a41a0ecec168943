"""How long an organisation keeps its clips."""

import time
from uuid import uuid4

from media.clips.events import retention_note
from media.clips.words import check_reason
from media.records.records import Records
from media.records.values import Retention
from media.storage.values import LockMode


async def change_retention(  # noqa: PLR0913 - what a change of retention consists of
    records: Records, organisation_id: str, *, days: int, lock_mode: LockMode | None, reason: str, by: str
) -> Retention:
    """Set it, for the clips there are too; without `lock_mode` that stays. Raises MediaError (INVALID_ARGUMENT)."""
    current = await records.retention(organisation_id)
    changed = Retention(
        organisation_id=organisation_id,
        days=days,
        lock_mode=lock_mode or current.lock_mode,
        change_id=uuid4(),
        reason=check_reason(reason),
        changed_by=by,
        changed_at=time.time_ns() // 1000,
    )
    await records.set_retention(changed, [retention_note(changed)])
    return changed
