"""The queue of anchor jobs: what is due, who is working on it, what waits.

A job exists from the commit of its checkpoint until the commit that stores its anchor, so nothing is ever lost: a
worker that dies leaves a lease that runs out, and a job done twice is stored once.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from ledger.database.connections import Pool
from ledger.store.reads import database_errors
from ledger.store.values import AnchorJob, AnchorTarget

# An error text comes from far away; this is what an operator needs to see of it.
_MAX_ERROR_CHARACTERS = 500

# A chain is due when it has events after its newest checkpoint that are worth one, and the oldest of them is too old or
# there are too many. The operations chain's note of an anchor of the operations chain itself is not worth one, or each
# checkpoint would cause the next.
_DUE = """
SELECT c.organisation_id, c.chain_id
  FROM indelible.chains AS c
  LEFT JOIN LATERAL (SELECT e.sequence, e.kind
                       FROM indelible.events AS e
                      WHERE e.chain_key = c.chain_key
                        AND e.kind IN ('chain.checkpointed', 'chain.closed')
                      ORDER BY e.sequence DESC
                      LIMIT 1) AS checkpoint ON true
 CROSS JOIN LATERAL (SELECT e.occurred_at
                       FROM indelible.events AS e
                      WHERE e.chain_key = c.chain_key
                        AND e.sequence > coalesce(checkpoint.sequence, 0)
                        AND NOT (e.kind = 'ledger.anchor_obtained'
                                 AND e.payload_jsonb ->> 'chain_id' = 'operations')
                      ORDER BY e.sequence
                      LIMIT 1) AS oldest
 WHERE checkpoint.kind IS DISTINCT FROM 'chain.closed'
   AND (oldest.occurred_at <= extract(epoch FROM now() - %(max_age)s) * 1000000
        OR EXISTS (SELECT FROM indelible.events AS e
                    WHERE e.chain_key = c.chain_key
                      AND e.sequence > coalesce(checkpoint.sequence, 0)
                      AND NOT (e.kind = 'ledger.anchor_obtained'
                               AND e.payload_jsonb ->> 'chain_id' = 'operations')
                   OFFSET %(max_events)s - 1))
 ORDER BY oldest.occurred_at
"""

# SKIP LOCKED lets many workers take jobs at once without waiting for one another; the lease outlives the transaction.
_LEASE = """
WITH target AS (SELECT * FROM unnest(%(backends)s::text[], %(authorities)s::text[]) AS t (backend, authority)),
     due AS (SELECT j.chain_key, j.sequence, j.backend, j.authority
               FROM indelible.anchor_jobs AS j
               JOIN target USING (backend, authority)
              WHERE j.next_attempt_at <= now() AND (j.leased_until IS NULL OR j.leased_until <= now())
              ORDER BY j.next_attempt_at
              LIMIT %(limit)s
                FOR UPDATE OF j SKIP LOCKED)
UPDATE indelible.anchor_jobs AS j
   SET leased_until = now() + %(lease)s, lease_owner = %(owner)s, attempts = j.attempts + 1
  FROM due, indelible.chains AS c
 WHERE (j.chain_key, j.sequence, j.backend, j.authority)
     = (due.chain_key, due.sequence, due.backend, due.authority)
   AND c.chain_key = j.chain_key
RETURNING j.organisation_id, j.chain_key, c.chain_id, j.sequence, j.digest, j.backend, j.authority, j.attempts,
          j.requested_at, j.lease_owner, j.state
"""

# Only the holder may give a lease back: a worker that was too slow must not cut short the lease of the next.
_FAIL = """
UPDATE indelible.anchor_jobs
   SET last_error = %(error)s, next_attempt_at = %(next_attempt_at)s, leased_until = NULL, lease_owner = NULL,
       state = coalesce(%(state)s, state)
 WHERE chain_key = %(chain_key)s AND sequence = %(sequence)s AND backend = %(backend)s AND authority = %(authority)s
   AND lease_owner = %(owner)s
