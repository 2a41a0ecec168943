"""What keeps store and records in step: locks and holds to be mirrored, uploads nobody owns, turns and counts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row

from ledger.database.connections import Pool
from media.records.clips import SELECT_CLIPS, clip_of, clip_rows
from media.records.kept import CLIP
from media.records.transactions import short, worker_transaction
from media.records.values import DAY_US, Pending, Protection
from media.storage.keys import prefix_of
from media.storage.values import ListedObject

# Clips with a hold placed or lifted, or newly made; and those whose locks follow an older retention, of which there may
# be very many: they are found by index, and worked off over time.
_UNPROTECTED_IDS = """
SELECT clip.clip_id, clip.next_attempt_at
  FROM evidence.clips AS clip
 WHERE clip.protection_done < clip.protection_wanted AND clip.state IN ('PRESERVED', 'FAILED')
UNION
SELECT clip.clip_id, clip.next_attempt_at
  FROM (SELECT DISTINCT ON (organisation_id) organisation_id, change_number
          FROM evidence.retention_changes
         ORDER BY organisation_id, change_number DESC) AS newest
  JOIN evidence.clips AS clip
    ON clip.organisation_id = newest.organisation_id AND clip.protection_change < newest.change_number
 WHERE clip.state IN ('PRESERVED', 'FAILED')
"""
_UNPROTECTED = f"""
SELECT due.clip_id FROM ({_UNPROTECTED_IDS}) AS due
 WHERE due.next_attempt_at <= now() ORDER BY due.next_attempt_at LIMIT %s
"""  # noqa: S608 - a query of our own
_PROTECTION = SELECT_CLIPS + " WHERE clip.clip_id = %(clip_id)s AND clip.state IN ('PRESERVED', 'FAILED')"
_PROTECTED = """
UPDATE evidence.clips
   SET protection_done = greatest(protection_done, %(number)s),
       protection_change = greatest(protection_change, %(retention_number)s),
       protection_enforced = %(enforced)s, last_error = ''
 WHERE clip_id = %(clip_id)s AND (protection_done < %(number)s OR protection_change < %(retention_number)s)
"""
_POSTPONE = """
UPDATE evidence.clips SET last_error = %s, next_attempt_at = %s
 WHERE clip_id = %s AND state IN ('PRESERVED', 'FAILED')
"""

# A clip that is still being made owns whatever is under its prefix; so does one under a hold.
_SWEEPABLE = f"""
SELECT listed.number
  FROM unnest(%(numbers)s::int[], %(prefixes)s::text[], %(keys)s::text[], %(versions)s::text[])
       AS listed (number, prefix, key, version_id)
  JOIN evidence.clips AS clip ON clip.key_prefix = listed.prefix
 WHERE clip.state IN ('PRESERVED', 'FAILED', 'DISPOSED')
   AND NOT {CLIP.has_hold}
   AND (clip.state = 'DISPOSED'
        OR NOT EXISTS (SELECT FROM evidence.artefacts AS a
                        WHERE a.key = listed.key AND a.version_id IS NOT DISTINCT FROM listed.version_id)
       AND NOT EXISTS (SELECT FROM evidence.kept_objects AS k
                        WHERE k.key = listed.key AND k.version_id IS NOT DISTINCT FROM listed.version_id))
"""  # noqa: S608 - a condition of our own

_TAKE_TURN = """
INSERT INTO evidence.turns AS turn (name, owner, until) VALUES (%(name)s, %(owner)s, now() + %(length)s)
ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner, until = EXCLUDED.until
 WHERE turn.owner = EXCLUDED.owner OR turn.until <= now()
