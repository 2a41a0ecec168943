"""The store as the rest of the ledger sees it: what is written, what is read, and what the workers do."""

import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Self

import psycopg
from psycopg_pool import PoolTimeout

from ledger.chain.event import Event
from ledger.chain.processing import ends_an_item
from ledger.chain.receipt import ReceiptSigner
from ledger.database.connections import Connection, Pool, make_pool
from ledger.errors import LedgerError, Reason
from ledger.store import anchor_jobs, anchors, checks, links, outbox, processing, reads
from ledger.store.append import AppendEngine
from ledger.store.endings import Endings
from ledger.store.follow import CommitBell, stream_events
from ledger.store.guards import LEDGER_GUARDS
from ledger.store.intake import check_append, check_chain_id, prepare_append
from ledger.store.lifecycle import Lifecycle
from ledger.store.notes import Notes
from ledger.store.rows import PREPARE
from ledger.store.snapshots import ChainSnapshot, open_snapshot
from ledger.store.transactions import Places, Transactions
from ledger.store.turns import Turns
from ledger.store.values import (
    OPERATIONS_CHAIN_ID,
    AnchorJob,
    AnchorSets,
    AnchorStatus,
    AnchorTarget,
    Chain,
    CheckResult,
    Evidence,
    NewEvent,
    OutboxEntry,
    Receipt,
    StoredAnchor,
    VerifyLink,
)

# Connections of each role for one process. PostgreSQL's default allows 100 for everyone.
RUNTIME_CONNECTIONS = 8
APPEND_CONNECTIONS = 8
WORKER_CONNECTIONS = 4
_OPEN_SECONDS = 15.0


def clock_us() -> int:
    """The machine's clock in microseconds since 1970, UTC: what PostgreSQL can store exactly."""
    return time.time_ns() // 1_000


