"""The append transaction: the one place where callers' events are written.

What must hold:
1. A chain is extended by one transaction at a time: an advisory lock per chain, taken by a statement of its own before
   the head is read (`rows.PREPARE`), held until commit.
2. Everything that depends on the chain is decided under the lock: idempotency, expected sequence, closed or not, time
   and hashes. Nothing is remembered about heads between transactions, so nothing can be out of date.
3. A receipt leaves this process after the commit that made it true, never before.
4. An append is answered once. If its commit may or may not have happened, it is tried again under the lock, where its
   idempotency key tells; if that cannot be done it is answered DATABASE_UNAVAILABLE, and the caller's repetition tells.

Appends that wait for the same organisation become one group: one message, one commit, one flush of the log to disk,
however many callers and chains. While a group is at the database the next one gathers; it follows there when the first
has been answered, or, once it is as large as a group may be, to wait behind its locks. Organisations do not wait for
one another. An append that is refused takes nothing from the others of its group.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import psycopg
import structlog
from psycopg_pool import PoolClosed, PoolTimeout

from ledger.chain.receipt import ReceiptSigner
from ledger.database.connections import Pool
from ledger.errors import LedgerError, Reason
from ledger.store.group import Earlier, GroupWork
from ledger.store.intake import PreparedAppend
from ledger.store.replay import replay_append
from ledger.store.values import Receipt
from ledger.store.wire import run_with_copy

# Waiting appends of one organisation, and bytes of all organisations together. Beyond it callers are told to slow down,
# which is better than an answer that comes after their deadline.
MAX_WAITING_APPENDS = 2_000
MAX_WAITING_BYTES = 256 * 1024 * 1024
# Large enough to make the cost of the commit small for each event, small enough to end in a tenth of a second.
_GROUP_EVENTS = 4_000
_GROUP_BYTES = 8 * 1024 * 1024
_GROUP_CHAINS = 256
# Callers that were answered together are about to append again: a group of several waits this long for the next one to
# become as large. A caller that is alone never waits.
_GATHER_SECONDS = 0.005

_log = structlog.get_logger("indelible.store")


@dataclass(kw_only=True, slots=True, eq=False)
class _Waiting:
    append: PreparedAppend
    answer: "asyncio.Future[Receipt]"


@dataclass(kw_only=True, slots=True, eq=False)
class _Lane:
    """The appends of one organisation."""

    queue: deque[_Waiting]
    events: int = 0
    size: int = 0
    worker: "asyncio.Task[None] | None" = None
    # Set when `wanted` appends wait, or what fills a group.
    gathered: asyncio.Event
    wanted: int = MAX_WAITING_APPENDS


class AppendEngine:
    """Groups appends into transactions. One for each process; `close` lets what is accepted finish."""

    def __init__(
        self, pool: Pool, *, signer: ReceiptSigner, clock: Callable[[], int], committed: Callable[[int], None]
    ) -> None:
        """`pool` holds connections of the append role; `clock` gives microseconds since 1970; `committed` is told each
        chain_key that has new events.
        """  # noqa: D205 - one sentence
        self._pool = pool
        self._signer = signer
        self._clock = clock
        self._committed = committed
        self._lanes: dict[str, _Lane] = {}
        self._waiting_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, append: PreparedAppend) -> "asyncio.Future[Receipt]":
        """Queue an append; the future gives the receipt, or raises `LedgerError` as `LedgerStore.append_events` does.

        Raises `LedgerError` OVERLOADED. If the future is cancelled while the append is at the database, that goes on.
        """
        lane = self._lanes.get(append.place.organisation_id)
        if lane is None:
            lane = self._lanes[append.place.organisation_id] = _Lane(queue=deque(), gathered=asyncio.Event())
        if len(lane.queue) >= MAX_WAITING_APPENDS or self._waiting_bytes + append.size > MAX_WAITING_BYTES:
            raise LedgerError(Reason.OVERLOADED, "too many appends are waiting; try again later")
        waiting = _Waiting(append=append, answer=asyncio.get_running_loop().create_future())
        lane.queue.append(waiting)
        lane.events += len(append.bodies)
        lane.size += append.size
        self._waiting_bytes += append.size
        if _is_gathered(lane):
            lane.gathered.set()
        if lane.worker is None:
            lane.worker = self._start(self._serve(append.place.organisation_id, lane))
        return waiting.answer

    @property
    def waiting(self) -> int:
        """Appends that no transaction has taken yet."""
        return sum(len(lane.queue) for lane in self._lanes.values())

    async def close(self) -> None:
        """Wait until every accepted append is answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, organisation_id: str, lane: _Lane) -> None:
        # Appends that arrived in the same turn of the event loop join the first group.
        await asyncio.sleep(0)
        before: asyncio.Task[None] | None = None
        while lane.queue:
            group = self._take(lane)
            locked = asyncio.Event()
            newest = self._start(self._serve_group(organisation_id, group, locked))
            # The next group is sent behind this one's locks, never past them: a chain's appends keep their order.
            await locked.wait()
            if before is not None:
                await before  # two full groups keep both sides busy; more would only wait for each other
            before = newest
            await self._gather(lane, newest, len(group))
        del self._lanes[organisation_id]

    async def _gather(self, lane: _Lane, newest: "asyncio.Task[None]", size: int) -> None:
        """Wait until the newest group has been answered and a moment has passed, or until what waits fills a group.

        Every group costs the service and the database much the same, so a few large ones are better than many small.
        """
        await _until_gathered(lane, MAX_WAITING_APPENDS, newest)
        if size > 1:
            await _until_gathered(lane, size, seconds=_GATHER_SECONDS)

    async def _serve_group(self, organisation_id: str, group: list[_Waiting], locked: asyncio.Event) -> None:
        try:
            await self._settle(organisation_id, group, locked)
        except Exception as error:  # noqa: BLE001 - whatever happened, every caller gets an answer
            _log.exception("append failed", organisation=organisation_id)
            _refuse(group, LedgerError(Reason.INTERNAL, "the append failed; the ledger's log says why"), error)
        finally:
            locked.set()

    def _take(self, lane: _Lane) -> list[_Waiting]:
        group: list[_Waiting] = []
        keys: set[tuple[int, str]] = set()
        chains: set[int] = set()
        events = size = 0
        while lane.queue:
            append = lane.queue[0].append
            key = (append.place.chain_key, append.idempotency_key)
            chains.add(append.place.chain_key)
            events += len(append.bodies)
            size += append.size
            full = events > _GROUP_EVENTS or size > _GROUP_BYTES or len(chains) > _GROUP_CHAINS
            # A key that is in the group already is a repetition: the next group finds what this one stored.
            if group and (full or key in keys):
                break
            waiting = lane.queue.popleft()
            lane.events -= len(append.bodies)
            lane.size -= append.size
            self._waiting_bytes -= append.size
            keys.add(key)
            if not waiting.answer.done():  # a cancelled caller's append that has not started is dropped
                group.append(waiting)
        return group

    async def _settle(self, organisation_id: str, group: list[_Waiting], locked: asyncio.Event) -> None:
        """Commit the group and answer everyone in it; never leaves an append without an answer."""
        if not group:
            return
        try:
            await self._commit_or_retry(organisation_id, group, locked)
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed) as error:
            if _is_busy(error) and len(group) > 1:
                await self._settle_apart(organisation_id, group, locked)
            elif _is_busy(error):
                message = "the chain is held by another writer for too long; try again"
                _refuse(group, LedgerError(Reason.OVERLOADED, message), error)
            else:
                _log.warning("database unavailable", error=str(error).strip())
                _refuse(group, _unavailable(), error)
        except psycopg.Error as error:
            # The database refused the group as a whole: find out on whose account.
            if len(group) > 1:
                await self._settle_apart(organisation_id, group, locked)
                return
            _log.exception("the database refused an append", organisation=organisation_id)
            _refuse(group, LedgerError(Reason.INTERNAL, "the database refused the append"), error)

    async def _settle_apart(self, organisation_id: str, group: list[_Waiting], locked: asyncio.Event) -> None:
        parts: dict[int, list[_Waiting]] = {}
        for waiting in group:
            parts.setdefault(waiting.append.place.chain_key, []).append(waiting)
        if len(parts) > 1:
            await asyncio.gather(*(self._settle(organisation_id, part, locked) for part in parts.values()))
            return
        for waiting in group:
            await self._settle(organisation_id, [waiting], locked)

    async def _commit_or_retry(self, organisation_id: str, group: list[_Waiting], locked: asyncio.Event) -> None:
        try:
            await self._commit(organisation_id, group, locked)
        except psycopg.OperationalError as error:
            if _is_busy(error):
                raise
            # The connection broke, before, during or after the commit. On a new one the lock waits for whatever is left
            # of the old transaction, and the idempotency keys tell what it stored.
            await self._pool.check()
            await self._commit(organisation_id, group, locked)

    async def _commit(self, organisation_id: str, group: list[_Waiting], locked: asyncio.Event) -> None:
        appends = [waiting.append for waiting in group]
        work = GroupWork(appends, clock=self._clock, signer=self._signer, locked=locked.set)
        feeds = [work.event_rows, work.disclosure_rows] if work.has_disclosures else [work.event_rows]
        connection = await self._pool.getconn()
        try:
            await run_with_copy(connection, work.message(organisation_id), feeds, meanwhile=work.sign)
            # Durable from here on: PostgreSQL confirmed the commit after flushing its log. If this process ends before
            # the answers are out, the callers repeat their appends and get the same receipts by their keys.
            self._answer_group(group, work.outcomes)
        finally:
            # The pool rolls back what failed, and closes a connection that is in the middle of something.
            await self._pool.putconn(connection)

    def _answer_group(self, group: list[_Waiting], outcomes: list[Receipt | Earlier | LedgerError]) -> None:
        for waiting, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Earlier):
                self._start(self._replay(waiting, outcome))
            else:
                _answer(waiting, outcome)
        for chain_key in {waiting.append.place.chain_key for waiting in group}:
            self._committed(chain_key)

    async def _replay(self, waiting: _Waiting, earlier: Earlier) -> None:
        try:
            async with self._pool.connection() as connection:
                _answer(waiting, await replay_append(connection, waiting.append, earlier, self._signer))
        except LedgerError as error:
            _answer(waiting, error)
        except (psycopg.Error, PoolTimeout, PoolClosed) as error:
            _refuse([waiting], _unavailable(), error)