"""
_END_TURN = "DELETE FROM evidence.turns WHERE name = %s AND owner = %s"

_PENDING = f"""
SELECT (SELECT count(*) FROM evidence.clips
         WHERE state IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING')) AS clips,
       (SELECT min(requested_at) FROM evidence.clips
         WHERE state IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING')) AS oldest_clip_at,
       (SELECT count(*) FROM evidence.recording_jobs WHERE state = 'OPEN') AS steps,
       (SELECT count(*) FROM evidence.notes WHERE sent_at IS NULL AND refusal IS NULL) AS notes,
       (SELECT count(*) FROM evidence.clips WHERE state = 'DISPOSING') AS disposals,
       (SELECT count(*) FROM ({_UNPROTECTED_IDS}) AS due) AS unprotected
"""  # noqa: S608 - a query of our own


async def unprotected(pool: Pool, limit: int) -> list[UUID]:
    """Clips whose locks and holds in the store are not known to be as on record."""
    async with worker_transaction(pool) as connection:
        rows = await (await connection.execute(_UNPROTECTED.encode(), (limit,))).fetchall()
        return [clip_id for (clip_id,) in rows]


async def protection(pool: Pool, clip_id: UUID) -> Protection | None:
    """How the store should guard a clip now; None while it is being made, and once its disposal was decided."""
    async with worker_transaction(pool) as connection:
        rows = await clip_rows(connection, _PROTECTION, {"clip_id": clip_id})
    if not rows:
        return None
    (row,) = rows
    clip = clip_of(row)
    return Protection(
        subject_id=clip.clip_id,
        organisation_id=clip.organisation_id,
        # Of the same moment as the rest: a hold placed since raises the number, and the clip comes again.
        number=row["protection_wanted"],
        objects=clip.stored,
        retain_until=row["ended_at"] + row["retention_days"] * DAY_US,
        retention_number=row["retention_number"],
        lock_mode=row["lock_mode"],
        held=bool(clip.holds),
    )


async def protected(pool: Pool, protection: Protection, *, enforced: bool) -> None:
    """The store guards a clip as `protection` says, or, where it cannot, everything was tried that can be."""
    async with worker_transaction(pool) as connection:
        await connection.execute(
            _PROTECTED,
            {
                "clip_id": protection.subject_id,
                "number": protection.number,
                "retention_number": protection.retention_number,
                "enforced": enforced,
            },
        )


async def postpone_protection(pool: Pool, clip_id: UUID, *, error: str, again_at: datetime) -> None:
    """The store did not answer; try again then."""
    async with worker_transaction(pool) as connection:
        await connection.execute(_POSTPONE, (short(error), again_at, clip_id))


async def unowned(pool: Pool, listed: Sequence[ListedObject]) -> list[ListedObject]:
    """Which of the listed objects may be swept: what an ended clip has under its keys, but not on record.

    What is under no clip's keys is never among them: a database restored from a backup does not know its newest clips.
    """
    parameters = {
        "numbers": list(range(len(listed))),
        "prefixes": [prefix_of(one.key) for one in listed],
        "keys": [one.key for one in listed],
        "versions": [one.version_id for one in listed],
    }
    async with worker_transaction(pool) as connection:
        rows = await (await connection.execute(_SWEEPABLE, parameters)).fetchall()
    return [listed[number] for number in sorted(number for (number,) in rows)]


async def take_turn(pool: Pool, name: str, *, owner: str, seconds: float) -> bool:
    """Take or keep the turn for one kind of work, unless another worker has it."""
    parameters = {"name": name, "owner": owner, "length": timedelta(seconds=seconds)}
    async with worker_transaction(pool) as connection:
        return (await connection.execute(_TAKE_TURN, parameters)).rowcount == 1


async def end_turn(pool: Pool, name: str, *, owner: str) -> None:
    """Give the turn up at once; otherwise it ends by itself."""
    async with worker_transaction(pool) as connection:
        await connection.execute(_END_TURN, (name, owner))


async def pending(pool: Pool) -> Pending:
    """How much work waits."""
    async with worker_transaction(pool) as connection:
        cursor = connection.cursor(row_factory=class_row(Pending))
        await cursor.execute(_PENDING.encode())
        (counts,) = await cursor.fetchall()
        return counts
