"""Open, checkpoint and close chains. What happens to a chain is noted on the organisation's operations chain too."""

from collections.abc import Collection
from datetime import datetime

from ledger.chain.canonical import CanonicalError, canonicalise
from ledger.chain.event import CHECKPOINTED, CLOSED, OPENED
from ledger.chain.merkle import Frontier
from ledger.chain.processing import MAX_PENDING, PendingItem, item_list
from ledger.chain.rules import checkpoint, closing, draft_of, opening
from ledger.database.connections import Connection, Pool
from ledger.errors import LedgerError, Reason
from ledger.store.frontiers import Frontiers
from ledger.store.group import Placed
from ledger.store.intake import ChainPlace, check_chain_id, invalid_payload
from ledger.store.processing import pending_items, session_end
from ledger.store.reads import database_errors
from ledger.store.transactions import ChainTransaction, Places, Transactions
from ledger.store.values import OPERATIONS_CHAIN_ID, AnchorSets, Chain, ChainType, Receipt, SessionEnd
from ledger.timestamps import moment, rfc3339

_INSERT_CHAIN = """
INSERT INTO indelible.chains (organisation_id, chain_id, type, subject, opened_at)
VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (organisation_id, chain_id) DO NOTHING
RETURNING chain_key
"""
_SUBJECT = "SELECT subject FROM indelible.chains WHERE chain_key = %s"
_EVENT = """
SELECT event.sequence, event.hash, event.occurred_at
  FROM indelible.events AS event
 WHERE event.chain_key = %s AND event.sequence = %s
"""
_INSERT_JOBS = """
INSERT INTO indelible.anchor_jobs
       (organisation_id, chain_key, sequence, digest, backend, authority, requested_at, next_attempt_at)
SELECT %(organisation_id)s, %(chain_key)s, %(sequence)s, %(digest)s, target.backend, target.authority, now(), now()
  FROM unnest(%(backends)s::text[], %(authorities)s::text[]) AS target (backend, authority)
 WHERE NOT EXISTS (SELECT FROM indelible.anchors AS a
                    WHERE (a.chain_key, a.sequence, a.backend, a.authority)
                        = (%(chain_key)s, %(sequence)s, target.backend, target.authority))
    ON CONFLICT DO NOTHING
"""


