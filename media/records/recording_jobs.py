"""The queue of recordings' processing: steps claimed by one worker at a time under leases, as clips are (jobs.py).

A step becomes a row here when everything it needs is there (recording_planning.py).
What a step did and that it is done are one commit, which a worker that lost its lease cannot make.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from ledger.database.connections import Connection, Pool
from media.records.kept import RECORDING, lock, standing_holds
from media.records.outbox import keep_notes
from media.records.recording_planning import advance
from media.records.recording_rows import work_in
from media.records.recording_upkeep import PROTECT_AGAIN
from media.records.recording_work import Raw, RecordingFile, RecordingJob
from media.records.transactions import short, worker_transaction
from media.records.values import LeaseLostError, Note

# SKIP LOCKED as for clips. A step of a recording that is being disposed of is never among them: it has ended.
_CLAIM = """
UPDATE evidence.recording_jobs
   SET leased_until = now() + %(lease)s, lease_owner = %(worker)s, lease_number = lease_number + 1,
       attempts = attempts + 1
 WHERE job_id = (SELECT due.job_id
                   FROM evidence.recording_jobs AS due
                  WHERE due.state = 'OPEN' AND due.next_attempt_at <= now()
                    AND (due.leased_until IS NULL OR due.leased_until <= now())
                  ORDER BY due.next_attempt_at
                  LIMIT 1
                    FOR NO KEY UPDATE SKIP LOCKED)
RETURNING job_id, recording_id, task, stay_id, attempts, lease_number
"""
_HELD = " WHERE job_id = %(job_id)s AND lease_number = %(lease_number)s AND leased_until > now()"
_HEARTBEAT = (
    """
UPDATE evidence.recording_jobs SET leased_until = now() + %(lease)s
"""
    + _HELD
)
_GIVE_BACK = (
    """
UPDATE evidence.recording_jobs
   SET next_attempt_at = now() + %(pause)s, last_error = %(why)s, attempts = attempts - %(is_waiting)s::int,
       leased_until = NULL, lease_owner = NULL
"""
    + _HELD
)
_END = (
    """
UPDATE evidence.recording_jobs
   SET state = %(state)s, failure_reason = %(reason)s, failure_message = %(message)s, ended_at = %(ended_at)s,
       last_error = '', leased_until = NULL, lease_owner = NULL
