"""What keeps store and records in step for recordings that have ended: locks, disposal, uploads nobody knows."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import dict_row

from ledger.database.connections import Pool
from media.records.kept import RECORDING
from media.records.outbox import keep_notes
from media.records.recording_rows import work_in
from media.records.recording_work import Raw, RecordingWork
from media.records.transactions import short, worker_transaction
from media.records.values import DAY_US, DEFAULT_LOCK_MODE, DEFAULT_RETENTION_DAYS, Disposal, Note, Protection
from media.storage.keys import prefix_of
from media.storage.values import ListedObject, StoredObject

_KEPT = f"""
SELECT coalesce(change.days, {DEFAULT_RETENTION_DAYS}) AS days,
       coalesce(change.lock_mode, '{DEFAULT_LOCK_MODE}') AS lock_mode,
       coalesce(change.change_number, 0) AS change_number
  FROM (SELECT) AS one
  LEFT JOIN LATERAL (SELECT days, lock_mode, change_number
                       FROM evidence.retention_changes
                      WHERE organisation_id = recording.organisation_id
                      ORDER BY change_number DESC
                      LIMIT 1) AS change ON true
"""  # noqa: S608 - constants of our own
_PROTECTION = f"""
SELECT recording.organisation_id, recording.ended_at, recording.protection_wanted,
       kept.days, kept.lock_mode, kept.change_number, {RECORDING.has_hold} AS held
  FROM evidence.recordings AS recording
 CROSS JOIN LATERAL ({_KEPT}) AS kept
 WHERE recording.recording_id = %s AND recording.state IN ('COMPLETED', 'FAILED')
"""  # noqa: S608 - queries of our own
# Recordings that ended, or were held, since, and those whose locks follow an older retention: as for clips (upkeep.py).
_UNPROTECTED = """
SELECT recording.recording_id FROM evidence.recordings AS recording
 WHERE recording.next_attempt_at <= now()
   AND recording.recording_id IN (
       SELECT due.recording_id FROM evidence.recordings AS due
        WHERE due.protection_done < due.protection_wanted AND due.state IN ('COMPLETED', 'FAILED')
       UNION
       SELECT due.recording_id
         FROM (SELECT DISTINCT ON (organisation_id) organisation_id, change_number
                 FROM evidence.retention_changes
                ORDER BY organisation_id, change_number DESC) AS newest
         JOIN evidence.recordings AS due
           ON due.organisation_id = newest.organisation_id AND due.protection_change < newest.change_number
        WHERE due.state IN ('COMPLETED', 'FAILED'))
 ORDER BY recording.next_attempt_at
 LIMIT %s
"""
# A raw object whose end is decided, or may yet be, is not locked: only what stays.
_OBJECTS = """
SELECT key, version_id, size, encode(sha256, 'hex') AS sha256
  FROM evidence.recording_files WHERE recording_id = %(recording_id)s
 UNION ALL
SELECT raw.key, raw.version_id, raw.size, encode(raw.sha256, 'hex')
  FROM evidence.recording_raws AS raw
  JOIN evidence.recording_raw_ends AS ending ON ending.raw_id = raw.raw_id AND ending.fate = 'KEPT'
 WHERE raw.recording_id = %(recording_id)s
 ORDER BY key, version_id
"""
_PROTECTED = """
UPDATE evidence.recordings
   SET protection_done = greatest(protection_done, %(number)s),
       protection_change = greatest(protection_change, %(change)s), protection_enforced = %(enforced)s, last_error = ''
 WHERE recording_id = %(recording_id)s AND (protection_done < %(number)s OR protection_change < %(change)s)
"""
_POSTPONE = """
UPDATE evidence.recordings SET last_error = %s, next_attempt_at = %s WHERE recording_id = %s AND state = ANY (%s)
"""

_DISPOSING = """
SELECT recording_id, disposal_by, disposal_reason, disposal_decided_at
  FROM evidence.recordings
 WHERE state = 'DISPOSING' AND next_attempt_at <= now()
 ORDER BY next_attempt_at
 LIMIT %s
