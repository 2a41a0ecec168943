"""How long clips are kept, and their disposal in two steps.

1. `begin_disposal` commits the decision, under the lock of the clip's row and only if no hold stands. From then on no
   hold can be placed, and the clip is never served again.
2. The bytes are deleted from the store. A worker that dies here leaves a clip that is DISPOSING: the next one deletes
   what is left, which may be nothing.
3. `finish_disposal` commits that the bytes are gone. The record and the digests stay.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from ledger.database.connections import Pool
from media.errors import MediaError, Reason
from media.records.clips import HAS_HOLD, SELECT_CLIPS, clip_in, clips_of
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
_EACH_ORGANISATION = """organisation (organisation_id) AS (
    (SELECT clip.organisation_id FROM evidence.clips AS clip ORDER BY clip.organisation_id LIMIT 1)
    UNION ALL
    SELECT (SELECT clip.organisation_id FROM evidence.clips AS clip
             WHERE clip.organisation_id > organisation.organisation_id
             ORDER BY clip.organisation_id LIMIT 1)
      FROM organisation WHERE organisation.organisation_id IS NOT NULL)"""
_ORGANISATIONS = f"""
WITH RECURSIVE {_EACH_ORGANISATION} SELECT organisation_id FROM organisation WHERE organisation_id IS NOT NULL
"""  # noqa: S608 - a text of our own
# The same of those who have recordings.
_RECORDING_ORGANISATIONS = _ORGANISATIONS.replace("evidence.clips", "evidence.recordings")
_CHANGE = """
INSERT INTO evidence.retention_changes (change_id, organisation_id, days, lock_mode, reason, changed_by, changed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_BEGIN = """
UPDATE evidence.clips
   SET state = 'DISPOSING', disposal_by = %(by)s, disposal_reason = %(reason)s, disposal_decided_at = %(decided_at)s,
       next_attempt_at = now()
 WHERE organisation_id = %(organisation_id)s AND clip_id = %(clip_id)s AND state IN ('PRESERVED', 'FAILED')
"""
# Locked first, so that the check for holds and the change see the same moment.
_LOCK = """
SELECT state FROM evidence.clips
 WHERE organisation_id = %(organisation_id)s AND clip_id = %(clip_id)s FOR NO KEY UPDATE
"""
# From one organisation to the next by index, then the oldest of each by index: nothing else of a large table is read.
_DUE = f"""{SELECT_CLIPS}
 WHERE clip.clip_id IN (
       WITH RECURSIVE {_EACH_ORGANISATION}
       SELECT due.clip_id
         FROM organisation
        CROSS JOIN LATERAL (
              SELECT coalesce((SELECT change.days FROM evidence.retention_changes AS change
                                WHERE change.organisation_id = organisation.organisation_id
                                ORDER BY change.change_number DESC LIMIT 1), {DEFAULT_RETENTION_DAYS}) AS days) AS kept
        CROSS JOIN LATERAL (
              SELECT clip.clip_id
                FROM evidence.clips AS clip
               WHERE clip.organisation_id = organisation.organisation_id AND clip.state IN ('PRESERVED', 'FAILED')
                 AND clip.ended_at <= %(now)s - {DAY_US} * kept.days AND NOT {HAS_HOLD}
               ORDER BY clip.ended_at
               LIMIT %(limit)s) AS due)
 ORDER BY clip.ended_at
 LIMIT %(limit)s
"""  # noqa: S608 - numbers and conditions of our own
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
        for query in (_ORGANISATIONS, _RECORDING_ORGANISATIONS):
            for (organisation_id,) in await (await connection.execute(query.encode())).fetchall():
                retentions.setdefault(organisation_id, Retention(organisation_id=organisation_id))
    return [retentions[organisation_id] for organisation_id in sorted(retentions)]


async def set_retention(pool: Pool, retention: Retention, notes: Sequence[Note]) -> None:
    """Change an organisation's retention, for the clips there are too. Raises `MediaError` INVALID_ARGUMENT."""
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


async def begin_disposal(pool: Pool, organisation_id: str, clip_id: UUID, disposal: Disposal) -> Clip:
    """Decide to dispose of a clip. Repeating it changes nothing. `pool` may be that of either role.

    Raises `MediaError` CLIP_NOT_FOUND, CLIP_HELD, CLIP_NOT_PRESERVED (it is still being made), CLIP_DISPOSED.
    """
    parameters = {
        "organisation_id": organisation_id,
        "clip_id": clip_id,
        "by": disposal.by,
        "reason": disposal.reason,
        "decided_at": disposal.decided_at,
    }
    about = {"clip_id": str(clip_id)}
    async with organisation_transaction(pool, organisation_id) as connection:
        await connection.execute(_LOCK, parameters)
        clip = await clip_in(connection, organisation_id, clip_id)
        if clip.state == "DISPOSED":
            raise MediaError(Reason.CLIP_DISPOSED, "the clip is disposed of already", about)
        if clip.state not in {"PRESERVED", "FAILED", "DISPOSING"}:
            raise MediaError(Reason.CLIP_NOT_PRESERVED, "the clip is still being made; dispose of it afterwards", about)
        if clip.holds:
            raise MediaError(
                Reason.CLIP_HELD,
                f"{len(clip.holds)} legal holds stand on the clip; it stays until all are lifted",
                about,
            )
        await connection.execute(_BEGIN, parameters)
        return await clip_in(connection, organisation_id, clip_id)


async def due_for_disposal(pool: Pool, *, now: int, limit: int) -> list[Clip]:
    """Clips whose retention is over and on which no hold stands. `begin_disposal` looks again."""
    async with worker_transaction(pool) as connection:
        return await clips_of(connection, _DUE, {"now": now, "limit": limit})


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
