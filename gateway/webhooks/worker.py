"""The worker's part of webhooks: follow the chains, send what is due, forget what is old.

Any number of workers may run: turns and leases are the database's.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from gateway.webhooks.following import LOOK_SECONDS, LedgerOf, follow_once
from gateway.webhooks.metrics import WebhookMetrics
from gateway.webhooks.queue import Parcel, backlog, claim, prune, settle
from gateway.webhooks.sealing import Sealer, SealingError
from gateway.webhooks.sending import Attempt, Sender
from gateway.webhooks.signing import TOLERANCE_SECONDS
from ledger.database.connections import Pool
from ledger.messaging.connection import wait_for_stop

LANES = 8
IDLE_SECONDS = 0.5
PRUNE_SECONDS = 600.0
COUNT_SECONDS = 10.0
_FAILURE_SECONDS = 2.0
# Twice as long as a signature is believed: nothing that is forgotten could still be replayed.
_SEEN_SECONDS = 2 * TOLERANCE_SECONDS

_FORGET_SEEN = """
DELETE FROM gateway.alerts_seen AS seen USING gateway.alert_sources AS source
 WHERE source.alert_source_id = seen.alert_source_id AND source.scheme = 'standard' AND seen.received_at < %s
"""

_log = structlog.stdlib.get_logger("gateway.webhooks")


async def run_webhooks(  # noqa: PLR0913 - what the work is done with
    pool: Pool,
    ledger_of: LedgerOf,
    stop: asyncio.Event,
    *,
    sealer: Sealer,
    sender: Sender,
    metrics: WebhookMetrics,
) -> None:
    """Work until `stop` is set. What is being sent then is sent again later, under the same id."""
    work: list[Callable[[], Awaitable[float]]] = [
        lambda: _follow(pool, ledger_of),
        lambda: _prune(pool),
        lambda: _count(pool, metrics),
        *([lambda: _send(pool, sealer, sender, metrics)] * LANES),
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_repeat(one, stop)) for one in work]
        await stop.wait()
        for task in tasks:
            task.cancel()


async def _repeat(work: Callable[[], Awaitable[float]], stop: asyncio.Event) -> None:
    """Do it again and again, with the pauses it asks for; an error of one turn is not the end of all."""
    while not stop.is_set():
        try:
            pause = await work()
        except Exception as error:  # noqa: BLE001 - the database may be away, and comes back
            _log.warning("webhook_work_failed", error=str(error) or type(error).__name__, exc_info=error)
            pause = _FAILURE_SECONDS
        await wait_for_stop(stop, pause * random.uniform(0.7, 1.0))  # noqa: S311 - spreads load only


async def _follow(pool: Pool, ledger_of: LedgerOf) -> float:
    read = await follow_once(pool, ledger_of)
    return LOOK_SECONDS / 4 if read is None else 0.0


async def _send(pool: Pool, sealer: Sealer, sender: Sender, metrics: WebhookMetrics) -> float:
    parcel = await claim(pool)
    if parcel is None:
        return IDLE_SECONDS
    attempt = await _attempt(parcel, sealer, sender)
    state = await settle(pool, parcel, attempt)
    metrics.attempts.labels("accepted" if attempt.accepted else "failed").inc()
    (_log.info if attempt.accepted else _log.warning)(
        "webhook_attempt",
        organisation_id=parcel.organisation_id,
        endpoint_id=str(parcel.endpoint_id),
        delivery_id=str(parcel.delivery_id),
        type=parcel.type,
        number=parcel.number,
        status=attempt.status,
        problem=attempt.problem,
        state=state,
    )
    return 0.0


async def _attempt(parcel: Parcel, sealer: Sealer, sender: Sender) -> Attempt:
    try:
        secrets = [sealer.open(one) for one in parcel.sealed_secrets]
    except SealingError as error:
        return Attempt(status=None, seconds=0.0, problem=f"it cannot be signed: {error}", answer="")
    return await sender.send(parcel.url, secrets, parcel.message_id, parcel.body)


async def _prune(pool: Pool) -> float:
    forgotten = await prune(pool)
    now_us = time.time_ns() // 1000
    async with pool.connection() as connection:
        await connection.execute(_FORGET_SEEN, (now_us - _SEEN_SECONDS * 1_000_000,))
    if forgotten:
        _log.info("webhook_deliveries_forgotten", count=forgotten)
        return 0.0
    return PRUNE_SECONDS


async def _count(pool: Pool, metrics: WebhookMetrics) -> float:
    waiting = await backlog(pool)
    metrics.pending.set(waiting.pending)
    metrics.dead.set(waiting.dead)
    age = max(0.0, time.time() - waiting.oldest_pending_us / 1e6) if waiting.oldest_pending_us else 0.0
    metrics.oldest_pending_seconds.set(age)
    return COUNT_SECONDS
