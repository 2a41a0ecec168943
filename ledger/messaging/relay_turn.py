"""Whose turn it is to be the relay: one process at a time, by an advisory lock of PostgreSQL's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from ledger.database.connections import reach
from ledger.messaging.connection import wait_for_stop

TAKE_OVER_SECONDS = 1.0  # from the end of the active relay's session to its successor's start

# Two-part advisory locks have a key space of their own, apart from the chains' locks. "INDL" in ASCII, and a number.
_LOCK = (0x494E444C, 1)
# A relay's host that vanished must not keep the lock: PostgreSQL gives up on its session after 25 seconds of silence.
_SESSION = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}


@asynccontextmanager
async def relays_turn(worker_dsn: str, stop: asyncio.Event) -> AsyncIterator[psycopg.AsyncConnection[Any] | None]:
    """The session that holds the lock for as long as it lives; None when `stop` came before the lock."""
    connection = await psycopg.AsyncConnection.connect(reach(worker_dsn, "outbox", _SESSION), autocommit=True)
    try:
        yield connection if await _obtain_lock(connection, stop) else None
    finally:
        await connection.close()


async def _obtain_lock(connection: psycopg.AsyncConnection[Any], stop: asyncio.Event) -> bool:
    while not stop.is_set():
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _LOCK)
        row = await cursor.fetchone()
        if row and row[0]:
            return True
        await wait_for_stop(stop, TAKE_OVER_SECONDS)
    return False
