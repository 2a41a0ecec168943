"""Anchors: what was obtained and what is still asked for, and the storing of an anchor.

An anchor is stored in the transaction that ends its job and notes it on the operations chain. It holds the operations
chain's lock, and the primary key makes a job done twice an anchor stored once.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ledger.database.connections import Connection, Pool
from ledger.store.anchor_jobs import DROP_JOB, job_key
from ledger.store.reads import find_chain, organisation_transaction
from ledger.store.values import AnchorJob, AnchorStatus, AnchorTarget, Evidence, NewEvent, StoredAnchor
from ledger.timestamps import rfc3339

NOT_CONFIGURED = "this authority is no longer configured, so it is not asked"

# Jobs and anchors share a key; while a job's anchor is already stored, the anchor counts.
_STATUSES = """
SELECT sequence, digest, backend, authority, state, attempts, last_error, requested_at, next_attempt_at,
       obtained_at, anchored_at
  FROM (SELECT j.sequence, j.digest, j.backend, j.authority, 'pending' AS state, j.attempts, j.last_error,
               j.requested_at, j.next_attempt_at, NULL::timestamptz AS obtained_at, NULL::timestamptz AS anchored_at
          FROM indelible.anchor_jobs AS j
         WHERE j.chain_key = %(chain_key)s
           AND NOT EXISTS (SELECT FROM indelible.anchors AS a
                            WHERE (a.chain_key, a.sequence, a.backend, a.authority)
                                = (j.chain_key, j.sequence, j.backend, j.authority))
        UNION ALL
        SELECT a.sequence, a.digest, a.backend, a.authority, 'obtained', a.attempts, '', a.requested_at, NULL,
               a.obtained_at, a.anchored_at
          FROM indelible.anchors AS a
         WHERE a.chain_key = %(chain_key)s) AS known
 WHERE (sequence, backend, authority)
       > (%(sequence)s, %(backend)s, %(authority)s)
 ORDER BY sequence, backend, authority
 LIMIT %(limit)s
"""

_STORED = """
SELECT a.sequence, a.digest, a.backend, a.authority, a.request, a.response, a.obtained_at, a.anchored_at,
       ARRAY(SELECT v.kind FROM indelible.anchor_evidence AS v
              WHERE (v.chain_key, v.sequence, v.backend, v.authority)
                  = (a.chain_key, a.sequence, a.backend, a.authority)
              ORDER BY v.kind, v.der),
       ARRAY(SELECT v.der FROM indelible.anchor_evidence AS v
              WHERE (v.chain_key, v.sequence, v.backend, v.authority)
                  = (a.chain_key, a.sequence, a.backend, a.authority)
              ORDER BY v.kind, v.der)
  FROM indelible.anchors AS a
 WHERE a.chain_key = %(chain_key)s
 ORDER BY a.sequence, a.backend, a.authority
"""

_STORE_ANCHOR = """
INSERT INTO indelible.anchors (organisation_id, chain_key, sequence, digest, backend, authority, request, response,
                               attempts, requested_at, obtained_at, anchored_at)
VALUES (%(organisation_id)s, %(chain_key)s, %(sequence)s, %(digest)s, %(backend)s, %(authority)s, %(request)s,
        %(response)s, %(attempts)s, %(requested_at)s, now(), %(anchored_at)s)
    ON CONFLICT DO NOTHING
