"""The records as the rest of the evidence service sees them: what callers ask for, and what the workers do."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Self
from uuid import UUID

from psycopg_pool import PoolTimeout

from ledger.database.connections import Pool, make_pool
from media.errors import MediaError, Reason
from media.records import accesses, clips, holds, jobs, outbox, retention, upkeep
from media.records.guards import EVIDENCE_GUARDS
from media.records.kept import CLIP, Kept
from media.records.recording_accounts import RecordingAccounts
from media.records.recording_attendance import RecordingAttendance
from media.records.recording_jobs import RecordingJobs
from media.records.recording_requests import RecordingRequests
from media.records.recording_upkeep import RecordingUpkeep
from media.records.values import (
    Access,
    Clip,
    ClipFilter,
    ClipState,
    Disposal,
    ExtractionRequest,
    Failed,
    Hold,
    Job,
    Note,
    NoteState,
    OutboxNote,
    Pending,
    Preserved,
    Protection,
    Retention,
)
from media.storage.values import ListedObject

# Connections of each role for one process. PostgreSQL's default allows 100 for everyone.
CALLER_CONNECTIONS = 8
WORKER_CONNECTIONS = 4
_OPEN_SECONDS = 15.0


class Records:
    """PostgreSQL, through two roles. Use `open`; one for each process.

    Every method raises `MediaError` OVERLOADED or DATABASE_UNAVAILABLE when the database cannot answer; what it was
    asked may then have been done or not, and repeating it is safe. `notes` go to the ledger: the database refuses the
    commit of a preservation, a failure, a disposal, a hold, a lift, an access or a change of retention without its note
    for the operations chain.
    """

    def __init__(self, *, callers: Pool, worker: Pool) -> None:
        """Pools that are not open yet; `open` makes and opens them."""
        self._callers = callers
        self._worker = worker
        # What workers do for recordings.
        self.recording_jobs = RecordingJobs(worker)
        self.recording_upkeep = RecordingUpkeep(worker)
        # Recordings of sessions: what callers ask, and what LiveKit does.
        self.recordings = RecordingRequests(callers)
        self.recording_accounts = RecordingAccounts(callers)
        self.attendance = RecordingAttendance(worker)

    @classmethod
    async def open(cls, *, evidence_dsn: str, worker_dsn: str) -> Self:
        """Connect as both roles and check that the database guards itself.

        Raises GuardsMissingError, `MediaError` DATABASE_UNAVAILABLE.
        """
        records = cls(
            callers=make_pool(evidence_dsn, "evidence", size=CALLER_CONNECTIONS, check=True),
            worker=make_pool(worker_dsn, "evidence-worker", size=WORKER_CONNECTIONS, check=True),
        )
        try:
            for pool, bypasses in ((records._callers, False), (records._worker, True)):
                await pool.open(wait=True, timeout=_OPEN_SECONDS)
                async with pool.connection() as connection:
                    await EVIDENCE_GUARDS.check(connection)
                    await EVIDENCE_GUARDS.check_role(connection, bypasses_row_security=bypasses)
        except PoolTimeout as error:
            await records.close()
            raise MediaError(Reason.DATABASE_UNAVAILABLE, "the database cannot be reached") from error
        except BaseException:
            await records.close()
            raise
        return records

    async def close(self) -> None:
        """Hang up."""
        await self._callers.close()
        await self._worker.close()

    async def check(self) -> None:
        """Look again whether the database guards itself. Raises GuardsMissingError."""
        async with self._worker.connection() as connection:
            await EVIDENCE_GUARDS.check(connection)

    # Asking, and reading

    async def request(
        self, request: ExtractionRequest, notes: Callable[[Clip], Sequence[Note]] = lambda _: ()
    ) -> tuple[Clip, bool]:
        """See `clips.request_clip`."""
        return await clips.request_clip(self._callers, request, notes)

    async def get_clip(self, organisation_id: str, clip_id: UUID) -> Clip:
        """See `clips.get_clip`."""
        return await clips.get_clip(self._callers, organisation_id, clip_id)

    async def list_clips(
        self, organisation_id: str, wanted: ClipFilter, *, after: tuple[int, UUID] | None = None, limit: int = 100
    ) -> list[Clip]:
        """See `clips.list_clips`."""
        return await clips.list_clips(self._callers, organisation_id, wanted, after=after, limit=limit)

    async def clip_notes(self, organisation_id: str, clip_id: UUID) -> list[NoteState]:
        """See `outbox.notes_about`."""
        return await outbox.notes_about(self._callers, CLIP, organisation_id, clip_id)

    # Holds and accesses

    async def place_hold(
        self, organisation_id: str, hold: Hold, *, idempotency_key: str, notes: Sequence[Note]
    ) -> tuple[Hold, bool]:
        """See `holds.place_hold`."""
        return await holds.place_hold(
            self._callers, organisation_id, hold, idempotency_key=idempotency_key, notes=notes
        )

    async def lift_hold(  # noqa: PLR0913 - what the record of a lift consists of
        self, organisation_id: str, hold_id: UUID, *, by: str, reason: str, at: int, notes: Sequence[Note]
    ) -> tuple[Hold, bool]:
        """See `holds.lift_hold`."""
        return await holds.lift_hold(self._callers, organisation_id, hold_id, by=by, reason=reason, at=at, notes=notes)

    async def get_hold(self, organisation_id: str, hold_id: UUID) -> Hold:
        """See `holds.get_hold`."""
        return await holds.get_hold(self._callers, organisation_id, hold_id)

    async def holds(self, kept: Kept, organisation_id: str, subject_id: UUID) -> list[Hold]:
        """See `holds.holds_of`."""
        return await holds.holds_of(self._callers, kept, organisation_id, subject_id)

    async def add_access(self, organisation_id: str, access: Access, notes: Sequence[Note]) -> None:
        """See `accesses.add_access`."""
        await accesses.add_access(self._callers, organisation_id, access, notes)

    async def accesses(self, organisation_id: str, clip_id: UUID) -> list[Access]:
        """See `accesses.accesses_of`."""
        return await accesses.accesses_of(self._callers, organisation_id, clip_id)

    # Retention and disposal

    async def retention(self, organisation_id: str) -> Retention:
        """See `retention.get_retention`."""
        return await retention.get_retention(self._callers, organisation_id)

    async def retentions(self) -> list[Retention]:
        """See `retention.all_retentions`."""
        return await retention.all_retentions(self._worker)

    async def set_retention(self, changed: Retention, notes: Sequence[Note]) -> None:
        """See `retention.set_retention`."""
        await retention.set_retention(self._callers, changed, notes)

    async def begin_disposal(self, kept: Kept, organisation_id: str, subject_id: UUID, disposal: Disposal) -> None:
        """See `retention.begin_disposal`."""
        await retention.begin_disposal(self._callers, kept, organisation_id, subject_id, disposal)

    async def due_for_disposal(self, kept: Kept, *, now: int, limit: int) -> list[tuple[str, UUID]]:
        """See `retention.due_for_disposal`."""
        return await retention.due_for_disposal(self._worker, kept, now=now, limit=limit)

    async def disposing(self, limit: int) -> list[Clip]:
        """See `retention.disposing`."""
        return await retention.disposing(self._worker, limit)

    async def finish_disposal(self, clip: Clip, *, disposed_at: int, notes: Sequence[Note]) -> bool:
        """See `retention.finish_disposal`."""
        return await retention.finish_disposal(self._worker, clip, disposed_at=disposed_at, notes=notes)

    async def postpone_disposal(self, clip: Clip, *, error: str, again_at: datetime) -> None:
        """See `retention.postpone_disposal`."""
        await retention.postpone_disposal(self._worker, clip, error=error, again_at=again_at)

    # Making clips

    async def claim(self, *, worker: str, lease_seconds: float) -> Job | None:
        """See `jobs.claim`."""
        return await jobs.claim(self._worker, worker=worker, lease_seconds=lease_seconds)

    async def heartbeat(self, job: Job, state: ClipState | None = None) -> Job:
        """See `jobs.heartbeat`."""
        return await jobs.heartbeat(self._worker, job, state)

    async def wait(self, job: Job, *, again_in_seconds: float, why: str) -> None:
        """Footage is still to come: give the lease back until then. Raises LeaseLostError."""
        await jobs.give_back(self._worker, job, again_in_seconds=again_in_seconds, why=why, is_waiting=True)

    async def retry_later(self, job: Job, *, again_in_seconds: float, error: str) -> None:
        """Something around was out of order: give the lease back until then. Raises LeaseLostError."""
        await jobs.give_back(self._worker, job, again_in_seconds=again_in_seconds, why=error, is_waiting=False)

    async def finish(self, job: Job, outcome: Preserved, notes: Sequence[Note]) -> None:
        """See `jobs.finish`."""
        await jobs.finish(self._worker, job, outcome, notes)

    async def fail(self, job: Job, outcome: Failed, notes: Sequence[Note]) -> None:
        """See `jobs.fail`."""
        await jobs.fail(self._worker, job, outcome, notes)

    # Telling the ledger

    async def due_notes(self, limit: int) -> list[OutboxNote]:
        """See `outbox.due_notes`."""
        return await outbox.due_notes(self._worker, limit)

    async def chain_notes(self, organisation_id: str, chain_id: str, limit: int) -> list[OutboxNote]:
        """See `outbox.chain_notes`."""
        return await outbox.chain_notes(self._worker, organisation_id, chain_id, limit)

    async def note_sent(self, note_id: int, *, sequence: int, event_hash: str) -> None:
        """See `outbox.note_sent`."""
        await outbox.note_sent(self._worker, note_id, sequence=sequence, event_hash=event_hash)

    async def note_refused(self, note_id: int, reason: str) -> None:
        """See `outbox.note_refused`."""
        await outbox.note_refused(self._worker, note_id, reason)

    async def note_failed(self, note_id: int, *, error: str, again_at: datetime) -> None:
        """See `outbox.note_failed`."""
        await outbox.note_failed(self._worker, note_id, error=error, again_at=again_at)

    # Upkeep

    async def unprotected(self, limit: int) -> list[UUID]:
        """See `upkeep.unprotected`."""
        return await upkeep.unprotected(self._worker, limit)

    async def protection(self, clip_id: UUID) -> Protection | None:
        """See `upkeep.protection`."""
        return await upkeep.protection(self._worker, clip_id)

    async def protected(self, protection: Protection, *, enforced: bool) -> None:
        """See `upkeep.protected`."""
        await upkeep.protected(self._worker, protection, enforced=enforced)

    async def postpone_protection(self, clip_id: UUID, *, error: str, again_at: datetime) -> None:
        """See `upkeep.postpone_protection`."""
        await upkeep.postpone_protection(self._worker, clip_id, error=error, again_at=again_at)

    async def unowned(self, listed: Sequence[ListedObject]) -> list[ListedObject]:
        """See `upkeep.unowned`."""
        return await upkeep.unowned(self._worker, listed)

    async def take_turn(self, name: str, *, owner: str, seconds: float) -> bool:
        """See `upkeep.take_turn`."""
        return await upkeep.take_turn(self._worker, name, owner=owner, seconds=seconds)

    async def end_turn(self, name: str, *, owner: str) -> None:
        """See `upkeep.end_turn`."""
        await upkeep.end_turn(self._worker, name, owner=owner)

    async def pending(self) -> Pending:
        """See `upkeep.pending`."""
        return await upkeep.pending(self._worker)
