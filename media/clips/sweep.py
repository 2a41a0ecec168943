"""Sweeping: uploads that no record owns, left by workers that died, are deleted after a time of grace.

Never touched: what is indexed or kept for inspection, what a clip in the making may still index, what is under a hold,
and what lies under keys of no known clip (a database restored from a backup does not know its newest clips). The same
goes for recordings. What LiveKit uploaded for one after its end is evidence: it is put on record.
"""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice

import structlog

from media.recordings.upkeep import keep_late
from media.records.records import Records
from media.storage.errors import ObjectLockedError, StoreRefusedError
from media.storage.store import EvidenceStore
from media.storage.values import ListedObject

BATCH = 500

_log = structlog.stdlib.get_logger("evidence.sweeper")


async def sweep(records: Records, store: EvidenceStore, *, grace_seconds: float) -> int:
    """Go once through the whole store; how many objects were deleted."""
    older_than = time.time_ns() // 1000 - round(grace_seconds * 1_000_000)
    listing = store.list_objects()
    swept = 0
    while batch := await asyncio.to_thread(_next, listing, older_than):
        await keep_late(records.recording_upkeep, store, batch)
        for one in (*await records.unowned(batch), *await records.recording_upkeep.unowned(batch)):
            try:
                await asyncio.to_thread(store.delete_listed, one)
            except (ObjectLockedError, StoreRefusedError) as error:
                # About this object only, as with a bucket that locks whatever is put there: the others are swept.
                _log.warning("not_swept", key=one.key, version_id=one.version_id, problem=error.message)
                continue
            _log.info("swept", key=one.key, version_id=one.version_id)
            swept += 1
    await asyncio.to_thread(store.abort_unfinished, older_than=older_than)
    return swept


def _next(listing: Iterator[ListedObject], older_than: int) -> list[ListedObject]:
    return list(islice((one for one in listing if one.modified_at <= older_than), BATCH))
