"""Notes for the ledger: kept in the transaction they tell about, relayed in order, at least once, with effect once."""

import json
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from ledger.database.connections import Connection, Pool
from media.records.kept import Kept
from media.records.transactions import organisation_transaction, short, worker_transaction
from media.records.values import Note, NoteState, OutboxNote

_KEEP = """
INSERT INTO evidence.notes (organisation_id, chain_id, kind, subject_id, clip_id, recording_id, payload)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""

# Everything up to the first note of a chain that is not due: what follows a note must not overtake it.
_DUE = """
SELECT note.note_id, note.organisation_id, note.chain_id, note.kind, note.payload, note.attempts,
       note.kind || ':' || note.subject_id AS idempotency_key
  FROM evidence.notes AS note
 WHERE note.sent_at IS NULL AND note.refusal IS NULL
   AND NOT EXISTS (SELECT FROM evidence.notes AS earlier
                    WHERE earlier.organisation_id = note.organisation_id AND earlier.chain_id = note.chain_id
                      AND earlier.note_id <= note.note_id AND earlier.sent_at IS NULL AND earlier.refusal IS NULL
                      AND earlier.next_attempt_at > now())
 ORDER BY note.note_id
 LIMIT %s
"""

_SENT = """
UPDATE evidence.notes SET sent_at = now(), sequence = %s, event_hash = %s, last_error = ''
 WHERE note_id = %s AND sent_at IS NULL AND refusal IS NULL
"""
_REFUSED = "UPDATE evidence.notes SET refusal = %s WHERE note_id = %s AND sent_at IS NULL AND refusal IS NULL"
# What a session's chain will not take any more is told on the operations chain instead; its payload names the session.
# Kinds that are told there in any case are told once: the key of a note sees to that.
_TELL_OPERATIONS = """
INSERT INTO evidence.notes (organisation_id, chain_id, kind, subject_id, clip_id, recording_id, payload)
SELECT organisation_id, 'operations', kind, subject_id, clip_id, recording_id, payload
  FROM evidence.notes
 WHERE note_id = %s AND refusal IS NOT NULL AND chain_id <> 'operations'
ON CONFLICT (organisation_id, chain_id, kind, subject_id) DO NOTHING
"""
_FAILED = """
UPDATE evidence.notes SET attempts = attempts + 1, last_error = %s, next_attempt_at = %s
 WHERE note_id = %s AND sent_at IS NULL AND refusal IS NULL
"""
# Everything a chain is still to be told, due or not, in the order in which it must get it.
_OF_CHAIN = """
SELECT note_id, organisation_id, chain_id, kind, payload, attempts, kind || ':' || subject_id AS idempotency_key
  FROM evidence.notes
 WHERE organisation_id = %s AND chain_id = %s AND sent_at IS NULL AND refusal IS NULL
 ORDER BY note_id
 LIMIT %s
"""
_STATES = """
SELECT kind, chain_id, subject_id, payload::jsonb AS payload, sequence, encode(event_hash, 'hex') AS event_hash, refusal
  FROM evidence.notes
"""
# Of one subject on a session's chain or on the operations chain.
OF_SESSION = f"""{_STATES}
 WHERE organisation_id = %s AND chain_id IN (%s, 'operations') AND subject_id = %s
 ORDER BY note_id
"""


async def keep_notes(
    connection: Connection,
    organisation_id: str,
    clip_id: UUID | None,
    notes: Sequence[Note],
    *,
    recording_id: UUID | None = None,
) -> None:
    """Keep notes in the transaction that is under way. The ids are None for what concerns no clip, or no recording."""
    for note in notes:
        payload = json.dumps(note.payload, ensure_ascii=False, allow_nan=False)
        about = (organisation_id, note.chain_id, note.kind, note.subject_id, clip_id, recording_id)
        await connection.execute(_KEEP, (*about, payload))


async def due_notes(pool: Pool, limit: int) -> list[OutboxNote]:
    """At most `limit` notes to be relayed now, in the order in which each chain must get them."""
    async with worker_transaction(pool) as connection:
        cursor = connection.cursor(row_factory=class_row(OutboxNote))
        await cursor.execute(_DUE, (limit,))
        return await cursor.fetchall()


async def note_sent(pool: Pool, note_id: int, *, sequence: int, event_hash: str) -> None:
    """The note is on its chain, there. Saying so twice is harmless."""
    async with worker_transaction(pool) as connection:
        await connection.execute(_SENT, (sequence, bytes.fromhex(event_hash), note_id))


async def chain_notes(pool: Pool, organisation_id: str, chain_id: str, limit: int) -> list[OutboxNote]:
    """At most `limit` notes that one chain is still to be told, in order, also those whose time has not come."""
    async with worker_transaction(pool) as connection:
        cursor = connection.cursor(row_factory=class_row(OutboxNote))
        await cursor.execute(_OF_CHAIN, (organisation_id, chain_id, limit))
        return await cursor.fetchall()


async def note_refused(pool: Pool, note_id: int, reason: str) -> None:
    """The session's chain will never take the note, having ended: the operations chain is told instead."""
    async with worker_transaction(pool) as connection:
        await connection.execute(_REFUSED, (short(reason), note_id))
        await connection.execute(_TELL_OPERATIONS, (note_id,))


async def note_failed(pool: Pool, note_id: int, *, error: str, again_at: datetime) -> None:
    """The note could not be relayed now; it, and what follows it on its chain, waits until `again_at`."""
    async with worker_transaction(pool) as connection:
        await connection.execute(_FAILED, (short(error), again_at, note_id))


async def notes_about(pool: Pool, kept: Kept, organisation_id: str, subject_id: UUID) -> list[NoteState]:
    """Every note about a clip or a recording, in order, with its place on the ledger."""
    query = f"{_STATES} WHERE organisation_id = %s AND {kept.column} = %s ORDER BY note_id"
    async with organisation_transaction(pool, organisation_id) as connection:
        cursor = connection.cursor(row_factory=class_row(NoteState))
        await cursor.execute(query.encode(), (organisation_id, subject_id))
        return await cursor.fetchall()
