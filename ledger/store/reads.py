"""Reads for callers: as the runtime role, under row-level security, in a transaction that names the organisation."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

from ledger.chain.event import CLOSED, Event, is_kind
from ledger.database.connections import Connection, Pool
from ledger.errors import LedgerError, Reason
from ledger.store.values import Chain
from ledger.timestamps import moment

# Events of one batch. 1,000 is also the largest page a caller may ask for.
BATCH_EVENTS = 1_000
# Payload bytes of one batch (a batch of one may be larger): 1,000 payloads of 256 KiB would be 256 MiB.
BATCH_BYTES = 1_048_576

# A chain and its newest event; there is no second copy of the head that could disagree with the events.
_CHAIN = """
SELECT c.chain_key, c.chain_id, c.organisation_id, o.name, c.type, c.subject, c.opened_at,
       newest.sequence, newest.hash, newest.kind, newest.occurred_at, ended.ended_at, ended.closes_by
  FROM indelible.chains AS c
  JOIN indelible.organisations AS o USING (organisation_id)
  LEFT JOIN indelible.session_ends AS ended USING (chain_key)
 CROSS JOIN LATERAL (SELECT e.sequence, e.hash, e.kind, e.occurred_at
                       FROM indelible.events AS e
                      WHERE e.chain_key = c.chain_key
                      ORDER BY e.sequence DESC
                      LIMIT 1) AS newest
 WHERE c.organisation_id = %(organisation_id)s
"""

_CHAIN_BY_ID = _CHAIN + " AND c.chain_id = %(chain_id)s"

_CHAINS = (
    _CHAIN
    + """
   AND (%(after)s::text IS NULL OR c.chain_id > %(after)s)
   AND (%(state)s::text IS NULL
        OR CASE WHEN newest.kind = 'chain.closed' THEN 'closed'
                WHEN ended.sequence IS NOT NULL THEN 'ended'
                ELSE 'open' END = %(state)s)
 ORDER BY c.chain_id
 LIMIT %(limit)s
"""
)

# The inner limit bounds the scan, the running sum bounds the bytes; the first row always fits.
_BATCH = """
SELECT sequence, prev_hash, kind, payload, occurred_at, hash
  FROM (SELECT page.*, sum(octet_length(payload)) OVER (ORDER BY sequence) - octet_length(payload) AS bytes_before
          FROM (SELECT e.sequence, e.prev_hash, e.kind, e.payload, e.occurred_at, e.hash
                  FROM indelible.events AS e
                 WHERE e.chain_key = %(chain_key)s AND e.sequence >= %(from_sequence)s
                 ORDER BY e.sequence
                 LIMIT %(limit)s) AS page) AS sized
 WHERE bytes_before < %(max_bytes)s
 ORDER BY sequence
"""

_PAGE = """
SELECT e.sequence, e.prev_hash, e.kind, e.payload, e.occurred_at, e.hash
  FROM indelible.events AS e
 WHERE e.chain_key = %(chain_key)s AND e.sequence >= %(from_sequence)s
   AND (%(kinds)s::text[] IS NULL OR e.kind = ANY (%(kinds)s::text[]))
 ORDER BY e.sequence
 LIMIT %(limit)s
"""

_DISCLOSURES = """
SELECT d.sequence, d.disclosure
  FROM indelible.disclosures AS d
 WHERE d.chain_key = %(chain_key)s
 ORDER BY d.sequence, d.disclosure COLLATE "C"