"""

_STORE_EVIDENCE = """
INSERT INTO indelible.anchor_evidence (organisation_id, chain_key, sequence, backend, authority, kind, der)
VALUES (%(organisation_id)s, %(chain_key)s, %(sequence)s, %(backend)s, %(authority)s, %(kind)s, %(der)s)
"""


async def list_anchors(  # noqa: PLR0913 - whose, which page, and what is configured
    pool: Pool,
    organisation_id: str,
    chain_id: str,
    *,
    limit: int,
    after: tuple[int, str, str] | None,
    configured: Collection[AnchorTarget],
) -> list[AnchorStatus]:
    """At most `limit` anchors, obtained and pending, by sequence, backend and authority, those past `after`.

    One that is pending at an authority that is not `configured` says so, and has no next attempt.
    """
    sequence, backend, authority = after or (0, "", "")
    async with organisation_transaction(pool, organisation_id) as connection:
        chain = await find_chain(connection, organisation_id, chain_id)
        parameters = {
            "chain_key": chain.chain_key,
            "sequence": sequence,
            "backend": backend,
            "authority": authority,
            "limit": limit,
        }
        cursor = await connection.cursor(binary=True).execute(_STATUSES, parameters)
        return [_as_configured(_status(row), configured) for row in await cursor.fetchall()]


async def stored_anchors(pool: Pool, organisation_id: str, chain_id: str) -> list[StoredAnchor]:
    """Every obtained anchor of a chain with its raw bytes and evidence."""
    async with organisation_transaction(pool, organisation_id) as connection:
        chain = await find_chain(connection, organisation_id, chain_id)
        cursor = await connection.cursor(binary=True).execute(_STORED, {"chain_key": chain.chain_key})
        return [_stored(row) for row in await cursor.fetchall()]


async def store_anchor(  # noqa: PLR0913 - an anchor has this many parts
    connection: Connection,
    job: AnchorJob,
    *,
    request: bytes,
    response: bytes,
    anchored_at: datetime,
    evidence: Sequence[Evidence],
) -> None:
    """Store a verified anchor and end its job, in the transaction that notes it on the operations chain.

    Runs on the append role's connection, after its `indelible.organisation` is set. When that transaction is rolled
    back, the job is still there and is done again.
    """
    anchor = {
        "organisation_id": job.organisation_id,
        "digest": job.digest,
        "request": request,
        "response": response,
        "attempts": job.attempts,
        "requested_at": job.requested_at,
        "anchored_at": anchored_at,
    }
    stored = await connection.execute(_STORE_ANCHOR, job_key(job) | anchor)
    if stored.rowcount:
        for item in evidence:
            piece = {"organisation_id": job.organisation_id, "kind": item.kind, "der": item.der}
            await connection.execute(_STORE_EVIDENCE, job_key(job) | piece)
    await connection.execute(DROP_JOB, job_key(job))


def anchor_obtained_event(job: AnchorJob, *, response: bytes, anchored_at: datetime) -> NewEvent:
    """What the operations chain says of an anchor."""
    return NewEvent(
        kind="ledger.anchor_obtained",
        payload=json.dumps(
            {
                "chain_id": job.chain_id,
                "sequence": job.sequence,
                "digest": job.digest.hex(),
                "backend": job.backend,
                "authority": job.authority,
                "anchored_at": rfc3339(anchored_at),
                "response_sha256": hashlib.sha256(response).hexdigest(),
            }
        ).encode(),
    )


def _status(row: tuple[Any, ...]) -> AnchorStatus:
    (sequence, digest, backend, authority, state, attempts, last_error, requested_at, next_attempt_at, *obtained) = row
    return AnchorStatus(
        sequence=sequence,
        digest=bytes(digest),
        backend=backend,
        authority=authority,
        state=state,
        attempts=attempts,
        last_error=last_error,
        requested_at=requested_at,
        next_attempt_at=next_attempt_at,
        obtained_at=obtained[0],
        anchored_at=obtained[1],
    )


def _as_configured(status: AnchorStatus, configured: Collection[AnchorTarget]) -> AnchorStatus:
    if status.state != "pending" or AnchorTarget(backend=status.backend, authority=status.authority) in configured:
        return status
    last = f"; the last attempt said: {status.last_error}" if status.last_error else ""
    return replace(status, last_error=f"{NOT_CONFIGURED}{last}", next_attempt_at=None)


def _stored(row: tuple[Any, ...]) -> StoredAnchor:
    sequence, digest, backend, authority, request, response, obtained_at, anchored_at, kinds, files = row
    return StoredAnchor(
        sequence=sequence,
        digest=bytes(digest),
        backend=backend,
        authority=authority,
        request=bytes(request),
        response=bytes(response),
        obtained_at=obtained_at,
        anchored_at=anchored_at,
        evidence=tuple(Evidence(kind=kind, der=bytes(der)) for kind, der in zip(kinds, files, strict=True)),
    )
