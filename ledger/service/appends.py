"""Appending: one by one, several in a call, and the pipelined stream."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

import structlog
from indelible.ledger.v1 import ledger_pb2

from ledger.errors import LedgerError, Reason
from ledger.identity import Caller
from ledger.service.convert import new_events, receipt_message
from ledger.service.errors import append_error, as_refusal
from ledger.service.permissions import require_kinds
from ledger.serving.calls import MAX_UNARY_SECONDS, Session, StoppingError, require_well_formed
from ledger.store import LedgerStore
from ledger.telemetry import Metrics

Answer = TypeVar("Answer", ledger_pb2.AppendOutcome, ledger_pb2.AppendEventStreamResponse)

MAX_BATCH_APPENDS = 64
# For each append of a batch: those beside one that takes longer are answered while a caller who waits ten seconds does.
MAX_BATCH_SECONDS = 8.0
# Appends of one stream that may wait for their commit at once: enough to fill the transaction after the running one.
MAX_IN_FLIGHT = 64
# Bytes of one stream that may wait likewise; a single larger append waits alone.
MAX_IN_FLIGHT_BYTES = 32 * 1024 * 1024

_log = structlog.stdlib.get_logger("ledger.service")


class Appends:
    """The handlers of AppendEvents, BatchAppendEvents and AppendEventStream."""

    def __init__(self, store: LedgerStore, metrics: Metrics, stopping: asyncio.Event) -> None:
        self._store = store
        self._metrics = metrics
        self._stopping = stopping

    async def append_events(
        self, request: ledger_pb2.AppendEventsRequest, caller: Caller
    ) -> ledger_pb2.AppendEventsResponse:
        """One append, answered after its commit."""
        return ledger_pb2.AppendEventsResponse(receipt=await self._append(request, caller))

    async def batch_append_events(
        self, request: ledger_pb2.BatchAppendEventsRequest, caller: Caller
    ) -> ledger_pb2.BatchAppendEventsResponse:
        """Several appends, answered when all of them are or have taken too long.

        Raises LedgerError (INVALID_ARGUMENT): none, or too many.
        """
        if not 1 <= len(request.requests) <= MAX_BATCH_APPENDS:
            raise LedgerError(
                Reason.INVALID_ARGUMENT,
                f"a batch has 1 to {MAX_BATCH_APPENDS} appends, not {len(request.requests)}",
                {"field": "requests"},
            )
        # Started in their order, in which the store queues those of one chain.
        outcomes = await asyncio.gather(
            *(self._answer(append, caller, ledger_pb2.AppendOutcome, MAX_BATCH_SECONDS) for append in request.requests)
        )
        return ledger_pb2.BatchAppendEventsResponse(outcomes=outcomes)

    async def append_event_stream(
        self, requests: AsyncIterator[ledger_pb2.AppendEventStreamRequest], session: Session
    ) -> AsyncGenerator[ledger_pb2.AppendEventStreamResponse, None]:
        """Appends as they come, answers in their order; a refused append does not end the stream.

        When the service stops, what was received is still answered, and the stream ends with UNAVAILABLE.
        """
        pipeline = _Pipeline()
        reading = asyncio.create_task(self._read(requests, session, pipeline))
        try:
            while (answer := await pipeline.next_answer()) is not None:
                yield answer
            await reading
        finally:
            reading.cancel()
            pipeline.abandon()

    async def _read(
        self,
        requests: AsyncIterator[ledger_pb2.AppendEventStreamRequest],
        session: Session,
        pipeline: "_Pipeline",
    ) -> None:
        """Start each append as soon as there is room for it. Raises LedgerError when the token ceases to be valid."""
        stopping = asyncio.create_task(self._stopping.wait())
        following = aiter(requests)
        try:
            while True:
                arriving = asyncio.ensure_future(anext(following, None))
                await asyncio.wait({arriving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not arriving.done():
                    arriving.cancel()
                    raise StoppingError
                message = arriving.result()
                if message is None:
                    return
                session.check()
                require_well_formed(message)
                size = message.ByteSize()
                await pipeline.room_for(size)
                answer = self._answer(
                    message.append, session.caller, ledger_pb2.AppendEventStreamResponse, MAX_UNARY_SECONDS
                )
                pipeline.add(asyncio.create_task(answer), size)
        finally:
            stopping.cancel()
            pipeline.end()

    async def _answer(
        self, request: ledger_pb2.AppendEventsRequest, caller: Caller, answer: type[Answer], seconds: float
    ) -> Answer:
        """One append of several; every failure becomes its answer."""
        try:
            async with asyncio.timeout(seconds):
                receipt = await self._append(request, caller)
        except Exception as error:  # noqa: BLE001 - whatever fails, the appends beside it must be answered too
            refusal = as_refusal(error)
            about = {
                "organisation_id": caller.organisation_id,
                "subject": caller.subject,
                "reason": str(refusal.reason),
            }
            if refusal is error:
                _log.info("append_refused", **about)
            else:
                _log.error("append_failed", **about, chain_id=request.chain_id, exc_info=error)
            self._metrics.joint_appends.labels(refusal.reason).inc()
            return answer(error=append_error(refusal))
        self._metrics.joint_appends.labels("OK").inc()
        return answer(receipt=receipt)

    async def _append(self, request: ledger_pb2.AppendEventsRequest, caller: Caller) -> ledger_pb2.Receipt:
        require_kinds(caller, request.events)
        receipt = await self._store.append_events(
            caller.organisation_id,
            request.chain_id,
            new_events(request),
            request.idempotency_key,
            request.expected_sequence if request.HasField("expected_sequence") else None,
        )
        self._metrics.append_events.observe(len(receipt.event_hashes))
        return receipt_message(receipt)


class _Pipeline:
    """The appends of one stream that are under way, oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[asyncio.Task[ledger_pb2.AppendEventStreamResponse], int]] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = asyncio.Event()

    async def room_for(self, size: int) -> None:
        """Wait until one more append of `size` bytes may start."""
        while self._waiting and (len(self._waiting) >= MAX_IN_FLIGHT or self._bytes + size > MAX_IN_FLIGHT_BYTES):
            await self._change()

    def add(self, append: asyncio.Task[ledger_pb2.AppendEventStreamResponse], size: int) -> None:
        """Put a started append at the end."""
        self._waiting.append((append, size))
        self._bytes += size
        self._changed.set()

    def end(self) -> None:
        """No more will be added."""
        self._ended = True
        self._changed.set()

    async def next_answer(self) -> ledger_pb2.AppendEventStreamResponse | None:
        """The answer to the oldest append, once there is one; None after the last."""
        while not self._waiting:
            if self._ended:
                return None
            await self._change()
        append, size = self._waiting[0]
        answer = await append
        self._waiting.popleft()
        self._bytes -= size
        self._changed.set()
        return answer

    def abandon(self) -> None:
        """The caller is gone. What already waits for its commit may still be committed: its key tells later."""
        for append, _ in self._waiting:
            append.cancel()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
