"""Transactions of the two roles, and what their failures mean for callers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from ledger.database.connections import Connection, Pool
from media.errors import MediaError, Reason

_MAX_ERROR_CHARACTERS = 500


@asynccontextmanager
async def database_errors() -> AsyncIterator[None]:
    """Raises `MediaError` OVERLOADED or DATABASE_UNAVAILABLE for what a caller may simply try again."""
    try:
        yield
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        raise MediaError(Reason.OVERLOADED, "the database is busy with this clip; try again") from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed) as error:
        raise MediaError(Reason.DATABASE_UNAVAILABLE, "the database is unavailable; try again") from error


@asynccontextmanager
async def organisation_transaction(pool: Pool, organisation_id: str) -> AsyncIterator[Connection]:
    """A transaction of the caller's role in which only the rows of one organisation exist."""
    async with database_errors(), pool.connection() as connection, connection.transaction():
        await connection.execute("SELECT set_config('indelible.organisation', %s, true)", (organisation_id,))
        yield connection


@asynccontextmanager
async def worker_transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A transaction of the worker's role, which serves every organisation."""
    async with database_errors(), pool.connection() as connection, connection.transaction():
        yield connection


def short(error: str) -> str:
    """What is kept of a fault's text: what PostgreSQL can hold, and no more than helps; the rest is in the log."""
    return error.replace("\x00", "")[:_MAX_ERROR_CHARACTERS]