"""


async def get_chain(pool: Pool, organisation_id: str, chain_id: str) -> Chain:
    """The chain as it stands. Raises `LedgerError` CHAIN_NOT_FOUND, also for a chain of another organisation."""
    async with organisation_transaction(pool, organisation_id) as connection:
        return await find_chain(connection, organisation_id, chain_id)


async def list_chains(
    pool: Pool, organisation_id: str, *, limit: int, after: str | None, state: str | None
) -> list[Chain]:
    """At most `limit` chains in order of chain id, those past `after`, of `state` ("open", "ended" ...) when given."""
    async with organisation_transaction(pool, organisation_id) as connection:
        parameters = {"organisation_id": organisation_id, "after": after, "state": state, "limit": limit}
        cursor = await connection.cursor(binary=True).execute(_CHAINS, parameters)
        return [_chain(row) for row in await cursor.fetchall()]


async def list_events(  # noqa: PLR0913 - which chain, and which page of it
    pool: Pool, organisation_id: str, chain_id: str, *, from_sequence: int, limit: int, kinds: Sequence[str] = ()
) -> list[Event]:
    """At most `limit` events from `from_sequence` on, of the given kinds when any are given."""
    # What is no kind matches no event, and may hold characters that PostgreSQL cannot even compare with.
    wanted = [kind for kind in kinds if is_kind(kind)]
    async with organisation_transaction(pool, organisation_id) as connection:
        chain = await find_chain(connection, organisation_id, chain_id)
        parameters = {
            "chain_key": chain.chain_key,
            "from_sequence": from_sequence,
            "limit": limit,
            "kinds": wanted if kinds else None,
        }
        cursor = await connection.cursor(binary=True).execute(_PAGE, parameters)
        return [event_of(row) for row in await cursor.fetchall()]


async def list_disclosures(pool: Pool, organisation_id: str, chain_id: str) -> list[tuple[int, str]]:
    """Sequence and disclosure of every sealed member that was not erased, in that order."""
    async with organisation_transaction(pool, organisation_id) as connection:
        chain = await find_chain(connection, organisation_id, chain_id)
        cursor = await connection.execute(_DISCLOSURES, {"chain_key": chain.chain_key})
        return [(sequence, disclosure) for sequence, disclosure in await cursor.fetchall()]


@asynccontextmanager
async def organisation_transaction(
    pool: Pool, organisation_id: str, *, snapshot: bool = False
) -> AsyncIterator[Connection]:
    """A transaction that sees one organisation only; with `snapshot`, as of one moment however long it lasts.

    Raises `LedgerError` DATABASE_UNAVAILABLE when there is no connection to be had or it breaks.
    """
    async with database_errors(), pool.connection() as connection, connection.transaction():
        if snapshot:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await connection.execute("SELECT set_config('indelible.organisation', %s, true)", (organisation_id,))
        yield connection


@asynccontextmanager
async def database_errors() -> AsyncIterator[None]:
    """Turn a lost or refused connection into `LedgerError` DATABASE_UNAVAILABLE: safe to try again."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
        raise LedgerError(Reason.DATABASE_UNAVAILABLE, "the database cannot be reached; try again") from error


async def find_chain(connection: Connection, organisation_id: str, chain_id: str) -> Chain:
    """As `get_chain`, inside a transaction of the caller's."""
    row = None
    # Every chain id is ASCII; PostgreSQL refuses some other characters with errors of their own.
    if chain_id.isascii() and chain_id.isprintable():
        parameters = {"organisation_id": organisation_id, "chain_id": chain_id}
        cursor = await connection.cursor(binary=True).execute(_CHAIN_BY_ID, parameters)
        row = await cursor.fetchone()
    if row is None:
        raise LedgerError(Reason.CHAIN_NOT_FOUND, f"there is no chain {chain_id!r} here", {"chain_id": chain_id})
    return _chain(row)


async def read_batch(
    connection: Connection, chain_key: int, from_sequence: int, *, limit: int = BATCH_EVENTS
) -> list[Event]:
    """The next events from `from_sequence` on: as many as `limit` and `BATCH_BYTES` allow, at least one if any is."""
    parameters = {
        "chain_key": chain_key,
        "from_sequence": from_sequence,
        "limit": limit,
        "max_bytes": BATCH_BYTES,
    }
    cursor = await connection.cursor(binary=True).execute(_BATCH, parameters)
    return [event_of(row) for row in await cursor.fetchall()]


def event_of(row: tuple[Any, ...]) -> Event:
    """The event of a row (sequence, prev_hash, kind, payload, occurred_at, hash)."""
    sequence, prev_hash, kind, payload, occurred_at, digest = row
    return Event(
        sequence=sequence,
        prev_hash=bytes(prev_hash),
        kind=kind,
        payload=payload,
        occurred_at_us=occurred_at,
        hash=bytes(digest),
    )


def _chain(row: tuple[Any, ...]) -> Chain:
    key, chain_id, organisation_id, name, chain_type, subject, opened_at, *newest, ended_at, closes_by = row
    sequence, head, kind, occurred_at = newest
    closed = kind == CLOSED
    return Chain(
        chain_key=key,
        chain_id=chain_id,
        organisation_id=organisation_id,
        organisation_name=name,
        type=chain_type,
        state="closed" if closed else "open" if ended_at is None else "ended",
        subject=subject,
        event_count=sequence,
        head=bytes(head),
        opened_at=opened_at,
        closed_at=moment(occurred_at) if closed else None,
        ended_at=None if ended_at is None else moment(ended_at),
        closes_by=None if closes_by is None else moment(closes_by),
    )
