"""Clips to be made: claimed by one worker at a time, under a lease that a dead worker's successor takes over.

A lease is known by its number. Whatever a worker writes about a job names the number, and its lease must still run, so
one that was too slow changes nothing any more.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from ledger.database.connections import Connection, Pool
from media.records.clips import clip_in
from media.records.outbox import keep_notes
from media.records.transactions import short, worker_transaction
from media.records.values import ClipState, Failed, Job, LeaseLostError, Note, Preserved

# SKIP LOCKED lets many workers take jobs at once without waiting for one another; the lease outlives the transaction.
_CLAIM = """
UPDATE evidence.clips
   SET leased_until = now() + %(lease)s, lease_owner = %(worker)s, lease_number = lease_number + 1,
       attempts = attempts + 1
 WHERE clip_id = (SELECT due.clip_id
                    FROM evidence.clips AS due
                   WHERE due.state IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING')
                     AND due.next_attempt_at <= now() AND (due.leased_until IS NULL OR due.leased_until <= now())
                   ORDER BY due.next_attempt_at
                   LIMIT 1
                     FOR NO KEY UPDATE SKIP LOCKED)
RETURNING organisation_id, clip_id, lease_number
"""

_HELD = " WHERE clip_id = %(clip_id)s AND lease_number = %(lease_number)s AND leased_until > now()"
_HEARTBEAT = (
    """
UPDATE evidence.clips SET leased_until = now() + %(lease)s, state = coalesce(%(state)s, state)
"""
    + _HELD
)
# Waiting for footage is no attempt.
_GIVE_BACK = (
    """
UPDATE evidence.clips
   SET state = CASE WHEN %(is_waiting)s THEN 'WAITING' ELSE state END, next_attempt_at = now() + %(pause)s,
       last_error = %(why)s, attempts = attempts - %(is_waiting)s::int, leased_until = NULL, lease_owner = NULL
"""
    + _HELD
)
# Taken before anything is written for the job, and kept until the commit: nobody can take the job over meanwhile.
_LOCK = f"SELECT 1 FROM evidence.clips {_HELD} FOR NO KEY UPDATE"  # noqa: S608 - a condition of our own

_ARTEFACT = """
INSERT INTO evidence.artefacts (clip_id, organisation_id, name, role, media_type, key, version_id, size, sha256)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_KEPT = """
INSERT INTO evidence.kept_objects (clip_id, organisation_id, key, version_id, size, sha256, found_size, found_sha256,
                                   problem)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_FINISH = """
UPDATE evidence.clips
   SET state = 'PRESERVED', actual_from = %(actual_from)s, actual_to = %(actual_to)s, gaps = %(gaps)s,
       facts = %(facts)s, ended_at = %(ended_at)s, last_error = '', leased_until = NULL, lease_owner = NULL,
       protection_wanted = protection_wanted + 1, next_attempt_at = now()
 WHERE clip_id = %(clip_id)s
"""
_FAIL = """
UPDATE evidence.clips
   SET state = 'FAILED', failure_reason = %(reason)s, failure_message = %(message)s, ended_at = %(ended_at)s,
       leased_until = NULL, lease_owner = NULL, protection_wanted = protection_wanted + 1, next_attempt_at = now()
 WHERE clip_id = %(clip_id)s
"""


async def claim(pool: Pool, *, worker: str, lease_seconds: float) -> Job | None:
    """Take one clip that is due, or whose worker's lease has run out; None when there is none."""
    taken_at = time.monotonic()
    async with worker_transaction(pool) as connection:
        parameters = {"worker": worker, "lease": timedelta(seconds=lease_seconds)}
        row = await (await connection.execute(_CLAIM, parameters)).fetchone()
        if row is None:
            return None
        organisation_id, clip_id, lease_number = row
        clip = await clip_in(connection, organisation_id, clip_id)
    return Job(clip=clip, worker=worker, lease_number=lease_number, lease_seconds=lease_seconds, taken_at=taken_at)


