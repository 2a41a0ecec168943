"""Requests as senders publish them, and what became of them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from indelible.ledger.v1.ledger_pb2 import AppendEventsRequest, NewEvent
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RawStreamMsg
from nats.js.errors import NotFoundError
from prometheus_client import CollectorRegistry

from ledger.identity import Authenticator
from ledger.messaging.inbox import AppendStore, run_inbox
from ledger.messaging.metrics import InboxMetrics
from ledger.messaging.streams import (
    APPEND_QUEUE,
    DEAD_STREAM,
    DEAD_SUBJECT,
)
from ledger.store import LedgerStore
from ledger.store.values import NewEvent as StoreEvent
from ledger.store.values import Receipt
from sandbox.issuer import Issuer
from tests.messaging.conftest import PATIENCE_SECONDS

# The shipped consumer waits half a minute for a sign of life. This one waits long enough for those of a busy machine.
ACK_SECONDS = 5
IMPATIENT = ConsumerConfig(
    durable_name=APPEND_QUEUE.consumer, ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_SECONDS, max_deliver=-1
)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running_inbox(store: AppendStore, authenticator: Authenticator, url: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    metrics = InboxMetrics(CollectorRegistry())
    task = asyncio.create_task(run_inbox(store, authenticator, url, stop, metrics))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_SECONDS)


def request(
    chain_id: str = "visit", key: str = "key-1", kinds: tuple[str, ...] = ("note.added",)
) -> AppendEventsRequest:
    events = [NewEvent(kind=kind, payload=b'{"text":"hello"}') for kind in kinds]
    return AppendEventsRequest(chain_id=chain_id, idempotency_key=key, events=events)


def headers(issuer: Issuer, organisation_id: str = "acme", **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {issuer.mint(organisation_id, **claims)}"}


async def queued(stream: JetStreamContext) -> int:
    return (await stream.stream_info(APPEND_QUEUE.stream)).state.messages


async def processed(stream: JetStreamContext) -> None:
    async def is_empty() -> bool:
        return await queued(stream) == 0

    await until(is_empty)


async def dead_letter(stream: JetStreamContext) -> RawStreamMsg:
    async def arrived() -> bool:
        with contextlib.suppress(NotFoundError):
            await stream.get_last_msg(DEAD_STREAM, DEAD_SUBJECT)
            return True
        return False

    await until(arrived)
    return await stream.get_last_msg(DEAD_STREAM, DEAD_SUBJECT)


async def event_count(store: LedgerStore, chain_id: str = "visit") -> int:
    return (await store.get_chain("acme", chain_id)).event_count


class FaultyStore:
    """Does `fault` before it passes an append on to the real store."""

    def __init__(self, store: LedgerStore, fault: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._fault = fault
        self.asked = 0

    async def append_events(
        self,
        organisation_id: str,
        chain_id: str,
        events: Sequence[StoreEvent],
        idempotency_key: str,
        expected_sequence: int | None = None,
    ) -> Receipt:
        self.asked += 1
        await self._fault()
        return await self._store.append_events(organisation_id, chain_id, events, idempotency_key, expected_sequence)