"""

_OLDEST = """
SELECT backend, authority, min(j.requested_at)
  FROM indelible.anchor_jobs AS j
  JOIN unnest(%(backends)s::text[], %(authorities)s::text[]) AS t (backend, authority) USING (backend, authority)
 GROUP BY backend, authority
"""

DROP_JOB = """
DELETE FROM indelible.anchor_jobs
 WHERE chain_key = %(chain_key)s AND sequence = %(sequence)s AND backend = %(backend)s AND authority = %(authority)s
"""


async def due_checkpoints(pool: Pool, *, max_age: timedelta, max_events: int) -> list[tuple[str, str]]:
    """Organisation and chain of every open chain whose newest events are not committed to for too long or too many."""
    parameters = {"max_age": max_age, "max_events": max_events}
    async with database_errors(), pool.connection() as connection:
        cursor = await connection.execute(_DUE, parameters)
        return [(organisation_id, chain_id) for organisation_id, chain_id in await cursor.fetchall()]


async def lease_anchor_jobs(
    pool: Pool, *, owner: str, lease: timedelta, limit: int, authorities: Collection[AnchorTarget]
) -> list[AnchorJob]:
    """Take at most `limit` due jobs of `authorities` for `lease`: until then no other worker gets them."""
    parameters = {
        "owner": owner,
        "lease": lease,
        "limit": limit,
    } | _names(authorities)
    async with database_errors(), pool.connection() as connection:
        cursor = await connection.cursor(binary=True).execute(_LEASE, parameters)
        return [_job(row) for row in await cursor.fetchall()]


async def fail_anchor_job(
    pool: Pool, job: AnchorJob, *, error: str, next_attempt_at: datetime, state: dict[str, Any] | None = None
) -> None:
    """Give a job back with what went wrong, due again at `next_attempt_at`. A `state` replaces the backend's own."""
    parameters = job_key(job) | {
        "owner": job.lease_owner,
        "error": error.replace("\x00", "")[:_MAX_ERROR_CHARACTERS],
        "next_attempt_at": next_attempt_at,
        "state": None if state is None else Jsonb(state),
    }
    async with database_errors(), pool.connection() as connection:
        await connection.execute(_FAIL, parameters)


async def oldest_unanchored(pool: Pool, authorities: Collection[AnchorTarget]) -> dict[AnchorTarget, datetime]:
    """When the longest waiting anchor of each of `authorities` was asked for; nothing for those that nothing waits for.

    What waits for an authority that is no longer configured will never come, and must not drown what is late.
    """
    async with database_errors(), pool.connection() as connection:
        cursor = await connection.execute(_OLDEST, _names(authorities))
        rows = await cursor.fetchall()
        return {AnchorTarget(backend=backend, authority=authority): oldest for backend, authority, oldest in rows}


async def pending_anchor_counts(pool: Pool) -> dict[AnchorTarget, int]:
    """How many anchors wait for each authority, whoever is configured."""
    query = "SELECT backend, authority, count(*) FROM indelible.anchor_jobs GROUP BY backend, authority"
    async with database_errors(), pool.connection() as connection:
        cursor = await connection.execute(query)
        rows = await cursor.fetchall()
        return {AnchorTarget(backend=backend, authority=authority): count for backend, authority, count in rows}


def job_key(job: AnchorJob) -> dict[str, Any]:
    """The parameters that name a job and the anchor it leads to."""
    return {
        "chain_key": job.chain_key,
        "sequence": job.sequence,
        "backend": job.backend,
        "authority": job.authority,
    }


def _names(authorities: Collection[AnchorTarget]) -> dict[str, Any]:
    return {
        "backends": [target.backend for target in authorities],
        "authorities": [target.authority for target in authorities],
    }


def _job(row: tuple[Any, ...]) -> AnchorJob:
    organisation_id, chain_key, chain_id, sequence, digest, backend, authority, attempts, requested_at, *lease = row
    return AnchorJob(
        organisation_id=organisation_id,
        chain_key=chain_key,
        chain_id=chain_id,
        sequence=sequence,
        digest=bytes(digest),
        backend=backend,
        authority=authority,
        attempts=attempts,
        requested_at=requested_at,
        lease_owner=lease[0],
        state=lease[1],
    )
