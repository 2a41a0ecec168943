import socket

from ledger.database.connections import make_pool
from sandbox.database import Database


async def test_a_server_that_vanishes_without_a_word_is_noticed(database: Database) -> None:
    pool = make_pool(database.runtime_dsn, "test", size=1, check=False)
    await pool.open(wait=True)
    try:
        async with pool.connection() as connection, connection.cursor() as cursor:
            sock = socket.socket(fileno=connection.pgconn.socket)
            try:
                # Data that is never acknowledged; the options for an idle connection are in seconds.
                assert 0 < sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000
                idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                again = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
                times = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
                assert idle + again * times <= 30
            finally:
                sock.detach()
            await cursor.execute("SHOW statement_timeout")
            assert await cursor.fetchone() == ("30s",)
    finally:
        await pool.close()
