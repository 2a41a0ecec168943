"""Access to the gateway's records for those who answer requests: blocking, for any number of threads."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from gateway.problems import Code, Problem
from gateway.records.guards import GATEWAY_GUARDS
from ledger.database.connections import BlockingPool, Connection, make_blocking_pool, reach

POOL_SIZE = 8
_BE = "SELECT set_config('indelible.organisation', %s, true)"
_CHECK_SETTINGS = {"statement_timeout": "10s"}


class Records:
    """The records, as the role of those who answer requests: only rows of the named organisation exist for it."""

    def __init__(self, pool: BlockingPool) -> None:
        self._pool = pool

    @classmethod
    def open(cls, dsn: str, *, size: int = POOL_SIZE) -> Self:
        """Connect. Raises psycopg.Error, and GuardsMissingError for a database that does not guard its records."""
        asyncio.run(_check(dsn))
        pool = make_blocking_pool(dsn, "gateway", size=size)
        pool.open()
        return cls(pool)

    def close(self) -> None:
        """Hang up."""
        self._pool.close()

    @contextmanager
    def transaction(self, organisation_id: str) -> Iterator[psycopg.Connection[Any]]:
        """A transaction in which only the rows of one organisation exist; committed at the end.

        Raises Problem: DATABASE_UNAVAILABLE for what a caller may simply try again, INVALID_REQUEST for text that no
        database takes, such as one with a NUL.
        """
        with _problems(), self._pool.connection() as connection, connection.transaction():
            connection.execute(_BE, (organisation_id,))
            yield connection

    def write(self, organisation_id: str, statement: str, parameters: Sequence[object]) -> None:
        """One statement in a transaction of its own, sent together with what begins and ends it. Raises as above."""
        with (
            _problems(),
            self._pool.connection() as connection,
            connection.pipeline(),
            connection.transaction(),
        ):
            connection.execute(_BE, (organisation_id,))
            connection.execute(statement.encode(), parameters)


@contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except psycopg.DataError as error:
        raise Problem(Code.INVALID_REQUEST, "Something in this request cannot be stored as text.") from error
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        psycopg.errors.QueryCanceled,
        PoolTimeout,
        PoolClosed,
    ) as error:
        raise Problem(
            Code.DATABASE_UNAVAILABLE,
            "The gateway's records cannot be reached now. Try again in a moment.",
            headers={"Retry-After": "5"},
        ) from error


async def _check(dsn: str) -> None:
    """Check that the database guards what is kept in it, and that the role can do no more than it must."""
    connection: Connection = await psycopg.AsyncConnection.connect(
        reach(dsn, "gateway-check", _CHECK_SETTINGS), autocommit=True
    )
    async with connection:
        await GATEWAY_GUARDS.check(connection)
        await GATEWAY_GUARDS.check_role(connection, bypasses_row_security=False)
