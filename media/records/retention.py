"""How long clips and recordings are kept, and their disposal in two steps.

1. `begin_disposal` commits the decision, under the lock of the row and only if no hold stands. From then on no hold can
   be placed, and nothing of it is served again.
2. The bytes are deleted from the store. A worker that dies here leaves a row that is DISPOSING: the next one deletes
   what is left, which may be nothing.
3. `finish_disposal` commits that the bytes are gone. The record and the digests stay.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from ledger.database.connections import Connection, Pool
from media.errors import MediaError, Reason
from media.records.clips import SELECT_CLIPS, clips_of
from media.records.kept import CLIP, RECORDING, Kept, lock, standing_holds
from media.records.outbox import keep_notes
from media.records.transactions import organisation_transaction, short, worker_transaction
from media.records.values import DAY_US, DEFAULT_RETENTION_DAYS, Clip, Disposal, Note, Retention

_CURRENT = """
SELECT organisation_id, days, lock_mode, change_id, reason, changed_by, changed_at
  FROM evidence.retention_changes
 WHERE organisation_id = %s
 ORDER BY change_number DESC
 LIMIT 1
"""
_ALL_CURRENT = """
SELECT DISTINCT ON (organisation_id) organisation_id, days, lock_mode, change_id, reason, changed_by, changed_at
  FROM evidence.retention_changes
 ORDER BY organisation_id, change_number DESC