"""
_FINISH_DISPOSAL = """
UPDATE evidence.recordings SET state = 'DISPOSED', disposed_at = %s WHERE recording_id = %s AND state = 'DISPOSING'
"""

# Under the final keys: what no record knows, once the recording has ended. One under a hold owns whatever is there.
_SWEEPABLE = f"""
SELECT listed.number
  FROM unnest(%(numbers)s::int[], %(prefixes)s::text[], %(keys)s::text[], %(versions)s::text[])
       AS listed (number, prefix, key, version_id)
  JOIN evidence.recordings AS recording ON recording.key_prefix = listed.prefix
 WHERE recording.state IN ('COMPLETED', 'FAILED', 'DISPOSED')
   AND NOT {RECORDING.has_hold}
   AND (recording.state = 'DISPOSED'
        OR NOT EXISTS (SELECT FROM evidence.recording_files AS file
                        WHERE file.key = listed.key AND file.version_id IS NOT DISTINCT FROM listed.version_id))
"""  # noqa: S608 - a condition of our own
# Under the raw keys: what came after its egress was acquired. It is evidence, and never swept.
_LATE = """
SELECT listed.number, stay.recording_id, stay.stay_id
  FROM unnest(%(numbers)s::int[], %(keys)s::text[], %(versions)s::text[]) AS listed (number, key, version_id)
  JOIN evidence.recording_stays AS stay ON stay.raw_key = listed.key
  JOIN evidence.recordings AS recording ON recording.recording_id = stay.recording_id
 WHERE recording.state IN ('COMPLETED', 'FAILED')
   AND NOT EXISTS (SELECT FROM evidence.recording_raws AS raw
                    WHERE raw.stay_id = stay.stay_id AND raw.key = listed.key
                      AND raw.version_id IS NOT DISTINCT FROM listed.version_id)
"""
_LATE_RAW = """
INSERT INTO evidence.recording_raws (raw_id, stay_id, recording_id, organisation_id, key, version_id, size, sha256,
                                     counts, read_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, false, %s)
ON CONFLICT DO NOTHING
"""
_LATE_END = """
INSERT INTO evidence.recording_raw_ends (raw_id, recording_id, organisation_id, fate, why, decided_at)
VALUES (%s, %s, %s, 'KEPT', %s, %s)
"""
PROTECT_AGAIN = """
UPDATE evidence.recordings SET protection_wanted = protection_wanted + 1
 WHERE recording_id = %s AND state IN ('COMPLETED', 'FAILED')