class LedgerStore:
    """PostgreSQL, through three roles. Use `open`; one for each process."""

    def __init__(  # noqa: PLR0913 - one pool for each role, and what the ledger is configured with
        self,
        *,
        runtime: Pool,
        append: Pool,
        worker: Pool,
        signer: ReceiptSigner,
        anchor_targets: Sequence[AnchorTarget],
        anchor_sets: AnchorSets,
        clock: Callable[[], int],
    ) -> None:
        """Pools that are not open yet; `open` makes and opens them."""
        self._runtime = runtime
        self._append = append
        self._worker = worker
        self._bell = CommitBell()
        self._places = Places(runtime)
        self._turns = Turns()
        self._engine = AppendEngine(append, signer=signer, clock=clock, committed=self._bell.ring)
        transactions = Transactions(append, signer=signer, clock=clock, committed=self._bell.ring)
        self._anchor_targets = tuple(anchor_targets)
        self._lifecycle = Lifecycle(append, transactions=transactions, places=self._places, anchor_sets=anchor_sets)
        self._endings = Endings(append, transactions=transactions, lifecycle=self._lifecycle)
        self._clock = clock
        self._notes = Notes(runtime, transactions=transactions, places=self._places, lifecycle=self._lifecycle)

    @classmethod
    async def open(  # noqa: PLR0913 - one DSN for each role, and what the ledger is configured with
        cls,
        *,
        runtime_dsn: str,
        append_dsn: str,
        worker_dsn: str,
        signer: ReceiptSigner,
        anchor_targets: Sequence[AnchorTarget],
        anchor_sets: AnchorSets | None = None,
        clock: Callable[[], int] = clock_us,
    ) -> Self:
        """Connect and check the database's guards.

        `anchor_targets` are all authorities that are configured; `anchor_sets` says whose checkpoints go to which of
        them, without it all to each.

        Raises `LedgerError` DATABASE_UNAVAILABLE, and GuardsMissingError when the database does not guard its record.
        """
        store = cls(
            runtime=make_pool(runtime_dsn, "runtime", size=RUNTIME_CONNECTIONS, check=True),
            # Not checked before use: the engine notices a dead connection and repeats the group on a new one.
            append=make_pool(append_dsn, "append", size=APPEND_CONNECTIONS, check=False, configure=_prepare),
            worker=make_pool(worker_dsn, "worker", size=WORKER_CONNECTIONS, check=True),
            signer=signer,
            anchor_targets=anchor_targets,
            anchor_sets=anchor_sets or AnchorSets(default=tuple(anchor_targets)),
            clock=clock,
        )
        try:
            await store._open_pools()
            await store.check_ready()
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Finish what was accepted, then disconnect."""
        await self._engine.close()
        for pool in (self._append, self._worker, self._runtime):
            await pool.close()

    async def check_ready(self) -> None:
        """Whether the database can be served from, now. Raises as `open` does."""
        async with reads.database_errors():
            async with self._append.connection() as connection:
                await LEDGER_GUARDS.check(connection)
            for pool, bypasses in ((self._runtime, False), (self._append, True), (self._worker, True)):
                async with pool.connection() as connection:
                    await LEDGER_GUARDS.check_role(connection, bypasses_row_security=bypasses)

    @property
    def waiting_appends(self) -> int:
        """Appends that wait for a transaction, for the metrics."""
        return self._engine.waiting

    # Writes. Every one raises `LedgerError`; the organisation always comes from the caller's token.

    async def open_chain(self, organisation_id: str, chain_id: str, subject: bytes) -> tuple[Chain, Receipt]:
        """Open a session about `subject`, a JSON object; the same request again gets the first answer.

        Raises CHAIN_EXISTS when it was opened about something else, ORGANISATION_UNKNOWN, INVALID_ARGUMENT,
        INVALID_PAYLOAD.
        """
        return await self._lifecycle.open_chain(organisation_id, chain_id, subject)

    async def append_events(
        self,
        organisation_id: str,
        chain_id: str,
        events: Sequence[NewEvent],
        idempotency_key: str,
        expected_sequence: int | None = None,
    ) -> Receipt:
        """Append 1 to 1,000 events, all or none. The same key with the same events gets the first receipt, for ever.

        Calls for one chain are queued in the order they are made.

        Raises INVALID_ARGUMENT, INVALID_PAYLOAD, RESERVED_KIND, TOO_LARGE, CHAIN_NOT_FOUND, CHAIN_CLOSED,
        SESSION_ENDED (it tells of nothing that is pending), SEQUENCE_MISMATCH (`actual_sequence` says what would have
        been right), IDEMPOTENCY_CONFLICT, CLOCK_WENT_BACK, OVERLOADED, and DATABASE_UNAVAILABLE: then it may have
        happened, and repeating it tells.
        """
        check_append(events, idempotency_key, expected_sequence)
        check_chain_id(chain_id)
        async with self._turns.of(organisation_id, chain_id):
            if chain_id == OPERATIONS_CHAIN_ID:
                place = await self._lifecycle.operations_chain(organisation_id)
            else:
                place = await self._places.get(organisation_id, chain_id)
            answer = self._engine.submit(await prepare_append(place, events, idempotency_key, expected_sequence))
        receipt = await answer
        if place.type == "session" and any(ends_an_item(event.kind) for event in events):
            await self._endings.close_done(place)
        return receipt

    async def checkpoint_chain(self, organisation_id: str, chain_id: str) -> Receipt:
        """Commit to all events so far and ask the organisation's authorities for anchors, in one transaction.

        With nothing new since the newest checkpoint, a closing included, that one is returned again, and those of the
        organisation's authorities that were never asked about it are asked now. Raises CHAIN_NOT_FOUND.
        """
        return await self._lifecycle.checkpoint_chain(organisation_id, chain_id)

    async def close_chain(self, organisation_id: str, chain_id: str, closing: bytes = b"") -> tuple[Chain, Receipt]:
        """Seal a session for ever, note it on the operations chain and ask for anchors, in one transaction.

        `closing` is a JSON object kept in the closing event, or empty. A closed chain gets the first answer again.
        Raises CHAIN_NOT_FOUND, INVALID_PAYLOAD, PROCESSING_PENDING, and INVALID_ARGUMENT for the operations chain.
        """
        place, receipt = await self._lifecycle.close_chain(organisation_id, chain_id, closing)
        return await self.get_chain(place.organisation_id, place.chain_id), receipt

    async def end_session(
        self, organisation_id: str, chain_id: str, ending: bytes = b"", *, wait_seconds: int = 0
    ) -> tuple[Chain, Receipt]:
        """End a session: note it, checkpoint and ask for anchors; with nothing pending, close its chain.

        All in one transaction. `ending` is a JSON object kept in `session.ended`, or empty; `wait_seconds` (a day when
        0) is how long the chain waits for what is pending. An ended session gets the first receipt again, and its chain
        as it stands. Raises CHAIN_NOT_FOUND, CHAIN_CLOSED, INVALID_PAYLOAD, PROCESSING_PENDING, INVALID_ARGUMENT.
        """
        place, receipt = await self._endings.end_session(organisation_id, chain_id, ending, wait_seconds)
        return await self.get_chain(place.organisation_id, place.chain_id), receipt

    async def create_verify_link(
        self, organisation_id: str, chain_id: str, expires_at: datetime, created_by: str
    ) -> VerifyLink:
        """A link pinned to the chain's present head, noted on the operations chain. Raises CHAIN_NOT_FOUND."""
        return await self._notes.create_verify_link(organisation_id, chain_id, expires_at, created_by)

    async def revoke_verify_link(self, organisation_id: str, link_id: str, revoked_by: str) -> datetime:
        """End a link; revoking again returns when it was revoked first. Raises LINK_UNKNOWN."""
        return await self._notes.revoke_verify_link(organisation_id, link_id, revoked_by)

    async def erase_disclosures(  # noqa: PLR0913 - what is erased, and what is noted about it
        self,
        organisation_id: str,
        chain_id: str,
        sequence: int,
        *,
        members: Sequence[str] = (),
        reason: str,
        erased_by: str,
    ) -> tuple[int, Receipt | None]:
        """Erase for ever what sealed members of one event say: the named ones, or all. The operations chain notes it.

        Returns how many were still there, and the receipt of the note, if there were any. Raises CHAIN_NOT_FOUND.
        """
        return await self._notes.erase_disclosures(
            organisation_id, chain_id, sequence, members=members, reason=reason, erased_by=erased_by
        )

    # Reads, under row-level security. Raise `LedgerError` CHAIN_NOT_FOUND, DATABASE_UNAVAILABLE.

    async def get_chain(self, organisation_id: str, chain_id: str) -> Chain:
        """The chain as it stands, with what is pending on it."""
        return await processing.get_chain(self._runtime, organisation_id, chain_id)

    async def list_chains(
        self, organisation_id: str, *, limit: int, after: str | None = None, state: str | None = None
    ) -> list[Chain]:
        """At most `limit` chains with an id past `after`, in order of id: "open", "ended" or "closed" ones, or all."""
        return await reads.list_chains(self._runtime, organisation_id, limit=limit, after=after, state=state)

    async def list_events(
        self, organisation_id: str, chain_id: str, *, from_sequence: int, limit: int, kinds: Sequence[str] = ()
    ) -> list[Event]:
        """At most `limit` events from `from_sequence` on, of the given kinds when any are given."""
        return await reads.list_events(
            self._runtime, organisation_id, chain_id, from_sequence=from_sequence, limit=limit, kinds=kinds
        )

    def stream_events(
        self, organisation_id: str, chain_id: str, *, from_sequence: int, follow: bool
    ) -> AsyncGenerator[list[Event], None]:
        """Batches of events from `from_sequence` on; with `follow` until the chain is closed. Constant memory."""
        return stream_events(
            self._runtime, self._bell, organisation_id, chain_id, from_sequence=from_sequence, follow=follow
        )

    async def list_anchors(
        self, organisation_id: str, chain_id: str, *, limit: int, after: tuple[int, str, str] | None = None
    ) -> list[AnchorStatus]:
        """Anchors asked for and obtained, in order of (sequence, backend, authority), past `after`."""
        return await anchors.list_anchors(
            self._runtime, organisation_id, chain_id, limit=limit, after=after, configured=self._anchor_targets
        )

    async def stored_anchors(self, organisation_id: str, chain_id: str) -> list[StoredAnchor]:
        """Every anchor obtained, with its bytes and evidence."""
        return await anchors.stored_anchors(self._runtime, organisation_id, chain_id)

    async def list_disclosures(self, organisation_id: str, chain_id: str) -> list[tuple[int, str]]:
        """Sequence and disclosure of every sealed member that was not erased."""
        return await reads.list_disclosures(self._runtime, organisation_id, chain_id)

    async def find_verify_link(self, organisation_id: str, link_id: str) -> VerifyLink:
        """A link, expired and revoked ones too. Raises LINK_UNKNOWN."""
        return await links.find_verify_link(self._runtime, organisation_id, link_id)

    async def check_chain(self, organisation_id: str, chain_id: str) -> CheckResult:
        """Re-hash the whole chain from what is stored. A damaged chain is a result, not an error."""
        return await checks.check_chain(self._runtime, organisation_id, chain_id)

    def snapshot(self, organisation_id: str, chain_id: str) -> AbstractAsyncContextManager[ChainSnapshot]:
        """The chain with everything that belongs to it, as of one moment; a bundle is written from it."""
        return open_snapshot(self._runtime, organisation_id, chain_id)

    # What the workers need: anchoring, schedule, relay. They serve every organisation.

    async def due_checkpoints(self, *, max_age: timedelta, max_events: int) -> list[tuple[str, str]]:
        """Organisation and chain of every chain that should be checkpointed now."""
        return await anchor_jobs.due_checkpoints(self._worker, max_age=max_age, max_events=max_events)

    async def due_closings(self) -> list[tuple[str, str]]:
        """Organisation and chain of sessions that ended and have nothing pending, or are past their deadlines."""
        return await processing.due_closings(self._worker, self._clock())

    async def lease_anchor_jobs(
        self, *, owner: str, lease: timedelta, limit: int, authorities: Collection[AnchorTarget]
    ) -> list[AnchorJob]:
        """Take at most `limit` due jobs for `lease`; until then no other worker gets them."""
        return await anchor_jobs.lease_anchor_jobs(
            self._worker, owner=owner, lease=lease, limit=limit, authorities=authorities
        )

    async def complete_anchor_job(
        self, job: AnchorJob, *, request: bytes, response: bytes, anchored_at: datetime, evidence: Sequence[Evidence]
    ) -> bool:
        """Store a verified anchor, end its job and note it on the operations chain, in one transaction.

        False when another worker had done so; then nothing changes. Raises `LedgerError` DATABASE_UNAVAILABLE.
        """
        return await self._notes.complete_anchor_job(
            job, request=request, response=response, anchored_at=anchored_at, evidence=evidence
        )

    async def fail_anchor_job(
        self, job: AnchorJob, *, error: str, next_attempt_at: datetime, state: dict[str, Any] | None = None
    ) -> None:
        """Give a job back with what went wrong, due again at `next_attempt_at`."""
        await anchor_jobs.fail_anchor_job(self._worker, job, error=error, next_attempt_at=next_attempt_at, state=state)

    async def oldest_unanchored(self) -> dict[AnchorTarget, datetime]:
        """When the longest waiting anchor was asked for, by configured authority for which any waits."""
        return await anchor_jobs.oldest_unanchored(self._worker, self._anchor_targets)

    async def pending_anchor_counts(self) -> dict[AnchorTarget, int]:
        """How many anchors wait for each authority, also for those that are no longer configured."""
        return await anchor_jobs.pending_anchor_counts(self._worker)

    async def read_outbox(self, limit: int) -> list[OutboxEntry]:
        """The oldest entries that are still to be published, in order within each chain."""
        return await outbox.read_outbox(self._worker, limit)

    async def trim_outbox(self, keep: int) -> None:
        """Forget all but about the newest `keep` outbox rows."""
        await outbox.trim_outbox(self._worker, keep)

    async def delete_outbox(self, ids: Sequence[int]) -> None:
        """Forget entries whose every event was published."""
        await outbox.delete_outbox(self._worker, ids)

    async def read_events_for_relay(self, chain_key: int, first: int, last: int) -> list[Event]:
        """The events of one outbox entry."""
        return await outbox.read_events_for_relay(self._worker, chain_key, first, last)

    async def _open_pools(self) -> None:
        try:
            for pool in (self._runtime, self._append, self._worker):
                await pool.open(wait=True, timeout=_OPEN_SECONDS)
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise LedgerError(
                Reason.DATABASE_UNAVAILABLE, "the database cannot be reached with the given connection settings"
            ) from error


async def _prepare(connection: Connection) -> None:
    # Otherwise psycopg prepares statements of its own, and after a rollback forgets them with DEALLOCATE ALL: ours too.
    connection.prepare_threshold = None
    for statement in PREPARE:
        await connection.execute(statement.encode())
