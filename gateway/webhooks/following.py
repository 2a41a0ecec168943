"""Following the operations chains: every event that somebody wants to be told of becomes a delivery, once.

One turn for one organisation is one transaction: take its cursor (nobody else can meanwhile), read what the chain has
from there on, write the deliveries, move the cursor. Whoever dies before the commit has done nothing; after it,
everything. So nothing is missed and nothing is told twice, however often the worker is killed.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta
from typing import Any, Protocol

import structlog

from gateway.webhooks.catalogue import Notice, notice_of
from ledger.client import ClientError
from ledger.client.values import Event
from ledger.database.connections import Pool

OPERATIONS_CHAIN_ID = "operations"
# How soon after its commit an event is told of, when nothing else is going on.
LOOK_SECONDS = 1.0
# Events read in one turn; the next turn follows at once.
MAX_EVENTS = 1_000
READ_SECONDS = 20.0

_TAKE = """
SELECT c.organisation_id, c.next_sequence
  FROM gateway.webhook_cursors AS c
 WHERE c.next_look_at <= now()
   AND EXISTS (SELECT FROM gateway.webhook_endpoints AS e
                WHERE e.organisation_id = c.organisation_id AND e.removed_at IS NULL)
 ORDER BY c.next_look_at
 LIMIT 1
   FOR UPDATE OF c SKIP LOCKED
"""
_ADD = """
INSERT INTO gateway.webhook_deliveries (organisation_id, endpoint_id, message_id, type, body, created_at)
SELECT e.organisation_id, e.endpoint_id, %(message_id)s, %(type)s, %(body)s,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  FROM gateway.webhook_endpoints AS e
 WHERE e.organisation_id = %(organisation_id)s AND e.disabled_at IS NULL AND %(type)s = ANY (e.types)
   AND e.first_sequence <= %(sequence)s
    ON CONFLICT (endpoint_id, message_id) DO NOTHING
"""
_MOVE = "UPDATE gateway.webhook_cursors SET next_sequence = %s, next_look_at = now() + %s WHERE organisation_id = %s"

_log = structlog.stdlib.get_logger("gateway.webhooks")


class Chains(Protocol):
    """What following needs of the ledger's client."""

    def stream_events(
        self, chain_id: str, *, from_sequence: int = 1, follow: bool = False
    ) -> AsyncGenerator[Event, None]:
        """The events of a chain."""


# The ledger as seen by one organisation.
LedgerOf = Callable[[str], AbstractAsyncContextManager[Chains]]


async def follow_once(pool: Pool, ledger_of: LedgerOf) -> int | None:
    """One turn for the organisation whose turn it is: how many events were read. None when no turn is due."""
    async with pool.connection() as connection, connection.transaction():
        # Reading from the ledger takes as long as it takes; the cursor is this process's meanwhile.
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '60s'")
        row = await (await connection.execute(_TAKE)).fetchone()
        if row is None:
            return None
        organisation_id, next_sequence = row
        try:
            events = await _read(ledger_of, organisation_id, next_sequence)
        except (ClientError, TimeoutError, OSError) as error:
            # An organisation that cannot be read now must not keep the others waiting.
            _log.warning("chain_not_read", organisation_id=organisation_id, error=str(error) or type(error).__name__)
            await connection.execute(_MOVE, (next_sequence, timedelta(seconds=5 * LOOK_SECONDS), organisation_id))
            return 0
        for event in events:
            notice = _notice(organisation_id, event)
            if notice is not None:
                await connection.execute(_ADD, _values(organisation_id, notice, event))
        pause = LOOK_SECONDS if len(events) < MAX_EVENTS else 0.0
        await connection.execute(_MOVE, (next_sequence + len(events), timedelta(seconds=pause), organisation_id))
    return len(events)


def _notice(organisation_id: str, event: Event) -> Notice | None:
    """What to tell of an event. One of another form than its kind has is left out: nobody else may wait for it."""
    try:
        return notice_of(organisation_id, OPERATIONS_CHAIN_ID, event)
    except Exception as error:  # noqa: BLE001 - whatever a payload can break
        _log.error(
            "event_not_told",
            organisation_id=organisation_id,
            sequence=event.sequence,
            kind=event.kind,
            error=f"{type(error).__name__}: {error}",
        )
        return None


async def _read(ledger_of: LedgerOf, organisation_id: str, next_sequence: int) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(READ_SECONDS), ledger_of(organisation_id) as ledger:
        try:
            async with aclosing(ledger.stream_events(OPERATIONS_CHAIN_ID, from_sequence=next_sequence)) as found:
                async for event in found:
                    events.append(event)
                    if len(events) == MAX_EVENTS:
                        break
        except ClientError as error:
            # The organisation's first event makes its operations chain.
            if error.reason != "CHAIN_NOT_FOUND":
                raise
    return events


def _values(organisation_id: str, notice: Notice, event: Event) -> dict[str, Any]:
    return {
        "organisation_id": organisation_id,
        "message_id": notice.message_id,
        "type": notice.type.value,
        "body": notice.body,
        "sequence": event.sequence,
    }
