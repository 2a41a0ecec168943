"""The end of a session whose recordings or clips may still be in the making (docs/spec/chain.md, section 8).

1. `end_session` appends `session.ended` and a checkpoint, whose anchors are asked for in the same commit; or, when
   nothing is pending, the closing itself.
2. From then on the append transaction and the database's guard take only what tells of pending items.
3. `close_done` follows the append that ends the last of them; the schedule of every service finds what that missed, and
   what reached its deadline. All of them close by the same transaction, under the chain's lock, so it happens once.
"""

import structlog

from ledger.chain.canonical import CanonicalError
from ledger.chain.event import CHECKPOINTED, CLOSED, SESSION_ENDED
from ledger.chain.merkle import Frontier
from ledger.chain.processing import (
    DEFAULT_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    MAX_PENDING,
    SHORTEST_WAIT_SECONDS,
    PendingItem,
    ending,
    item_list,
)
from ledger.chain.rules import Draft, checkpoint, draft_of
from ledger.database.connections import Connection, Pool
from ledger.errors import LedgerError, Reason
from ledger.store.group import Placed, closed_error
from ledger.store.intake import ChainPlace, invalid_payload
from ledger.store.lifecycle import Lifecycle, canonical_remark
from ledger.store.processing import is_done, pending_items, session_end
from ledger.store.transactions import ChainTransaction, Transactions
from ledger.store.values import Receipt, SessionEnd
from ledger.timestamps import moment, rfc3339

_MICROSECONDS = 1_000_000

_NEXT_CHECKPOINT = """
SELECT event.sequence, event.hash, event.occurred_at
  FROM indelible.events AS event
 WHERE event.chain_key = %s AND event.sequence > %s AND event.kind IN ('chain.checkpointed', 'chain.closed')
 ORDER BY event.sequence
 LIMIT 1
"""

_log = structlog.get_logger("indelible.store")


class Endings:
    """Ends sessions, and closes their chains when nothing is pending any more."""

    def __init__(self, pool: Pool, *, transactions: Transactions, lifecycle: Lifecycle) -> None:
        """`pool` holds connections of the append role."""
        self._pool = pool
        self._transactions = transactions
        self._lifecycle = lifecycle

    async def end_session(
        self, organisation_id: str, chain_id: str, remark: bytes, wait_seconds: int
    ) -> tuple[ChainPlace, Receipt]:
        """End a session; an ended one gets the first answer again. Raises `LedgerError` CHAIN_CLOSED, ..."""
        canonical = canonical_remark(remark, "ending")
        wait_us = _wait(wait_seconds) * _MICROSECONDS
        place = await self._lifecycle.session_chain(organisation_id, chain_id)
        operations = await self._lifecycle.operations_chain(organisation_id)
        await self._lifecycle.frontiers.catch_up(place.chain_key)
        async with self._transactions.begin(organisation_id) as transaction:
            await transaction.lock(place, operations)
            end = await session_end(transaction.connection, place.chain_key)
            placed = None if end is None else await _next_checkpoint(transaction.connection, place, end)
            replayed = placed is not None
            if end is None:
                placed = await self._end(transaction, place, operations, canonical, wait_us)
            elif placed is None:  # somebody went round the ledger: it never ends a session without a checkpoint
                frontier = await self._lifecycle.frontiers.of(transaction.connection, place.chain_key)
                placed = await self._checkpoint(transaction, place, frontier, transaction.now_us())
        return place, self._transactions.receipt(place, placed, replayed=replayed)

    async def close_done(self, place: ChainPlace) -> None:
        """Close the chain if its session has ended and nothing is pending. What fails here, the schedule does later."""
        try:
            if await is_done(self._pool, place.chain_key):
                await self._lifecycle.close_chain(place.organisation_id, place.chain_id, b"")
        except LedgerError as error:
            _log.warning("closing put off", chain=place.chain_id, organisation=place.organisation_id, error=str(error))

    async def _end(
        self, transaction: ChainTransaction, place: ChainPlace, operations: ChainPlace, remark: str, wait_us: int
    ) -> Placed:
        head = transaction.head(place)
        if head.kind == CLOSED:
            raise closed_error(place.chain_id)
        pending = await pending_items(transaction.connection, place.chain_key)
        if len(pending) > MAX_PENDING:
            raise LedgerError(
                Reason.PROCESSING_PENDING,
                f"more than {MAX_PENDING} recordings and clips are in the making: wait until there are fewer",
                {"chain_id": place.chain_id, "pending": str(len(pending))},
            )
        frontier = await self._lifecycle.frontiers.of(transaction.connection, place.chain_key)
        # One reading for all: the deadline counts from the time that session.ended is stamped with.
        now_us = transaction.now_us()
        closes_by = rfc3339(moment(max(now_us, head.occurred_at_us) + wait_us))
        ended = await transaction.append(place, _ending(closes_by, pending, remark), now_us=now_us)
        note = {
            "chain_id": place.chain_id,
            "closes_by": closes_by,
            "event_count": ended.first_sequence,
            "head": ended.hashes[0].hex(),
            "pending": item_list(pending),
        }
        await transaction.append(operations, draft_of("ledger.session_ended", note))
        covered = frontier.extended(ended.hashes)
        if not pending:
            return await self._lifecycle.append_closing(
                transaction, place, operations, covered, now_us=now_us, remark="", unfinished=()
            )
        return await self._checkpoint(transaction, place, covered, now_us)

    async def _checkpoint(
        self, transaction: ChainTransaction, place: ChainPlace, covered: Frontier, now_us: int
    ) -> Placed:
        placed = await transaction.append(place, draft_of(CHECKPOINTED, checkpoint(covered)), now_us=now_us)
        await self._lifecycle.ask_for_anchors(transaction.connection, place, placed)
        return placed


async def _next_checkpoint(connection: Connection, place: ChainPlace, end: SessionEnd) -> Placed | None:
    """The checkpoint, or the closing, that was appended with `session.ended`."""
    cursor = await connection.cursor(binary=True).execute(_NEXT_CHECKPOINT, (place.chain_key, end.sequence))
    row = await cursor.fetchone()
    return None if row is None else Placed(first_sequence=row[0], hashes=(bytes(row[1]),), occurred_at_us=row[2])


def _ending(closes_by: str, pending: tuple[PendingItem, ...], remark: str) -> Draft:
    try:
        return draft_of(SESSION_ENDED, ending(closes_by=closes_by, pending=pending, remark=remark))
    except CanonicalError as error:
        raise invalid_payload("ending", error, within="/ending") from error


def _wait(seconds: int) -> int:
    if seconds and not SHORTEST_WAIT_SECONDS <= seconds <= LONGEST_WAIT_SECONDS:
        raise LedgerError(
            Reason.INVALID_ARGUMENT,
            f"wait_seconds must be {SHORTEST_WAIT_SECONDS} to {LONGEST_WAIT_SECONDS}, or 0 for {DEFAULT_WAIT_SECONDS}",
            {"field": "wait_seconds"},
        )
    return seconds or DEFAULT_WAIT_SECONDS
