"""Transactions of the ledger's own: opening, checkpointing and closing chains, notes on the operations chain.

Each is one transaction over several chains and tables, and follows the rules of `append.py`: locks first, in order, as
a statement of their own; then the heads; everything decided under the locks; receipts after the commit.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from ledger.chain.event import CLOSED
from ledger.chain.receipt import ReceiptSigner
from ledger.chain.rules import ChainHead, ClockWentBackError, Draft, link_hashes, stamp
from ledger.database.connections import Connection, Pool
from ledger.errors import LedgerError, Reason
from ledger.store import rows
from ledger.store.group import Placed, clock_error, closed_error, receipt_of
from ledger.store.intake import ChainPlace
from ledger.store.reads import organisation_transaction
from ledger.store.values import Receipt

# Places and names kept in memory: a few hundred bytes each.
_MAX_REMEMBERED = 50_000

_LOCK = "SELECT pg_advisory_xact_lock(chain_key) FROM unnest(%s::bigint[]) AS chain_key"
_HEADS = """
SELECT head.chain_key, head.sequence, head.hash, head.occurred_at, head.kind
  FROM unnest(%s::bigint[]) AS wanted (chain_key)
 CROSS JOIN LATERAL (SELECT * FROM indelible.events AS event
                      WHERE event.chain_key = wanted.chain_key
                      ORDER BY event.sequence DESC LIMIT 1) AS head
