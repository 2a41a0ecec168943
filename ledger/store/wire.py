"""Runs one multi-statement message with COPY on a psycopg connection.

psycopg's own cursor waits for the event loop at every statement and at every row of a COPY. Here one message goes out,
PostgreSQL works through it, and Python wakes when rows are wanted and again when the commit is done.
"""

from collections.abc import Callable, Generator, Iterable, Sequence

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from ledger.database.connections import Connection

_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE)
_SQLSTATE = ord("C")

# Called when PostgreSQL is ready for rows, with the results so far; what it yields is sent as it comes.
Feed = Callable[[list[PGresult]], Iterable[bytes]]


async def run_with_copy(
    connection: Connection, message: bytes, feeds: Sequence[Feed], meanwhile: Callable[[], None]
) -> None:
    """Run `message`, feeding its COPY statements in turn; `meanwhile` is called once everything is sent.

    Raises psycopg.Error. Then nothing was committed, unless it is an OperationalError without a code: the connection
    was lost, perhaps during the commit.
    """
    await connection.wait(_run(connection.pgconn, message, feeds, meanwhile))


def _run(pgconn: PGconn, message: bytes, feeds: Sequence[Feed], meanwhile: Callable[[], None]) -> PQGen[None]:
    remaining = list(feeds)
    pgconn.send_query(message)
    yield from _flush(pgconn)
    results: list[PGresult] = []
    error: psycopg.Error | None = None
    while (result := (yield from _next_result(pgconn))) is not None:
        if result.status == ExecStatus.COPY_IN:
            for piece in remaining.pop(0)(results):
                # libpq sends whole blocks of 8 KiB by itself: PostgreSQL works on them while the next piece is made.
                # What is smaller goes out with the end, and wakes PostgreSQL once.
                pgconn.put_copy_data(piece)
            pgconn.put_copy_end()
            yield from _flush(pgconn)
            if not remaining:
                meanwhile()
        elif result.status in _FAILED:
            # Read on to the end of the message: the connection is usable again then.
            error = error or _error(result)
        else:
            results.append(result)
    if error is not None:
        raise error


def _flush(pgconn: PGconn) -> Generator[Wait, Ready, None]:
    while pgconn.flush():
        # What PostgreSQL sends meanwhile must be read, or both sides could wait for each other.
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()


def _next_result(pgconn: PGconn) -> Generator[Wait, Ready, PGresult | None]:
    while pgconn.is_busy():
        yield Wait.R
        pgconn.consume_input()
    return pgconn.get_result()


def _error(result: PGresult) -> psycopg.Error:
    message = result.error_message.decode(errors="replace")
    code = result.error_field(_SQLSTATE)
    if code is None:
        return psycopg.OperationalError(message)
    return psycopg.errors.lookup(code.decode())(message)