def _is_gathered(lane: _Lane) -> bool:
    return len(lane.queue) >= lane.wanted or lane.events >= _GROUP_EVENTS or lane.size >= _GROUP_BYTES


async def _until_gathered(
    lane: _Lane, wanted: int, *others: "asyncio.Task[None]", seconds: float | None = None
) -> None:
    """Wait until `wanted` appends wait or what fills a group, or for one of the others, or so many seconds."""
    lane.wanted = wanted
    if _is_gathered(lane):
        return
    lane.gathered.clear()
    gathered = asyncio.ensure_future(lane.gathered.wait())
    await asyncio.wait((gathered, *others), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    gathered.cancel()


def _answer(waiting: _Waiting, outcome: Receipt | LedgerError) -> None:
    if waiting.answer.done():
        return  # the caller was cancelled; its append stands, and its key tells when it comes back
    if isinstance(outcome, LedgerError):
        waiting.answer.set_exception(outcome)
    else:
        waiting.answer.set_result(outcome)


def _refuse(group: list[_Waiting], error: LedgerError, cause: Exception) -> None:
    for waiting in group:
        # One exception for each: a traceback is no thing to share between tasks.
        own = LedgerError(error.reason, error.message, error.metadata)
        own.__cause__ = cause
        _answer(waiting, own)


def _unavailable() -> LedgerError:
    return LedgerError(Reason.DATABASE_UNAVAILABLE, "the database is unavailable; repeat with the same idempotency key")


def _is_busy(error: Exception) -> bool:
    """Whether a lock or a statement took too long: the database is there, and nothing was committed."""
    return isinstance(
        error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled | psycopg.errors.DeadlockDetected
    )
