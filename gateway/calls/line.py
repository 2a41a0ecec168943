"""One event loop on a thread of its own, and over it the gateway's connections: shared by every thread that serves.

A call blocks its thread only. The loop is uvloop's where there is one: the hand-over from thread to loop and back is a
third of what a request costs here.
"""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import grpc

from ledger.client import ClientError, ClientTls
from ledger.client.channel import Connection, Metadata
from ledger.client.errors import from_rpc_error

try:
    import uvloop
except ImportError:  # there is none for Windows
    uvloop = None  # type: ignore[assignment]  # as the line says

Answer = TypeVar("Answer")

# Nobody in front of a browser or an integration waits longer for one call.
CALL_SECONDS = 10.0
# Before the one repetition: a service that was restarted, or is busy, may be there again.
PAUSE_SECONDS = (0.1, 0.3)
# As the services allow: reading stored files back, and writing a whole bundle.
LONG_CALL_SECONDS = 1_800.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Whom a call speaks for: a token that the services believe, and the request that it serves.

    Without a token a call speaks for nobody: what it carries is permission enough.
    """

    token: str | None
    request_id: str

    @property
    def metadata(self) -> Metadata:
        """The headers of a call."""
        about = ("x-request-id", self.request_id)
        return (about,) if self.token is None else (("authorization", f"Bearer {self.token}"), about)


class Line:
    """The loop. `close`, or leaving the context, ends its connections and its thread."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop() if uvloop else asyncio.new_event_loop()
        self._connections: list[Connection] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="service-calls", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, address: str, *, tls: ClientTls | None, service: str) -> "Wire":
        """A connection; nothing is sent yet. Raises ValueError for an address that cannot be used."""

        async def make() -> Connection:
            return Connection(address, None, tls, CALL_SECONDS, service=service)

        connection = self.wait(make())
        self._connections.append(connection)
        return Wire(self, connection)

    def wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Run `work` on the loop; whatever ends the waiting cancels it there."""
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def close(self) -> None:
        """End everything; calling it again is harmless."""
        if not self._loop.is_running():
            return
        for connection in self._connections:
            self.wait(connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._loop.close()


class Wire:
    """One connection to one service, for any number of threads."""

    def __init__(self, line: Line, connection: Connection) -> None:
        self._line = line
        self._connection = connection

    @property
    def channel(self) -> grpc.aio.Channel:
        """What stubs are made of."""
        return self._connection.channel

    def call(
        self, method: Callable[..., Any], request: Any, identity: Identity, *, retry: bool = True, long: bool = False
    ) -> Any:
        """The answer of a unary method. `retry`: doing it twice does no harm. Raises ClientError."""
        seconds = LONG_CALL_SECONDS if long else CALL_SECONDS
        return self._line.wait(self._call(method, request, identity.metadata, seconds, retry=retry))

    async def _call(
        self, method: Callable[..., Any], request: Any, metadata: Metadata, seconds: float, *, retry: bool
    ) -> Any:
        """A call, and once more after a moment: a service that is away must not hold every thread of the server."""
        try:
            return await self._connection.call(method, request, timeout_seconds=seconds, retry=False, metadata=metadata)
        except ClientError as error:
            if not (retry and error.retryable):
                raise
        await asyncio.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - spreads load, guards nothing
        return await self._connection.call(method, request, timeout_seconds=seconds, retry=False, metadata=metadata)

    def stream(self, method: Callable[..., Any], request: Any, identity: Identity) -> Iterator[bytes]:
        """The pieces of a file. The first has arrived on return, so that a refusal is raised here: ClientError.

        An error further on is raised where the pieces are taken.
        """
        pieces = self._chunks(method, request, identity)
        first = self._line.wait(_next(pieces))
        return self._pieces(first, pieces)

    def _pieces(self, first: bytes | None, pieces: AsyncIterator[bytes]) -> Iterator[bytes]:
        piece = first
        try:
            while piece is not None:
                yield piece
                piece = self._line.wait(_next(pieces))
        finally:
            self._line.wait(_close(pieces))

    async def _chunks(self, method: Callable[..., Any], request: Any, identity: Identity) -> AsyncIterator[bytes]:
        call = method(request, timeout=LONG_CALL_SECONDS, metadata=identity.metadata)
        try:
            async for message in call:
                yield message.data
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self._connection.name) from None
        finally:
            call.cancel()


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


async def _close(pieces: AsyncIterator[bytes]) -> None:
    await pieces.aclose()  # type: ignore[attr-defined]  # it is a generator


__all__ = ["CALL_SECONDS", "ClientError", "Identity", "Line", "Wire"]