"""
    + _HELD
)

_RAW = """
INSERT INTO evidence.recording_raws (raw_id, stay_id, recording_id, organisation_id, key, version_id, size, sha256,
                                     counts, read_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_KEEP = """
INSERT INTO evidence.recording_raw_ends (raw_id, recording_id, organisation_id, fate, why, decided_at)
VALUES (%s, %s, %s, 'KEPT', %s, %s)
"""
_FILE = """
INSERT INTO evidence.recording_files (file_id, recording_id, organisation_id, name, role, participant, tile, media_type,
                                      key, version_id, size, sha256, raw_sha256, annotation_sha256, offset_us,
                                      starts_at, duration_us, facts, stored_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_COMPLETE = """
UPDATE evidence.recordings
   SET state = 'COMPLETED', ended_at = %(ended_at)s, last_error = '', protection_wanted = protection_wanted + 1,
       next_attempt_at = now()
 WHERE recording_id = %(recording_id)s
"""
_FAIL = """
UPDATE evidence.recordings
   SET state = 'FAILED', failure_reason = %(reason)s, failure_message = %(message)s, ended_at = %(ended_at)s,
       protection_wanted = protection_wanted + 1, next_attempt_at = now()
 WHERE recording_id = %(recording_id)s
"""
_REMARK = """
INSERT INTO evidence.recording_remarks (recording_id, organisation_id, text, at) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
# What is left to do once the chains know: raw objects that nothing keeps are dropped.
_SETTLE = """
INSERT INTO evidence.recording_jobs (recording_id, organisation_id, task) VALUES (%s, %s, 'settle')
ON CONFLICT DO NOTHING
"""
_TOLD = """
SELECT NOT EXISTS (SELECT FROM evidence.notes AS note
                    WHERE note.recording_id = %s AND note.sent_at IS NULL AND note.refusal IS NULL)
"""
_DROP = """
INSERT INTO evidence.recording_raw_ends (raw_id, recording_id, organisation_id, fate, why, decided_at)
VALUES (%s, %s, %s, 'DROPPED', 'everything it held is in finished files, whose digests are on the chain', %s)
"""


UNDER_A_HOLD = "a legal hold stood on the recording when it would have been dropped"


class RecordingJobs:
    """The queue as workers see it. Every method raises `MediaError` OVERLOADED or DATABASE_UNAVAILABLE."""

    def __init__(self, pool: Pool) -> None:
        """`pool`: of the worker's role."""
        self._pool = pool

    async def advance(self, *, now: int, annotation_wait_seconds: float) -> int:
        """See `recording_planning.advance`."""
        return await advance(self._pool, now=now, annotation_wait_seconds=annotation_wait_seconds)

    async def claim(self, *, worker: str, lease_seconds: float) -> RecordingJob | None:
        """Take one step that is due, or whose worker's lease has run out; None when there is none."""
        taken_at = time.monotonic()
        async with worker_transaction(self._pool) as connection:
            parameters = {"worker": worker, "lease": timedelta(seconds=lease_seconds)}
            row = await (await connection.execute(_CLAIM, parameters)).fetchone()
            if row is None:
                return None
            job_id, recording_id, task, stay_id, attempts, lease_number = row
            recording = await work_in(connection, recording_id)
        return RecordingJob(
            job_id=job_id,
            recording=recording,
            task=task,
            stay_id=stay_id,
            attempt=attempts,
            worker=worker,
            lease_number=lease_number,
            lease_seconds=lease_seconds,
            taken_at=taken_at,
        )

    async def heartbeat(self, job: RecordingJob) -> None:
        """Extend the lease. Raises LeaseLostError."""
        async with worker_transaction(self._pool) as connection:
            parameters = _lease(job) | {"lease": timedelta(seconds=job.lease_seconds)}
            _require(job, (await connection.execute(_HEARTBEAT.encode(), parameters)).rowcount)

    async def give_back(self, job: RecordingJob, *, again_in_seconds: float, why: str, is_waiting: bool) -> None:
        """End the lease; the step is due again then. Waiting for something is no attempt. Raises LeaseLostError."""
        async with worker_transaction(self._pool) as connection:
            parameters = _lease(job) | {
                "pause": timedelta(seconds=again_in_seconds),
                "why": short(why),
                "is_waiting": is_waiting,
            }
            _require(job, (await connection.execute(_GIVE_BACK.encode(), parameters)).rowcount)

    async def fail_step(self, job: RecordingJob, *, reason: str, message: str, at: int) -> None:
        """A step that will never succeed; the recording goes on without it. Raises LeaseLostError."""
        async with worker_transaction(self._pool) as connection:
            await _end(connection, job, "FAILED", at, reason=reason, message=short(message))

    async def acquired(self, job: RecordingJob, raws: Sequence[Raw], notes: Sequence[Note], *, at: int) -> None:
        """What an egress left, with the digests of the first read. Raises LeaseLostError."""
        async with worker_transaction(self._pool) as connection:
            await _end(connection, job, "DONE", at)
            for raw in raws:
                await _insert_raw(connection, job.recording.recording_id, job.recording.organisation_id, raw)
            await self._keep(connection, job, notes)

    async def made(
        self, job: RecordingJob, files: Sequence[tuple[UUID, RecordingFile]], notes: Sequence[Note], *, at: int
    ) -> None:
        """Finished files of one step: from this commit on they exist. Raises LeaseLostError.

        Every file must have been read back from the store as it was sent.
        """
        async with worker_transaction(self._pool) as connection:
            await _end(connection, job, "DONE", at)
            await self._insert_files(connection, job, files, at)
            await self._keep(connection, job, notes)

    async def complete(  # noqa: PLR0913 - what the end of a recording consists of
        self,
        job: RecordingJob,
        files: Sequence[tuple[UUID, RecordingFile]],
        keeps: Sequence[tuple[UUID, str]],
        remarks: Sequence[str],
        notes: Sequence[Note],
        *,
        at: int,
    ) -> None:
        """End the recording as completed: `keeps` are the raw objects that stay, and why. Raises LeaseLostError."""
        async with worker_transaction(self._pool) as connection:
            await _end(connection, job, "DONE", at)
            await self._insert_files(connection, job, files, at)
            await self._say_why_kept(connection, job, keeps, remarks, at)
            await self._keep(connection, job, notes)
            await connection.execute(_COMPLETE, {"recording_id": job.recording.recording_id, "ended_at": at})
            await connection.execute(_SETTLE, (job.recording.recording_id, job.recording.organisation_id))

    async def fail(  # noqa: PLR0913 - as complete
        self,
        job: RecordingJob,
        keeps: Sequence[tuple[UUID, str]],
        notes: Sequence[Note],
        *,
        reason: str,
        message: str,
        at: int,
    ) -> None:
        """End the recording as one of which nothing usable came. Raises LeaseLostError."""
        async with worker_transaction(self._pool) as connection:
            await _end(connection, job, "DONE", at)
            await self._say_why_kept(connection, job, keeps, (), at)
            await self._keep(connection, job, notes)
            about = {"recording_id": job.recording.recording_id, "reason": reason, "message": message, "ended_at": at}
            await connection.execute(_FAIL, about)

    async def is_told(self, recording_id: UUID) -> bool:
        """Whether every event about the recording is on a chain."""
        async with worker_transaction(self._pool) as connection:
            row = await (await connection.execute(_TOLD, (recording_id,))).fetchone()
        return row is not None and bool(row[0])

    async def decide_drops(self, job: RecordingJob, raws: Sequence[Raw], notes: Sequence[Note], *, at: int) -> bool:
        """Decide that raw objects go; the database refuses before the chains know. Raises LeaseLostError.

        To be called before they are deleted: the step stays open until they are. False while a legal hold stands: then
        it is decided that they stay, and `notes` are not kept.
        """
        recording = job.recording
        recording_id, organisation_id = recording.recording_id, recording.organisation_id
        async with worker_transaction(self._pool) as connection:
            parameters = _lease(job) | {"lease": timedelta(seconds=job.lease_seconds)}
            _require(job, (await connection.execute(_HEARTBEAT.encode(), parameters)).rowcount)
            await lock(connection, RECORDING, organisation_id, recording_id)
            if await standing_holds(connection, RECORDING, recording_id):
                await self._say_why_kept(connection, job, [(raw.raw_id, UNDER_A_HOLD) for raw in raws], (), at)
                await connection.execute(PROTECT_AGAIN, (recording_id,))
                return False
            for raw in raws:
                await connection.execute(_DROP, (raw.raw_id, recording_id, organisation_id, at))
            await self._keep(connection, job, notes)
            return True

    async def settled(self, job: RecordingJob, *, at: int) -> None:
        """Nothing is left to be done for the recording. Raises LeaseLostError."""
        async with worker_transaction(self._pool) as connection:
            await _end(connection, job, "DONE", at)

    async def _keep(self, connection: Connection, job: RecordingJob, notes: Sequence[Note]) -> None:
        recording = job.recording
        await keep_notes(connection, recording.organisation_id, None, notes, recording_id=recording.recording_id)

    async def _insert_files(
        self, connection: Connection, job: RecordingJob, files: Sequence[tuple[UUID, RecordingFile]], at: int
    ) -> None:
        for file_id, file in files:
            stored, facts = file.stored, file.facts
            annotated = facts.get("annotations_sha256")
            await connection.execute(
                _FILE,
                (
                    *(file_id, job.recording.recording_id, job.recording.organisation_id, file.name, file.role),
                    *(file.participant, file.tile, file.media_type, stored.key, stored.version_id, stored.size),
                    *(bytes.fromhex(stored.sha256), [bytes.fromhex(one) for one in file.raw_sha256]),
                    *(bytes.fromhex(annotated) if annotated else None, facts.get("annotation_offset_us")),
                    *(file.starts_at, file.duration_us, Jsonb(dict(facts)), at),
                ),
            )

    async def _say_why_kept(
        self,
        connection: Connection,
        job: RecordingJob,
        keeps: Sequence[tuple[UUID, str]],
        remarks: Sequence[str],
        at: int,
    ) -> None:
        about = (job.recording.recording_id, job.recording.organisation_id)
        for raw_id, reason in keeps:
            await connection.execute(_KEEP, (raw_id, *about, reason, at))
        for remark in remarks:
            await connection.execute(_REMARK, (*about, short(remark), at))


async def _insert_raw(connection: Connection, recording_id: UUID, organisation_id: str, raw: Raw) -> None:
    stored = raw.stored
    await connection.execute(
        _RAW,
        (
            *(raw.raw_id, raw.stay_id, recording_id, organisation_id, stored.key, stored.version_id),
            *(stored.size, bytes.fromhex(stored.sha256), raw.counts, raw.read_at),
        ),
    )


async def _end(  # noqa: PLR0913 - how a step ended
    connection: Connection,
    job: RecordingJob,
    state: str,
    at: int,
    *,
    reason: str | None = None,
    message: str | None = None,
) -> None:
    """Taken before anything else is written for the job, and kept until the commit: nobody takes it over meanwhile."""
    parameters = _lease(job) | {"state": state, "reason": reason, "message": message, "ended_at": at}
    _require(job, (await connection.execute(_END.encode(), parameters)).rowcount)


def _lease(job: RecordingJob) -> dict[str, Any]:
    return {"job_id": job.job_id, "lease_number": job.lease_number}


def _require(job: RecordingJob, rows: int) -> None:
    if rows != 1:
        raise LeaseLostError(
            f"the lease of {job.worker} on a step of recording {job.recording.recording_id} has run out"
        )