async def heartbeat(pool: Pool, job: Job, state: ClipState | None) -> Job:
    """Extend the lease, and say how far the job is if that has changed. Raises LeaseLostError."""
    async with worker_transaction(pool) as connection:
        parameters = _lease(job) | {"lease": timedelta(seconds=job.lease_seconds), "state": state}
        cursor = await connection.execute(_HEARTBEAT.encode(), parameters)
        _require(job, cursor.rowcount)
    return replace(job, clip=replace(job.clip, state=state)) if state else job


async def give_back(pool: Pool, job: Job, *, again_in_seconds: float, why: str, is_waiting: bool) -> None:
    """End the lease; the clip is due again then. Waiting for footage is no attempt. Raises LeaseLostError."""
    async with worker_transaction(pool) as connection:
        parameters = _lease(job) | {
            "pause": timedelta(seconds=again_in_seconds),
            "why": short(why),
            "is_waiting": is_waiting,
        }
        cursor = await connection.execute(_GIVE_BACK.encode(), parameters)
        _require(job, cursor.rowcount)


async def finish(pool: Pool, job: Job, outcome: Preserved, notes: Sequence[Note]) -> None:
    """Index the clip: from this commit on it exists, with these digests, for ever. Raises LeaseLostError.

    Every artefact must have been read back from the store as it was sent.
    """
    clip = job.clip
    async with worker_transaction(pool) as connection:
        await _lock(connection, job)
        for artefact in outcome.artefacts:
            stored = artefact.stored
            await connection.execute(
                _ARTEFACT,
                (
                    *(clip.clip_id, clip.organisation_id, artefact.name, artefact.role, artefact.media_type),
                    *(stored.key, stored.version_id, stored.size, bytes.fromhex(stored.sha256)),
                ),
            )
        await keep_notes(connection, clip.organisation_id, clip.clip_id, notes)
        await connection.execute(
            _FINISH,
            {
                "clip_id": clip.clip_id,
                "actual_from": outcome.actual_from,
                "actual_to": outcome.actual_to,
                "gaps": _json(list(outcome.gaps)),
                "facts": _json(outcome.facts),
                "ended_at": outcome.preserved_at,
            },
        )


async def fail(pool: Pool, job: Job, outcome: Failed, notes: Sequence[Note]) -> None:
    """End the clip as one that could not be preserved, keeping what is in the store. Raises LeaseLostError."""
    clip = job.clip
    async with worker_transaction(pool) as connection:
        await _lock(connection, job)
        for kept in outcome.kept:
            await connection.execute(
                _KEPT,
                (
                    *(clip.clip_id, clip.organisation_id, kept.key, kept.version_id, kept.size),
                    *(bytes.fromhex(kept.expected_sha256), kept.found_size),
                    *(bytes.fromhex(kept.found_sha256) if kept.found_sha256 else None, kept.problem),
                ),
            )
        await keep_notes(connection, clip.organisation_id, clip.clip_id, notes)
        await connection.execute(
            _FAIL,
            {
                "clip_id": clip.clip_id,
                "reason": outcome.reason,
                "message": outcome.message,
                "ended_at": outcome.failed_at,
            },
        )


async def _lock(connection: Connection, job: Job) -> None:
    cursor = await connection.execute(_LOCK.encode(), _lease(job))
    _require(job, cursor.rowcount)


def _lease(job: Job) -> dict[str, Any]:
    return {"clip_id": job.clip.clip_id, "lease_number": job.lease_number}


def _require(job: Job, rows: int) -> None:
    if rows != 1:
        raise LeaseLostError(f"the lease of {job.worker} on clip {job.clip.clip_id} has run out")


def _json(value: Any) -> Jsonb:
    return Jsonb(value, dumps=lambda one: json.dumps(one, ensure_ascii=False, allow_nan=False))
