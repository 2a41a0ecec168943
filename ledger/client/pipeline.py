"""Appends over one stream: many under way at once, answered in order, resumed after a broken connection."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self

import grpc
from indelible.ledger.v1 import ledger_pb2

from ledger.client import convert
from ledger.client.channel import Connection, pause_seconds
from ledger.client.errors import UNREACHABLE, ClientError, from_append_error, from_rpc_error
from ledger.client.values import NewEvent, Receipt

# The service lets as many wait for their commit.
MAX_IN_FLIGHT = 64
# How long a broken stream is tried to be set up again before what it carried is given up.
RECONNECT_SECONDS = 60.0


class _Sent:
    """An append under way and the promise of its receipt."""

    __slots__ = ("promise", "request")

    def __init__(self, request: ledger_pb2.AppendEventsRequest, promise: "asyncio.Future[Receipt]") -> None:
        self.request = request
        self.promise = promise


class AppendStream:
    """`async with client.append_stream() as stream: promise = await stream.send(...)`.

    `send` returns as soon as there is room for one more append; its promise (a future) gives the receipt, or raises
    ClientError. Appends to one chain are applied in the order they were sent. Leaving the context waits for all
    answers. After a broken connection everything unanswered is sent again under the same idempotency keys.
    """

    def __init__(
        self, connection: Connection, method: Callable[..., Any], read_receipt: Callable[[ledger_pb2.Receipt], Receipt]
    ) -> None:
        self._connection = connection
        self._method = method
        self._read_receipt = read_receipt
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._unsent: deque[_Sent] = deque()
        self._unanswered: deque[_Sent] = deque()
        self._changed = asyncio.Event()
        self._closing = False
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._work = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._closing = True
        self._changed.set()
        if self._work is None:
            return
        if kind is not None:
            self._work.cancel()
        await asyncio.wait({self._work})

    async def send(
        self,
        chain_id: str,
        events: Sequence[NewEvent],
        *,
        idempotency_key: str | None = None,
        expected_sequence: int | None = None,
    ) -> "asyncio.Future[Receipt]":
        """Append 1 to 1,000 events. Raises ValueError for a payload that is not JSON, ClientError after the end."""
        request = convert.append_request(chain_id, events, idempotency_key, expected_sequence)
        await self._room.acquire()
        if self._work is None or self._work.done():
            self._room.release()
            raise ClientError(UNREACHABLE, "The stream is not open, or has failed.")
        sent = _Sent(request, asyncio.get_running_loop().create_future())
        self._unsent.append(sent)
        self._changed.set()
        return sent.promise

    async def _run(self) -> None:
        try:
            await self._keep_going()
        finally:
            # However it ended, nobody may be left waiting for an answer.
            self._give_up(ClientError(UNREACHABLE, "The stream ended before the ledger answered."))

    async def _keep_going(self) -> None:
        """Keep a call going until everything is answered; on failure start another."""
        broken_at: float | None = None
        failures = 0
        while True:
            answered = len(self._unanswered) + len(self._unsent)
            try:
                await self._one_call()
            except grpc.aio.AioRpcError as rpc_error:
                error = from_rpc_error(rpc_error, self._connection.name)
            else:
                # The service ended the stream; it does so when stopping.
                error = ClientError(UNREACHABLE, "The ledger ended the stream.", retryable=True)
            if self._closing and not self._unsent and not self._unanswered:
                return
            if len(self._unanswered) + len(self._unsent) < answered:
                broken_at, failures = None, 0
            now = time.monotonic()
            broken_at = now if broken_at is None else broken_at
            if not error.retryable or now - broken_at > RECONNECT_SECONDS:
                self._give_up(error)
                return
            # Oldest first, so that the order in each chain is kept.
            self._unsent.extendleft(reversed(self._unanswered))
            self._unanswered.clear()
            await asyncio.sleep(pause_seconds(failures))
            failures += 1

    async def _one_call(self) -> None:
        call = self._method(metadata=self._connection.metadata())
        writing = asyncio.create_task(self._write(call))
        try:
            while (answer := await call.read()) is not grpc.aio.EOF:
                self._settle(answer)
        finally:
            writing.cancel()
            call.cancel()

    async def _write(self, call: Any) -> None:
        try:
            while True:
                while self._unsent:
                    sent = self._unsent.popleft()
                    # Before writing: once it may have arrived, it must be sent again after a break.
                    self._unanswered.append(sent)
                    await call.write(ledger_pb2.AppendEventStreamRequest(append=sent.request))
                if self._closing:
                    await call.done_writing()
                    return
                self._changed.clear()
                await self._changed.wait()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the reading side learns why the call ended

    def _settle(self, answer: ledger_pb2.AppendEventStreamResponse) -> None:
        sent = self._unanswered.popleft()
        self._room.release()
        if sent.promise.done():  # its user gave up waiting
            return
        if answer.HasField("receipt"):
            try:
                sent.promise.set_result(self._read_receipt(answer.receipt))
            except ValueError as error:
                sent.promise.set_exception(error)
            return
        sent.promise.set_exception(from_append_error(answer.error))

    def _give_up(self, error: ClientError) -> None:
        for sent in (*self._unanswered, *self._unsent):
            self._room.release()
            if not sent.promise.done():
                sent.promise.set_exception(error)
        self._unanswered.clear()
        self._unsent.clear()
