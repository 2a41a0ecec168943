"""Decisions on their way to the operations chain: kept in the records, relayed at least once, with effect once.

1. Decisions of one organisation that wait become a batch, with a name that is committed before anything is sent.
2. The batch is appended as `access.decided` events under that name as idempotency key. After a crash or a lost answer
   it is sent again as it was; the ledger then repeats its first answer.
3. The rows are marked as sent, and removed after a while: the ledger has them for ever.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import structlog
from prometheus_client import CollectorRegistry, Gauge
from psycopg.rows import class_row
from psycopg_pool import PoolTimeout

from gateway.auth.values import OPERATIONS_CHAIN
from ledger.client import ClientError, LedgerClient, NewEvent
from ledger.database.connections import Connection, Pool

KIND = "access.decided"
SUBJECT = "gateway"
SCOPES = ("ledger:append", "ledger:decisions")
MAX_BATCH = 500
IDLE_SECONDS = 0.5
# A batch that somebody sends is left alone for this long.
LEASE = timedelta(seconds=60)
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
# Whoever looks for a decision of yesterday may still find it beside the chain.
KEPT = timedelta(days=7)
TRIM_EVERY_SECONDS = 300.0
COUNT_EVERY_SECONDS = 10.0
# In one transaction.
MAX_TRIMMED = 10_000

# The batch that waits longest, or the next decisions of the organisation that waits longest, as a new batch.
_TAKE_OLD = """
SELECT batch_id FROM gateway.decisions
 WHERE sent_at IS NULL AND batch_id IS NOT NULL AND next_attempt_at <= now()
 ORDER BY decision_id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_TAKE_NEW = """
WITH waiting AS (
    SELECT organisation_id FROM gateway.decisions
     WHERE sent_at IS NULL AND batch_id IS NULL
     ORDER BY decision_id LIMIT 1
)
SELECT decision_id FROM gateway.decisions
 WHERE sent_at IS NULL AND batch_id IS NULL AND organisation_id = (SELECT organisation_id FROM waiting)
 ORDER BY decision_id LIMIT %s FOR UPDATE SKIP LOCKED
"""
_NAME = "UPDATE gateway.decisions SET batch_id = %s WHERE decision_id = ANY(%s)"
_LEASE = """
UPDATE gateway.decisions SET attempts = attempts + 1, next_attempt_at = now() + %s
 WHERE batch_id = %s AND sent_at IS NULL
"""
_BATCH = """
SELECT decision_id, organisation_id, decided_at, subject, credential_id, action, kind, resource_id, outcome, policies,
       request_id, attempts
  FROM gateway.decisions
 WHERE batch_id = %s AND sent_at IS NULL
 ORDER BY decision_id
"""
_SENT = "UPDATE gateway.decisions SET sent_at = now() WHERE batch_id = %s AND sent_at IS NULL"
_AGAIN = "UPDATE gateway.decisions SET next_attempt_at = now() + %s WHERE batch_id = %s AND sent_at IS NULL"
_TRIM = """
DELETE FROM gateway.decisions
 WHERE decision_id IN (SELECT decision_id FROM gateway.decisions WHERE sent_at < now() - %s::interval LIMIT %s)
"""

_WAITING = """
SELECT count(*), coalesce(greatest(extract(epoch FROM now()) - min(decided_at) / 1e6, 0), 0)::float8
  FROM gateway.decisions WHERE sent_at IS NULL
"""

LedgerOf = Callable[[str, str, Collection[str]], LedgerClient]
_log = structlog.stdlib.get_logger("gateway.decisions")


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingDecision:
    """A decision that is not on its chain yet."""

    decision_id: int
    organisation_id: str
    decided_at: int
    subject: str
    credential_id: str | None
    action: str
    kind: str
    resource_id: str
    outcome: str
    policies: list[str]
    request_id: str
    attempts: int

    def event(self) -> NewEvent:
        """What the operations chain is told."""
        payload: dict[str, Any] = {
            "decision_id": self.decision_id,
            "decided_at": self.decided_at,
            "subject": self.subject,
            "action": self.action,
            "resource": {"kind": self.kind, "id": self.resource_id},
            "outcome": self.outcome,
            "policies": self.policies,
            "request_id": self.request_id,
        }
        if self.credential_id is not None:
            payload["credential_id"] = self.credential_id
        return NewEvent(kind=KIND, payload=payload)