class Lifecycle:
    """The use cases of a chain as a whole."""

    def __init__(self, pool: Pool, *, transactions: Transactions, places: Places, anchor_sets: AnchorSets) -> None:
        """`pool` holds connections of the append role; every checkpoint is to be anchored as `anchor_sets` says."""
        self._pool = pool
        self._transactions = transactions
        self._places = places
        self._anchor_sets = anchor_sets
        self.frontiers = Frontiers(pool)

    async def open_chain(self, organisation_id: str, chain_id: str, subject: bytes) -> tuple[Chain, Receipt]:
        """Open a session; the same request again gets the first answer. Raises `LedgerError` CHAIN_EXISTS, ..."""
        check_chain_id(chain_id)
        if chain_id == OPERATIONS_CHAIN_ID:
            raise LedgerError(
                Reason.INVALID_ARGUMENT, "the operations chain is opened by the ledger itself", {"field": "chain_id"}
            )
        try:
            canonical = canonicalise(subject or b"{}").decode()
        except CanonicalError as error:
            raise invalid_payload("subject", error) from error
        name = await self._places.organisation_name(organisation_id)
        if await self._places.find(organisation_id, chain_id) is None:
            operations = await self.operations_chain(organisation_id)
            async with self._transactions.begin(organisation_id) as transaction:
                try:
                    opened = await self._open(transaction, organisation_id, chain_id, "session", canonical, operations)
                except CanonicalError as error:
                    raise invalid_payload("subject", error, within="/subject") from error
            if opened is not None:
                place, placed = opened
                return _opened(place, name, canonical, placed), self._transactions.receipt(place, placed)
        return await self._opened_before(await self._places.get(organisation_id, chain_id), name, canonical)

    async def operations_chain(self, organisation_id: str) -> ChainPlace:
        """The organisation's operations chain, opened now if this is its first use. Raises ORGANISATION_UNKNOWN."""
        place = await self._places.find(organisation_id, OPERATIONS_CHAIN_ID)
        if place is not None:
            return place
        await self._places.organisation_name(organisation_id)
        async with self._transactions.begin(organisation_id) as transaction:
            # When another was quicker nothing is inserted, and the place is found below.
            await self._open(transaction, organisation_id, OPERATIONS_CHAIN_ID, "operations", "{}", None)
        return await self._places.get(organisation_id, OPERATIONS_CHAIN_ID)

    async def checkpoint_chain(self, organisation_id: str, chain_id: str) -> Receipt:
        """Commit to every event so far and ask for anchors; with nothing new, for those the newest checkpoint lacks."""
        place = await self._places.get(organisation_id, chain_id)
        await self.frontiers.catch_up(place.chain_key)
        async with self._transactions.begin(organisation_id) as transaction:
            await transaction.lock(place)
            head = transaction.head(place)
            if head.kind in {CHECKPOINTED, CLOSED}:
                placed = Placed(first_sequence=head.sequence, hashes=(head.hash,), occurred_at_us=head.occurred_at_us)
                replayed = True
            else:
                frontier = await self.frontiers.of(transaction.connection, place.chain_key)
                placed = await transaction.append(place, draft_of(CHECKPOINTED, checkpoint(frontier)))
                replayed = False
            # Also for one that was there: authorities configured since are asked as well, and nobody twice.
            await self.ask_for_anchors(transaction.connection, place, placed)
        return self._transactions.receipt(place, placed, replayed=replayed)

    async def close_chain(self, organisation_id: str, chain_id: str, remark: bytes) -> tuple[ChainPlace, Receipt]:
        """Seal a session for ever and ask for anchors; a closed one gets the first answer again."""
        canonical = canonical_remark(remark, "closing")
        place = await self.session_chain(organisation_id, chain_id)
        operations = await self.operations_chain(organisation_id)
        await self.frontiers.catch_up(place.chain_key)
        async with self._transactions.begin(organisation_id) as transaction:
            await transaction.lock(place, operations)
            head = transaction.head(place)
            replayed = head.kind == CLOSED
            if replayed:
                placed = Placed(first_sequence=head.sequence, hashes=(head.hash,), occurred_at_us=head.occurred_at_us)
            else:
                frontier = await self.frontiers.of(transaction.connection, place.chain_key)
                placed = await self._close(transaction, place, operations, frontier, canonical)
        return place, self._transactions.receipt(place, placed, replayed=replayed)

    async def session_chain(self, organisation_id: str, chain_id: str) -> ChainPlace:
        """The place of a chain that can be closed. Raises `LedgerError` CHAIN_NOT_FOUND, INVALID_ARGUMENT."""
        place = await self._places.get(organisation_id, chain_id)
        if place.type == "operations":
            raise LedgerError(Reason.INVALID_ARGUMENT, "the operations chain is never closed", {"field": "chain_id"})
        return place

    async def _close(
        self,
        transaction: ChainTransaction,
        place: ChainPlace,
        operations: ChainPlace,
        frontier: Frontier,
        remark: str,
    ) -> Placed:
        now_us = transaction.now_us()
        end = await session_end(transaction.connection, place.chain_key)
        unfinished = await pending_items(transaction.connection, place.chain_key)
        if unfinished and (end is None or now_us < end.closes_by_us):
            raise _pending_error(place, end, unfinished)
        return await self.append_closing(
            transaction,
            place,
            operations,
            frontier,
            now_us=now_us,
            remark=remark,
            unfinished=unfinished if end else None,
        )

    async def append_closing(  # noqa: PLR0913 - a transaction, and what it closes
        self,
        transaction: ChainTransaction,
        place: ChainPlace,
        operations: ChainPlace,
        frontier: Frontier,
        *,
        now_us: int,
        remark: str,
        unfinished: tuple[PendingItem, ...] | None,
    ) -> Placed:
        """Append `chain.closed` over everything in `frontier`, ask for its anchors and note it, all or nothing.

        `unfinished` is what is pending on the chain of a session that was ended, None on any other.
        """
        try:
            event = draft_of(CLOSED, closing(frontier, remark, unfinished))
        except CanonicalError as error:
            raise invalid_payload("closing", error, within="/closing") from error
        placed = await transaction.append(place, event, now_us=now_us)
        note = {"chain_id": place.chain_id, "head": placed.hashes[0].hex(), "event_count": placed.first_sequence}
        if unfinished is not None:
            note["unfinished"] = item_list(unfinished)
        await transaction.append(operations, draft_of("ledger.chain_closed", note))
        await self.ask_for_anchors(transaction.connection, place, placed)
        return placed

    async def _open(  # noqa: PLR0913, PLR0917 - what a chain is opened with
        self,
        transaction: ChainTransaction,
        organisation_id: str,
        chain_id: str,
        chain_type: ChainType,
        subject: str,
        operations: ChainPlace | None,
    ) -> tuple[ChainPlace, Placed] | None:
        # The row comes before any lock: it waits for another opening of the same chain, and who waits holds no lock.
        opened_at_us = transaction.now_us()
        cursor = await transaction.connection.execute(
            _INSERT_CHAIN, (organisation_id, chain_id, chain_type, subject, moment(opened_at_us))
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        place = ChainPlace(chain_key=row[0], organisation_id=organisation_id, chain_id=chain_id, type=chain_type)
        await transaction.lock(place, *([operations] if operations else []))
        payload = opening(
            chain_id=chain_id,
            chain_type=chain_type,
            organisation_id=organisation_id,
            organisation_name=await self._places.organisation_name(organisation_id),
            subject=subject,
        )
        placed = await transaction.append(place, draft_of(OPENED, payload), now_us=opened_at_us)
        if operations is not None:
            note = {"chain_id": chain_id, "chain_type": chain_type, "head": placed.hashes[0].hex()}
            await transaction.append(operations, draft_of("ledger.chain_opened", note))
        return place, placed

    async def _opened_before(self, place: ChainPlace, name: str, subject: str) -> tuple[Chain, Receipt]:
        async with database_errors(), self._pool.connection() as connection:
            stored = await (await connection.execute(_SUBJECT, (place.chain_key,))).fetchone()
            event = await (await connection.cursor(binary=True).execute(_EVENT, (place.chain_key, 1))).fetchone()
        if stored is None or event is None or stored[0] != subject:
            raise LedgerError(
                Reason.CHAIN_EXISTS,
                f"chain {place.chain_id!r} was opened before, about something else",
                {"chain_id": place.chain_id},
            )
        sequence, digest, occurred_at_us = event
        placed = Placed(first_sequence=sequence, hashes=(bytes(digest),), occurred_at_us=occurred_at_us)
        return _opened(place, name, subject, placed), self._transactions.receipt(place, placed, replayed=True)

    async def ask_for_anchors(self, connection: Connection, place: ChainPlace, placed: Placed) -> None:
        """Ask the organisation's authorities to anchor a checkpoint of this transaction."""
        # In the same commit as the checkpoint: a checkpoint that exists is one whose anchors are asked for.
        targets = self._anchor_sets.of(place.organisation_id)
        await connection.execute(
            _INSERT_JOBS,
            {
                "organisation_id": place.organisation_id,
                "chain_key": place.chain_key,
                "sequence": placed.first_sequence,
                "digest": placed.hashes[0],
                "backends": [target.backend for target in targets],
                "authorities": [target.authority for target in targets],
            },
        )


def _opened(place: ChainPlace, name: str, subject: str, placed: Placed) -> Chain:
    """The chain as it was when it was opened."""
    return Chain(
        chain_key=place.chain_key,
        chain_id=place.chain_id,
        organisation_id=place.organisation_id,
        organisation_name=name,
        type=place.type,
        state="open",
        subject=subject,
        event_count=1,
        head=placed.hashes[0],
        opened_at=_time(placed),
        closed_at=None,
    )


def canonical_remark(remark: bytes, field: str) -> str:
    """What a caller says in `field` about an ending or a closing. Raises `LedgerError` INVALID_PAYLOAD."""
    try:
        return canonicalise(remark).decode() if remark else ""
    except CanonicalError as error:
        raise invalid_payload(field, error) from error


def _pending_error(place: ChainPlace, end: SessionEnd | None, pending: Collection[PendingItem]) -> LedgerError:
    number = f"more than {MAX_PENDING}" if len(pending) > MAX_PENDING else str(len(pending))
    count = f"{number} recording(s) or clip(s) of chain {place.chain_id!r} are still in the making"
    if end is None:
        text = f"{count}: end its session with EndSession, and the chain closes by itself when they are done"
    else:
        closes_by = rfc3339(moment(end.closes_by_us))
        text = f"{count}: the session has ended, and the chain closes by itself when they are done, or at {closes_by}"
    metadata = {"chain_id": place.chain_id, "pending": str(len(pending))}
    return LedgerError(Reason.PROCESSING_PENDING, text, metadata)


def _time(placed: Placed) -> datetime:
    return moment(placed.occurred_at_us)
