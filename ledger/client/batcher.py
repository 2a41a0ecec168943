"""Single events, collected into appends."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from ledger.client.convert import payload_bytes
from ledger.client.errors import ClientError
from ledger.client.values import NewEvent, Payload, Receipt

# Well below the service's message limit of 16 MiB.
MAX_BATCH_BYTES = 8 * 1024 * 1024
# Events that may wait here; `append` then waits for room, so that a fast producer cannot fill the memory.
MAX_WAITING_EVENTS = 10_000

# Refusals that are one event's fault: the others of its batch are then appended without it.
_FAULTS_OF_AN_EVENT = frozenset({"INVALID_ARGUMENT", "INVALID_PAYLOAD", "RESERVED_KIND", "TOO_LARGE"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Appended:
    """Where one event of a batch went, and the receipt of that batch."""

    sequence: int
    hash: bytes
    receipt: Receipt


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    event: NewEvent
    size: int
    promise: "asyncio.Future[Appended]"


class Batcher:
    """`async with client.batcher("chain") as batch: appended = await batch.append(kind, payload)`.

    Events that arrive while an append is under way, or within the waiting time, go together in the next one; their
    order is kept. Leaving the context appends what still waits.
    """

    def __init__(
        self,
        append_events: Callable[[str, list[NewEvent]], Awaitable[Receipt]],
        chain_id: str,
        *,
        max_events: int,
        max_wait_seconds: float,
    ) -> None:
        self._append_events = append_events
        self._chain_id = chain_id
        self._max_events = max_events
        self._max_wait_seconds = max_wait_seconds
        self._room = asyncio.Semaphore(MAX_WAITING_EVENTS)
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._work = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._queue.put_nowait(None)
        if self._work is not None:
            await self._work

    async def append(self, kind: str, payload: Payload, *, sealed_members: tuple[str, ...] = ()) -> Appended:
        """Append one event and wait until it is durable. Raises ClientError; ValueError for what is not JSON."""
        return await (await self.submit(kind, payload, sealed_members=sealed_members))

    async def submit(
        self, kind: str, payload: Payload, *, sealed_members: tuple[str, ...] = ()
    ) -> "asyncio.Future[Appended]":
        """As `append`, without waiting for the answer: the future gives it."""
        encoded = payload_bytes(payload)
        await self._room.acquire()
        promise: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        event = NewEvent(kind=kind, payload=encoded, sealed_members=sealed_members)
        self._queue.put_nowait(_Waiting(event=event, size=len(encoded), promise=promise))
        return promise

    async def _run(self) -> None:
        held: _Waiting | None = None
        while True:
            first = held or await self._queue.get()
            if first is None:
                return
            batch, held, ended = await self._collect(first)
            await self._send(batch)
            if ended:
                return

    async def _collect(self, first: _Waiting) -> tuple[list[_Waiting], _Waiting | None, bool]:
        """One batch, the event that did not fit any more, and whether this is the end."""
        batch, size = [first], first.size
        deadline = asyncio.get_running_loop().time() + self._max_wait_seconds
        while len(batch) < self._max_events:
            try:
                async with asyncio.timeout_at(deadline):
                    item = await self._queue.get()
            except TimeoutError:
                break
            if item is None:
                return batch, None, True
            if size + item.size > MAX_BATCH_BYTES:
                return batch, item, False
            batch.append(item)
            size += item.size
        return batch, None, False

    async def _send(self, batch: list[_Waiting]) -> None:
        try:
            receipt = await self._append_events(self._chain_id, [waiting.event for waiting in batch])
        except ClientError as error:
            if error.reason in _FAULTS_OF_AN_EVENT and len(batch) > 1:
                for waiting in batch:
                    await self._send([waiting])
                return
            self._fail(batch, error)
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting for an answer
            self._fail(batch, error)
            return
        for position, waiting in enumerate(batch):
            self._room.release()
            if not waiting.promise.done():
                waiting.promise.set_result(
                    Appended(
                        sequence=receipt.first_sequence + position,
                        hash=receipt.event_hashes[position],
                        receipt=receipt,
                    )
                )

    def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        for waiting in batch:
            self._room.release()
            if not waiting.promise.done():
                waiting.promise.set_exception(error)
