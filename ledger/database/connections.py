"""Connections to PostgreSQL: one pool for each role, ready for what that role does."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

Connection = psycopg.AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]
BlockingPool = ConnectionPool[psycopg.Connection[Any]]

# How long a caller waits for a free connection before it is told to try again.
ACQUIRE_SECONDS = 5.0
# After an outage of any length the next attempt is at most this far away.
_RECONNECT_SECONDS = 5.0
_CONNECT_SECONDS = 5
# A server that vanished without a word, with its machine or the network, is given up after this.
_UNANSWERED_MILLISECONDS = 30_000
# Longest wait for another process that writes to the same chain.
_LOCK_TIMEOUT = "5s"
# No statement here takes a tenth of this; a longer one means that something is stuck.
_STATEMENT_TIMEOUT = "30s"
# A process that stalls inside a transaction loses it, and with it the locks that others wait for.
_IDLE_IN_TRANSACTION_TIMEOUT = "10s"

_SETTINGS = {
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "lock_timeout": _LOCK_TIMEOUT,
    "statement_timeout": _STATEMENT_TIMEOUT,
    "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION_TIMEOUT,
    "default_transaction_isolation": r"read\ committed",
}


def reach(dsn: str, name: str, settings: Mapping[str, str]) -> str:
    """How to connect to `dsn` so that a server that vanished is noticed, with `settings` for the session."""
    return make_conninfo(
        dsn,
        options=" ".join(f"-c {key}={value}" for key, value in settings.items()),
        application_name=f"indelible-{name}",
        connect_timeout=_CONNECT_SECONDS,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=_UNANSWERED_MILLISECONDS,
    )


def make_pool(
    dsn: str,
    name: str,
    *,
    size: int,
    check: bool,
    configure: Callable[[Connection], Awaitable[None]] | None = None,
) -> Pool:
    """A pool of at most `size` connections, not yet open. With `check`, each is tried before it is handed out."""
    conninfo = reach(dsn, name, _SETTINGS)
    purging: set[asyncio.Task[None]] = set()

    async def check_connection(connection: Connection) -> None:
        try:
            await AsyncConnectionPool.check_connection(connection)
        except psycopg.Error:
            # Its idle neighbours have died of the same cause. The pool would find that out one at a time, with a
            # growing pause between: callers would wait ten seconds after a restart of the server.
            if not purging:
                task = asyncio.create_task(pool.check())
                purging.add(task)
                task.add_done_callback(purging.discard)
            raise

    pool: Pool = AsyncConnectionPool(
        conninfo,
        name=name,
        min_size=1,
        max_size=size,
        timeout=ACQUIRE_SECONDS,
        reconnect_timeout=_RECONNECT_SECONDS,
        kwargs={"autocommit": True},
        configure=configure,
        check=check_connection if check else None,
        open=False,
    )
    return pool


def make_blocking_pool(dsn: str, name: str, *, size: int) -> BlockingPool:
    """As `make_pool`, for threads: a pool of at most `size` connections, not yet open, each tried when handed out."""
    pool: BlockingPool = ConnectionPool(
        reach(dsn, name, _SETTINGS),
        name=name,
        min_size=1,
        max_size=size,
        timeout=ACQUIRE_SECONDS,
        reconnect_timeout=_RECONNECT_SECONDS,
        kwargs={"autocommit": True},
        check=ConnectionPool.check_connection,
        open=False,
    )
    return pool