"""
_PLACE = "SELECT chain_key, type FROM indelible.chains WHERE organisation_id = %s AND chain_id = %s"
_NAME = "SELECT name FROM indelible.organisations WHERE organisation_id = %s"


class Places:
    """Where chains are kept and what organisations are called: neither ever changes, so both are remembered."""

    def __init__(self, runtime: Pool) -> None:
        self._runtime = runtime
        self._places: OrderedDict[tuple[str, str], ChainPlace] = OrderedDict()
        self._names: OrderedDict[str, str] = OrderedDict()

    async def find(self, organisation_id: str, chain_id: str) -> ChainPlace | None:
        """The place of a chain, or None if the organisation has no such chain."""
        place = self._places.get((organisation_id, chain_id))
        if place is None:
            async with organisation_transaction(self._runtime, organisation_id) as connection:
                row = await (await connection.execute(_PLACE, (organisation_id, chain_id))).fetchone()
            if row is None:
                return None
            place = ChainPlace(chain_key=row[0], organisation_id=organisation_id, chain_id=chain_id, type=row[1])
            self._places[organisation_id, chain_id] = place
            if len(self._places) > _MAX_REMEMBERED:
                self._places.popitem(last=False)
        return place

    async def get(self, organisation_id: str, chain_id: str) -> ChainPlace:
        """The place of a chain. Raises `LedgerError` CHAIN_NOT_FOUND."""
        place = await self.find(organisation_id, chain_id)
        if place is None:
            raise LedgerError(Reason.CHAIN_NOT_FOUND, f"there is no chain {chain_id!r} here", {"chain_id": chain_id})
        return place

    async def organisation_name(self, organisation_id: str) -> str:
        """The name of an organisation. Raises `LedgerError` ORGANISATION_UNKNOWN."""
        name = self._names.get(organisation_id)
        if name is None:
            async with organisation_transaction(self._runtime, organisation_id) as connection:
                row = await (await connection.execute(_NAME, (organisation_id,))).fetchone()
            if row is None:
                raise LedgerError(
                    Reason.ORGANISATION_UNKNOWN,
                    f"organisation {organisation_id!r} is not registered",
                    {"organisation_id": organisation_id},
                )
            name = self._names[organisation_id] = row[0]
            if len(self._names) > _MAX_REMEMBERED:
                self._names.popitem(last=False)
        return name


class Transactions:
    """Begins transactions of the append role, one at a time for each organisation."""

    def __init__(
        self, pool: Pool, *, signer: ReceiptSigner, clock: Callable[[], int], committed: Callable[[int], None]
    ) -> None:
        self._pool = pool
        self._signer = signer
        self._clock = clock
        self._committed = committed
        # One organisation's transactions would wait for its operations chain anyway: let them not wait with a
        # connection in hand. Weak, so that an organisation that is idle costs nothing.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def begin(self, organisation_id: str) -> "AsyncIterator[ChainTransaction]":
        """A transaction that commits when the block ends and leaves nothing behind when it raises.

        Raises `LedgerError` OVERLOADED, DATABASE_UNAVAILABLE; with the latter it may or may not have been committed.
        """
        turn = self._turns.setdefault(organisation_id, asyncio.Lock())
        try:
            async with turn, self._pool.connection() as connection, connection.transaction():
                await connection.execute("SELECT set_config('indelible.organisation', %s, true)", (organisation_id,))
                transaction = ChainTransaction(connection, self._clock)
                yield transaction
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            raise LedgerError(Reason.OVERLOADED, "another writer holds the chain for too long; try again") from error
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed) as error:
            raise LedgerError(Reason.DATABASE_UNAVAILABLE, "the database is unavailable; try again") from error
        for place, _ in transaction.written:
            self._committed(place.chain_key)

    def receipt(self, place: ChainPlace, placed: Placed, *, replayed: bool = False) -> Receipt:
        """The receipt of one event. Call it after the commit."""
        return receipt_of(place, placed, self._signer, replayed=replayed)


class ChainTransaction:
    """A transaction of the append role that holds the locks of the chains it was given."""

    def __init__(self, connection: Connection, clock: Callable[[], int]) -> None:
        self.connection = connection
        self.written: list[tuple[ChainPlace, Placed]] = []
        self._heads: dict[int, ChainHead] = {}
        self._clock = clock

    async def lock(self, *places: ChainPlace) -> None:
        """Lock chains and read their heads. Once per transaction: taken in order, locks cannot wait in a circle."""
        keys = sorted(place.chain_key for place in places)
        await self.connection.execute(_LOCK, (keys,))
        cursor = await self.connection.cursor(binary=True).execute(_HEADS, (keys,))
        for chain_key, sequence, digest, occurred_at, kind in await cursor.fetchall():
            self._heads[chain_key] = ChainHead(
                sequence=sequence, hash=bytes(digest), occurred_at_us=occurred_at, kind=kind
            )

    def head(self, place: ChainPlace) -> ChainHead:
        """The head of a locked chain; that of an empty one if it is new."""
        return self._heads.get(place.chain_key, ChainHead())

    def now_us(self) -> int:
        """The clock, in microseconds since 1970."""
        return self._clock()

    async def append(self, place: ChainPlace, event: Draft, *, now_us: int | None = None) -> Placed:
        """Write one event behind the head of a locked chain. Raises `LedgerError` CHAIN_CLOSED, CLOCK_WENT_BACK.

        `now_us` is a reading of the clock that another row of this transaction holds too.
        """
        head = self.head(place)
        if head.kind == CLOSED:
            raise closed_error(place.chain_id)
        try:
            occurred_at_us = stamp(head, self._clock() if now_us is None else now_us)
        except ClockWentBackError as error:
            raise clock_error(place, error) from error
        hashes = link_hashes(head, [event.body], occurred_at_us)
        middle = rows.middle_fields(place.chain_key, place.organisation_id, event_count=1, idempotency_key=None)
        row = rows.event_rows(head, hashes, occurred_at_us, [middle.first], [event.body])
        async with self.connection.cursor().copy(rows.COPY_EVENTS) as copy:
            await copy.write(b"".join([rows.HEADER, *row, rows.TRAILER]))
        self._heads[place.chain_key] = ChainHead(
            sequence=head.sequence + 1, hash=hashes[0], occurred_at_us=occurred_at_us, kind=event.kind
        )
        placed = Placed(first_sequence=head.sequence + 1, hashes=tuple(hashes), occurred_at_us=occurred_at_us)
        self.written.append((place, placed))
        return placed