class RelayMetrics:
    """What operators watch of decisions; the gauges say the same in every worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.waiting = Gauge(
            "indelible_decisions_waiting", "Decisions that are not on an operations chain yet.", registry=registry
        )
        self.oldest_waiting_seconds = Gauge(
            "indelible_decisions_oldest_waiting_seconds",
            "Age of the oldest decision that is not on an operations chain yet; 0 when none is.",
            registry=registry,
        )


async def relay_decisions(pool: Pool, ledger_of: LedgerOf, metrics: RelayMetrics, stop: asyncio.Event) -> None:
    """Relay until `stop` is set; whatever fails in passing is tried again."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_every(COUNT_EVERY_SECONDS, lambda: count(pool, metrics), stop))
        tasks.create_task(_every(TRIM_EVERY_SECONDS, lambda: trim(pool), stop))
        while not stop.is_set():
            try:
                busy = await relay_once(pool, ledger_of)
            except (psycopg.Error, PoolTimeout) as error:
                _log.warning("decisions_wait", error=type(error).__name__)
                busy = False
            if not busy:
                await _pause(stop, IDLE_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load only


async def relay_once(pool: Pool, ledger_of: LedgerOf) -> bool:
    """Relay one batch, if any waits. Whether there was one. Raises psycopg.Error, PoolTimeout."""
    async with pool.connection() as connection, connection.transaction():
        batch_id = await _take(connection)
        if batch_id is None:
            return False
        await connection.execute(_LEASE, (LEASE, batch_id))
        cursor = connection.cursor(row_factory=class_row(WaitingDecision))
        batch = await (await cursor.execute(_BATCH, (batch_id,))).fetchall()
    if not batch:
        return True
    organisation_id, attempts = batch[0].organisation_id, batch[0].attempts
    try:
        await ledger_of(organisation_id, SUBJECT, SCOPES).append_events(
            OPERATIONS_CHAIN, [one.event() for one in batch], idempotency_key=f"{KIND}:{batch_id}"
        )
    except ClientError as error:
        pause = min(FIRST_RETRY_SECONDS * 2 ** min(attempts - 1, 10), LONGEST_RETRY_SECONDS)
        _log.warning(
            "decisions_not_relayed",
            organisation_id=organisation_id,
            count=len(batch),
            reason=error.reason,
            again_in=pause,
        )
        async with pool.connection() as connection:
            await connection.execute(_AGAIN, (timedelta(seconds=pause), batch_id))
        return True
    # Dying here is harmless: the batch is sent again under the same name, and appended once.
    async with pool.connection() as connection:
        await connection.execute(_SENT, (batch_id,))
    return True


async def trim(pool: Pool) -> None:
    """Remove all decisions that have been on their chain for a while. Raises psycopg.Error, PoolTimeout."""
    removed = MAX_TRIMMED
    while removed == MAX_TRIMMED:
        async with pool.connection() as connection:
            removed = (await connection.execute(_TRIM, (KEPT, MAX_TRIMMED))).rowcount


async def count(pool: Pool, metrics: RelayMetrics) -> None:
    """Say how many decisions wait, and for how long. Raises psycopg.Error, PoolTimeout."""
    async with pool.connection() as connection:
        row = await (await connection.execute(_WAITING)).fetchone()
    waiting, oldest = row or (0, 0.0)
    metrics.waiting.set(waiting)
    metrics.oldest_waiting_seconds.set(oldest)


async def _every(seconds: float, work: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await work()
        except (psycopg.Error, PoolTimeout) as error:
            _log.warning("decisions_upkeep_failed", error=type(error).__name__)
        await _pause(stop, seconds)


async def _take(connection: Connection) -> UUID | None:
    """The batch to send now, named and locked; None when nothing waits."""
    row = await (await connection.execute(_TAKE_OLD)).fetchone()
    if row is not None:
        found: UUID = row[0]
        return found
    rows = await (await connection.execute(_TAKE_NEW, (MAX_BATCH,))).fetchall()
    if not rows:
        return None
    batch_id = uuid4()
    await connection.execute(_NAME, (batch_id, [row[0] for row in rows]))
    return batch_id


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
