"""The queue of deliveries, for the worker: PostgreSQL is the only one.

A worker leases a delivery, sends it, and settles it in one transaction with the line of its log. A worker that dies in
between leaves the lease to run out: the message is then sent again, with the same id, by which the receiver knows it.
So a message is delivered at least once, and is never lost.
"""

import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from gateway.webhooks.secrets_kept import VALID
from gateway.webhooks.sending import Attempt
from ledger.database.connections import Pool

# From one try to the next: about a day altogether, often while the trouble may be short.
PAUSES_SECONDS = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 36_000)
LEASE_SECONDS = 60
# One slow endpoint takes this many of a worker's lanes at most, and all those of one organisation so many: what they
# leave is for the others.
IN_FLIGHT_PER_ENDPOINT = 4
IN_FLIGHT_PER_ORGANISATION = 6
KEEP_DELIVERED_DAYS = 30
KEEP_DEAD_DAYS = 90
_PRUNE_BATCH = 1_000

_CLAIM = """
WITH busy AS MATERIALIZED (
    SELECT organisation_id, endpoint_id
      FROM gateway.webhook_deliveries
     WHERE state = 'PENDING' AND leased_until > now()
), due AS (
    SELECT d.delivery_id
      FROM gateway.webhook_deliveries AS d
      JOIN gateway.webhook_endpoints AS e USING (endpoint_id)
     WHERE d.state = 'PENDING' AND d.next_attempt_at <= now() AND (d.leased_until IS NULL OR d.leased_until <= now())
       AND e.disabled_at IS NULL
       AND d.endpoint_id NOT IN (SELECT endpoint_id FROM busy GROUP BY endpoint_id HAVING count(*) >= %(of_endpoint)s)
       AND d.organisation_id NOT IN (SELECT organisation_id FROM busy
                                      GROUP BY organisation_id HAVING count(*) >= %(of_organisation)s)
     ORDER BY d.next_attempt_at
     LIMIT 1
       FOR UPDATE OF d SKIP LOCKED
)
UPDATE gateway.webhook_deliveries AS d
   SET leased_until = now() + %(lease)s, attempts = d.attempts + 1, tries = d.tries + 1
  FROM due, gateway.webhook_endpoints AS e
 WHERE d.delivery_id = due.delivery_id AND e.endpoint_id = d.endpoint_id
RETURNING d.delivery_id, d.organisation_id, d.endpoint_id, e.url, d.message_id, d.type, d.body, d.attempts, d.tries
"""
_LOG = """
INSERT INTO gateway.webhook_attempts
       (delivery_id, organisation_id, number, attempted_at, milliseconds, status, problem, answer)
VALUES (%(delivery_id)s, %(organisation_id)s, %(number)s, %(at)s, %(milliseconds)s, %(status)s, %(problem)s, %(answer)s)
    ON CONFLICT DO NOTHING
"""
# Only the attempt that holds the delivery now settles it: the number of the attempt is the lease's.
_SETTLE = """
UPDATE gateway.webhook_deliveries
   SET state = %(state)s, leased_until = NULL, ended_at = %(ended_at)s, next_attempt_at = now() + %(pause)s
 WHERE delivery_id = %(delivery_id)s AND attempts = %(number)s AND state = 'PENDING'
"""
_DISABLE = """
UPDATE gateway.webhook_endpoints
   SET disabled_at = %s, disabled_by = 'gateway', disabled_reason = 'it answered that it is gone (status 410)'
 WHERE endpoint_id = %s AND disabled_at IS NULL
"""
_PRUNE = """
DELETE FROM gateway.webhook_deliveries
 WHERE delivery_id IN (SELECT delivery_id FROM gateway.webhook_deliveries
                        WHERE state <> 'PENDING'
                          AND ended_at < CASE state WHEN 'DELIVERED' THEN %(delivered)s ELSE %(dead)s END
                        LIMIT %(limit)s)
"""
# Whoever was removed is never told; the log says that it was not.
_GIVE_UP = """
UPDATE gateway.webhook_deliveries AS d
   SET state = 'DEAD', leased_until = NULL, ended_at = %s
  FROM gateway.webhook_endpoints AS e
 WHERE e.endpoint_id = d.endpoint_id AND e.removed_at IS NOT NULL AND d.state = 'PENDING'
"""
# What waits for an endpoint that was switched off is nobody's to look after.
_COUNTS = """
SELECT count(*) FILTER (WHERE d.state = 'PENDING' AND e.disabled_at IS NULL), count(*) FILTER (WHERE d.state = 'DEAD'),
       coalesce(min(d.created_at) FILTER (WHERE d.state = 'PENDING' AND e.disabled_at IS NULL), 0)
  FROM gateway.webhook_deliveries AS d JOIN gateway.webhook_endpoints AS e USING (endpoint_id)
 WHERE d.state <> 'DELIVERED'
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """A delivery that this process has leased."""

    delivery_id: UUID
    organisation_id: str
    endpoint_id: UUID
    url: str
    message_id: str
    type: str
    body: bytes
    number: int
    tries: int
    sealed_secrets: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """How many messages wait for endpoints that are told, and since when (microseconds since 1970, 0: none waits).

    `dead` were given up.
    """

    pending: int
    dead: int
    oldest_pending_us: int


async def claim(pool: Pool) -> Parcel | None:
    """The delivery that is due longest, leased; None when none is."""
    wanted = {
        "of_endpoint": IN_FLIGHT_PER_ENDPOINT,
        "of_organisation": IN_FLIGHT_PER_ORGANISATION,
        "lease": timedelta(seconds=LEASE_SECONDS),
    }
    async with pool.connection() as connection, connection.transaction():
        row = await (await connection.execute(_CLAIM, wanted)).fetchone()
        if row is None:
            return None
        (delivery_id, organisation_id, endpoint_id, url, message_id, kind, body, number, tries) = row
        found = await connection.execute(VALID["endpoint_id"], (endpoint_id, time.time_ns() // 1000))
        sealed = tuple(bytes(one[0]) for one in await found.fetchall())
    return Parcel(
        delivery_id=delivery_id,
        organisation_id=organisation_id,
        endpoint_id=endpoint_id,
        url=url,
        message_id=message_id,
        type=kind,
        body=bytes(body),
        number=number,
        tries=tries,
        sealed_secrets=sealed,
    )


async def settle(pool: Pool, parcel: Parcel, attempt: Attempt) -> str:
    """Write down how an attempt went and what follows from it: DELIVERED, PENDING (again later) or DEAD."""
    now_us = time.time_ns() // 1000
    exhausted = attempt.gone or parcel.tries > len(PAUSES_SECONDS)
    state = "DELIVERED" if attempt.accepted else "DEAD" if exhausted else "PENDING"
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(_LOG, _line(parcel, attempt, now_us))
        await connection.execute(
            _SETTLE,
            {
                "delivery_id": parcel.delivery_id,
                "number": parcel.number,
                "state": state,
                "ended_at": None if state == "PENDING" else now_us,
                "pause": pause_after(parcel.tries, attempt) if state == "PENDING" else timedelta(),
            },
        )
        if attempt.gone:
            await connection.execute(_DISABLE, (now_us, parcel.endpoint_id))
    return state


def pause_after(tries: int, attempt: Attempt) -> timedelta:
    """How long to wait after the try of this number, from 1; at least as long as the receiver asked for."""
    seconds = PAUSES_SECONDS[min(tries, len(PAUSES_SECONDS)) - 1]
    # Later, never earlier: receivers that came back must not meet everything at once.
    spread = seconds * random.uniform(1.0, 1.2)  # noqa: S311 - spreads retries, hides nothing
    return timedelta(seconds=max(spread, attempt.retry_after_seconds or 0))


async def prune(pool: Pool) -> int:
    """Forget what ended long ago; how many deliveries that were. What waits for a removed endpoint is given up."""
    now_us = time.time_ns() // 1000
    day_us = 86_400_000_000
    wanted = {
        "delivered": now_us - KEEP_DELIVERED_DAYS * day_us,
        "dead": now_us - KEEP_DEAD_DAYS * day_us,
        "limit": _PRUNE_BATCH,
    }
    async with pool.connection() as connection:
        await connection.execute(_GIVE_UP, (now_us,))
        return (await connection.execute(_PRUNE, wanted)).rowcount


async def backlog(pool: Pool) -> Backlog:
    """How much waits."""
    async with pool.connection() as connection:
        row = await (await connection.execute(_COUNTS)).fetchone()
    pending, dead, oldest = row or (0, 0, 0)
    return Backlog(pending=pending, dead=dead, oldest_pending_us=oldest)


def _line(parcel: Parcel, attempt: Attempt, now_us: int) -> dict[str, Any]:
    milliseconds = round(attempt.seconds * 1000)
    return {
        "delivery_id": parcel.delivery_id,
        "organisation_id": parcel.organisation_id,
        "number": parcel.number,
        "at": now_us - milliseconds * 1000,
        "milliseconds": milliseconds,
        "status": attempt.status,
        "problem": attempt.problem,
        # PostgreSQL keeps no NUL in a text; what is printable has none.
        "answer": attempt.answer,
    }