"""


class RecordingUpkeep:
    """What workers do for recordings that have ended. Raises `MediaError` OVERLOADED or DATABASE_UNAVAILABLE."""

    def __init__(self, pool: Pool) -> None:
        """`pool`: of the worker's role."""
        self._pool = pool

    async def unprotected(self, limit: int) -> list[UUID]:
        """Recordings whose locks and holds in the store are not known to be as on record."""
        async with worker_transaction(self._pool) as connection:
            rows = await (await connection.execute(_UNPROTECTED, (limit,))).fetchall()
            return [recording_id for (recording_id,) in rows]

    async def protection(self, recording_id: UUID) -> Protection | None:
        """How the store should guard a recording now; None until it has ended, and once its disposal was decided."""
        async with worker_transaction(self._pool) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            row = await (await cursor.execute(_PROTECTION.encode(), (recording_id,))).fetchone()
            if row is None:
                return None
            await cursor.execute(_OBJECTS, {"recording_id": recording_id})
            return Protection(
                subject_id=recording_id,
                organisation_id=row["organisation_id"],
                number=row["protection_wanted"],
                objects=tuple(StoredObject(**one) for one in await cursor.fetchall()),
                retain_until=row["ended_at"] + row["days"] * DAY_US,
                lock_mode=row["lock_mode"],
                held=row["held"],
                retention_number=row["change_number"],
            )

    async def protected(self, protection: Protection, *, enforced: bool) -> None:
        """The store guards a recording as `protection` says, or, where it cannot, everything was tried."""
        async with worker_transaction(self._pool) as connection:
            await connection.execute(
                _PROTECTED,
                {
                    "recording_id": protection.subject_id,
                    "number": protection.number,
                    "change": protection.retention_number,
                    "enforced": enforced,
                },
            )

    async def postpone_protection(self, recording_id: UUID, *, error: str, again_at: datetime) -> None:
        """The store did not answer; try again then."""
        await self._postpone(recording_id, error, again_at, RECORDING.ended)

    async def postpone_disposal(self, recording_id: UUID, *, error: str, again_at: datetime) -> None:
        """The store did not delete the bytes, for instance because a lock has not run out; try again then."""
        await self._postpone(recording_id, error, again_at, ("DISPOSING",))

    async def _postpone(self, recording_id: UUID, error: str, again_at: datetime, states: tuple[str, ...]) -> None:
        async with worker_transaction(self._pool) as connection:
            await connection.execute(_POSTPONE, (short(error), again_at, recording_id, list(states)))

    async def disposing(self, limit: int) -> list[tuple[RecordingWork, Disposal]]:
        """Recordings whose disposal was decided and is not finished."""
        async with worker_transaction(self._pool) as connection:
            rows = await (await connection.execute(_DISPOSING, (limit,))).fetchall()
            return [
                (await work_in(connection, recording_id), Disposal(by=by, reason=reason, decided_at=decided_at))
                for recording_id, by, reason, decided_at in rows
            ]

    async def finish_disposal(self, recording: RecordingWork, notes: Sequence[Note], *, disposed_at: int) -> bool:
        """Say that a recording's bytes are gone. False if somebody else has said so: then nothing was written."""
        async with worker_transaction(self._pool) as connection:
            finished = await connection.execute(_FINISH_DISPOSAL, (disposed_at, recording.recording_id))
            if finished.rowcount == 0:
                return False
            await keep_notes(connection, recording.organisation_id, None, notes, recording_id=recording.recording_id)
        return True

    async def unowned(self, listed: Sequence[ListedObject]) -> list[ListedObject]:
        """Which of the listed objects may be swept: what an ended recording has under its keys, but not on record."""
        parameters = {
            "numbers": list(range(len(listed))),
            "prefixes": [prefix_of(one.key) for one in listed],
            "keys": [one.key for one in listed],
            "versions": [one.version_id for one in listed],
        }
        async with worker_transaction(self._pool) as connection:
            rows = await (await connection.execute(_SWEEPABLE, parameters)).fetchall()
        return [listed[number] for number in sorted(number for (number,) in rows)]

    async def late(self, listed: Sequence[ListedObject]) -> list[tuple[ListedObject, RecordingWork, UUID]]:
        """Which of the listed objects are raw ones that came too late, with their recording and stay."""
        there = [one for one in listed if not one.is_delete_marker]
        parameters = {
            "numbers": list(range(len(there))),
            "keys": [one.key for one in there],
            "versions": [one.version_id for one in there],
        }
        async with worker_transaction(self._pool) as connection:
            rows = await (await connection.execute(_LATE, parameters)).fetchall()
            return [
                (there[number], await work_in(connection, recording_id), stay_id)
                for number, recording_id, stay_id in rows
            ]

    async def keep_late(self, recording: RecordingWork, raw: Raw, notes: Sequence[Note]) -> None:
        """Put an object that came too late on record, as one that is kept. Doing it twice is harmless."""
        about, stored = (recording.recording_id, recording.organisation_id), raw.stored
        async with worker_transaction(self._pool) as connection:
            added = await connection.execute(
                _LATE_RAW,
                (
                    *(raw.raw_id, raw.stay_id, *about, stored.key, stored.version_id, stored.size),
                    *(bytes.fromhex(stored.sha256), raw.read_at),
                ),
            )
            if added.rowcount:
                await connection.execute(_LATE_END, (raw.raw_id, *about, raw.kept_because, raw.read_at))
                await connection.execute(PROTECT_AGAIN, (recording.recording_id,))
                await keep_notes(
                    connection, recording.organisation_id, None, notes, recording_id=recording.recording_id
                )