"""
_CHANGE = """
INSERT INTO evidence.retention_changes (change_id, organisation_id, days, lock_mode, reason, changed_by, changed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_IS_SETTLING = "SELECT EXISTS (SELECT FROM evidence.recording_jobs WHERE recording_id = %s AND state = 'OPEN')"
_DISPOSING = (
    SELECT_CLIPS
    + " WHERE clip.state = 'DISPOSING' AND clip.next_attempt_at <= now() ORDER BY clip.next_attempt_at LIMIT %(limit)s"
)
_FINISH = "UPDATE evidence.clips SET state = 'DISPOSED', disposed_at = %s WHERE clip_id = %s AND state = 'DISPOSING'"
_POSTPONE = """
UPDATE evidence.clips SET last_error = %s, next_attempt_at = %s WHERE clip_id = %s AND state = 'DISPOSING'
"""


async def get_retention(pool: Pool, organisation_id: str) -> Retention:
    """An organisation's retention, or the default."""
    async with organisation_transaction(pool, organisation_id) as connection:
        cursor = connection.cursor(row_factory=class_row(Retention))
        await cursor.execute(_CURRENT, (organisation_id,))
        return await cursor.fetchone() or Retention(organisation_id=organisation_id)


async def all_retentions(pool: Pool) -> list[Retention]:
    """The retention of every organisation that has clips or recordings, or has set one: for the lifecycle rules."""
    async with worker_transaction(pool) as connection:
        cursor = connection.cursor(row_factory=class_row(Retention))
        await cursor.execute(_ALL_CURRENT)
        retentions = {retention.organisation_id: retention for retention in await cursor.fetchall()}
        for kept in (CLIP, RECORDING):
            query = f"WITH RECURSIVE {_organisations(kept)} SELECT organisation_id FROM organisation"  # noqa: S608 - ours
            for (organisation_id,) in await (await connection.execute(query.encode())).fetchall():
                if organisation_id is None:  # behind the last one
                    continue
                retentions.setdefault(organisation_id, Retention(organisation_id=organisation_id))
    return [retentions[organisation_id] for organisation_id in sorted(retentions)]


async def set_retention(pool: Pool, retention: Retention, notes: Sequence[Note]) -> None:
    """Change an organisation's retention, for what there is, too. Raises `MediaError` INVALID_ARGUMENT."""
    async with organisation_transaction(pool, retention.organisation_id) as connection:
        try:
            await connection.execute(
                _CHANGE,
                (
                    *(retention.change_id, retention.organisation_id, retention.days, retention.lock_mode),
                    *(retention.reason, retention.changed_by, retention.changed_at),
                ),
            )
        except psycopg.errors.CheckViolation as error:
            raise MediaError(
                Reason.INVALID_ARGUMENT,
                "a retention has 1 to 36,500 days, a lock mode, a reason of 1 to 1,000 characters and a user",
                {"field": str(error.diag.constraint_name)},
            ) from error
        await keep_notes(connection, retention.organisation_id, None, notes)


async def begin_disposal(pool: Pool, kept: Kept, organisation_id: str, subject_id: UUID, disposal: Disposal) -> None:
    """Decide to dispose of a clip or a recording. Repeating it changes nothing. `pool` may be that of either role.

    Raises `MediaError` CLIP_NOT_FOUND, CLIP_HELD, CLIP_NOT_PRESERVED (it is still being made), CLIP_DISPOSED, or
    RECORDING_NOT_FOUND, RECORDING_HELD, RECORDING_NOT_COMPLETED, RECORDING_DISPOSED.
    """
    async with organisation_transaction(pool, organisation_id) as connection:
        state = await lock(connection, kept, organisation_id, subject_id)
        if state is None:
            raise kept.refusal(kept.not_found, f"there is no {kept.name} {subject_id} here", subject_id)
        if state == "DISPOSED":
            raise kept.refusal(kept.disposed, f"the {kept.name} is disposed of already", subject_id)
        if state == "DISPOSING":
            return
        # Raw objects that are being dropped, or not, come first.
        if state not in kept.ended or (kept is RECORDING and await _is_settling(connection, subject_id)):
            raise kept.refusal(
                kept.not_ended, f"the {kept.name} is still {kept.still}; dispose of it afterwards", subject_id
            )
        if count := await standing_holds(connection, kept, subject_id):
            raise kept.refusal(
                kept.held,
                f"{count} legal holds stand on the {kept.name}; it stays until all are lifted",
                subject_id,
            )
        about = (disposal.by, disposal.reason, disposal.decided_at, subject_id)
        await connection.execute(_begin(kept).encode(), about)


async def due_for_disposal(pool: Pool, kept: Kept, *, now: int, limit: int) -> list[tuple[str, UUID]]:
    """Organisation and id of what is past its retention and under no hold. `begin_disposal` looks again."""
    async with worker_transaction(pool) as connection:
        return await (await connection.execute(_due(kept).encode(), {"now": now, "limit": limit})).fetchall()


async def disposing(pool: Pool, limit: int) -> list[Clip]:
    """Clips whose disposal was decided and is not finished."""
    async with worker_transaction(pool) as connection:
        return await clips_of(connection, _DISPOSING, {"limit": limit})


async def finish_disposal(pool: Pool, clip: Clip, *, disposed_at: int, notes: Sequence[Note]) -> bool:
    """Say that a clip's bytes are gone. False if somebody else has said so: then nothing was written."""
    async with worker_transaction(pool) as connection:
        finished = await connection.execute(_FINISH, (disposed_at, clip.clip_id))
        if finished.rowcount == 0:
            return False
        await keep_notes(connection, clip.organisation_id, clip.clip_id, notes)
    return True


async def postpone_disposal(pool: Pool, clip: Clip, *, error: str, again_at: datetime) -> None:
    """The store did not delete the bytes, for instance because a lock has not run out; try again then."""
    async with worker_transaction(pool) as connection:
        await connection.execute(_POSTPONE, (short(error), again_at, clip.clip_id))


async def _is_settling(connection: Connection, recording_id: UUID) -> bool:
    ((is_open,),) = await (await connection.execute(_IS_SETTLING, (recording_id,))).fetchall()
    return bool(is_open)


def _begin(kept: Kept) -> str:
    return f"""
UPDATE evidence.{kept.name}s
   SET state = 'DISPOSING', disposal_by = %s, disposal_reason = %s, disposal_decided_at = %s, next_attempt_at = now()
 WHERE {kept.column} = %s
"""  # noqa: S608 - as above


def _due(kept: Kept) -> str:
    """From one organisation to the next by index, then the oldest of each by index: nothing else of it is read."""
    settled = """AND NOT EXISTS (SELECT FROM evidence.recording_jobs AS job
                                  WHERE job.recording_id = recording.recording_id AND job.state = 'OPEN')"""
    return f"""
WITH RECURSIVE {_organisations(kept)}
SELECT organisation.organisation_id, due.{kept.column}
  FROM organisation
 CROSS JOIN LATERAL (
       SELECT coalesce((SELECT change.days FROM evidence.retention_changes AS change
                         WHERE change.organisation_id = organisation.organisation_id
                         ORDER BY change.change_number DESC LIMIT 1), {DEFAULT_RETENTION_DAYS}) AS days) AS retained
 CROSS JOIN LATERAL (
       SELECT {kept.name}.{kept.column}, {kept.name}.ended_at
         FROM evidence.{kept.name}s AS {kept.name}
        WHERE {kept.name}.organisation_id = organisation.organisation_id
          AND {kept.name}.state IN {kept.ended}
          AND {kept.name}.ended_at <= %(now)s - {DAY_US} * retained.days
          AND NOT {kept.has_hold} {settled if kept is RECORDING else ""}
        ORDER BY {kept.name}.ended_at
        LIMIT %(limit)s) AS due
 ORDER BY due.ended_at
 LIMIT %(limit)s
"""  # noqa: S608 - as above


def _organisations(kept: Kept) -> str:
    return f"""organisation (organisation_id) AS (
    (SELECT one.organisation_id FROM evidence.{kept.name}s AS one ORDER BY one.organisation_id LIMIT 1)
    UNION ALL
    SELECT (SELECT one.organisation_id FROM evidence.{kept.name}s AS one
             WHERE one.organisation_id > organisation.organisation_id
             ORDER BY one.organisation_id LIMIT 1)
      FROM organisation WHERE organisation.organisation_id IS NOT NULL)"""  # noqa: S608 - as above
