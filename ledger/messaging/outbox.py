"""The relay: publishes every committed event to JetStream, in order within its chain, at least once.

What must hold:
1. An outbox row is deleted only after JetStream has stored every event of it. Whoever dies in between leaves the row,
   and the next relay publishes it again; the event's hash as message id lets JetStream drop the second copy.
2. One relay is active, the one that holds the advisory lock. The lock belongs to its database session, so PostgreSQL
   passes it on when the holder dies. The lock is asked about before every batch.
3. Order: each message of a pipelined batch states the id of the one before it, and JetStream stores it only directly
   behind that one. If one is refused or lost, all that follow it are refused too, and none overtakes. The batch is then
   gone through again one by one, each awaited before the next is sent; what is stored already is dropped by its id.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

import orjson
import psycopg
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.ledger.v1 import ledger_pb2
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from ledger.chain.event import Event
from ledger.messaging.connection import connected, keep_working, wait_for_stop
from ledger.messaging.metrics import OutboxMetrics
from ledger.messaging.relay_turn import relays_turn
from ledger.messaging.streams import (
    ANCHORS_STREAM,
    CHAINS_STREAM,
    anchored_subject,
    appended_subject,
    declare_outbox,
)
from ledger.service.convert import event_message
from ledger.store.values import OPERATIONS_CHAIN_ID, OutboxEntry
from ledger.timestamps import moment

POLL_SECONDS = 0.1  # from a commit to its publication when nothing else is going on
ENTRIES_PER_BATCH = 256
# 50 MB in memory if each has the largest payload allowed; enough of the usual ones to fill a round trip.
EVENTS_IN_FLIGHT = 200
ANSWER_SECONDS = 10.0
PROTOBUF = "application/protobuf"
ANCHOR_OBTAINED = "ledger.anchor_obtained"

_log = structlog.get_logger()


class PublicationRefusedError(RuntimeError):
    """JetStream did not store an event; the text has its reason."""


class OutboxStore(Protocol):
    """What the relay needs of the ledger's store."""

    async def read_outbox(self, limit: int) -> list[OutboxEntry]:
        """At most `limit` entries, oldest first; in order within each chain."""

    async def delete_outbox(self, ids: Sequence[int]) -> None:
        """Forget entries; forgetting one twice is harmless."""

    async def read_events_for_relay(self, chain_key: int, first: int, last: int) -> list[Event]:
        """The events `first` to `last` of a chain."""


async def run_outbox(
    store: OutboxStore, worker_dsn: str, nats_url: str, stop: asyncio.Event, metrics: OutboxMetrics
) -> None:
    """Relay until `stop` is set, then finish the batch under way and return.

    Any number of processes may run it; one is active at a time. `worker_dsn` must lead to PostgreSQL itself, not to a
    pooler that lends sessions by the transaction. Survives the loss of NATS and of PostgreSQL: rows stay meanwhile.
    """

    async def work() -> None:
        async with relays_turn(worker_dsn, stop) as connection:
            if connection is None:
                return
            async with connected(nats_url, "outbox") as client:
                stream = client.jetstream(timeout=ANSWER_SECONDS)
                await declare_outbox(stream)
                _log.info("outbox_active", stream=CHAINS_STREAM)
                publisher = _Publisher(client, stream)
                await publisher.open()
                metrics.active.set(1)
                try:
                    await _relay(store, connection, publisher, stop, metrics)
                finally:
                    metrics.active.set(0)

    await keep_working("outbox", work, stop)


async def _relay(
    store: OutboxStore,
    connection: psycopg.AsyncConnection[Any],
    publisher: "_Publisher",
    stop: asyncio.Event,
    metrics: OutboxMetrics,
) -> None:
    while not stop.is_set():
        # Raises when the session is gone, and with it the lock: somebody else may be publishing already.
        await connection.execute("SELECT 1")
        entries = await store.read_outbox(ENTRIES_PER_BATCH)
        metrics.waiting.set(len(entries))
        if not entries:
            await wait_for_stop(stop, POLL_SECONDS)
            continue
        async for events in _events_of(store, entries):
            await publisher.publish([_appended(entry, event) for entry, event in events])
            for entry, event in events:
                if event.kind == ANCHOR_OBTAINED and entry.chain_id == OPERATIONS_CHAIN_ID:
                    await publisher.publish_anchor(_anchored(entry, event))
            metrics.published.inc(len(events))
        # JetStream has stored every event of these entries. Dying before this deletion publishes them all again.
        await store.delete_outbox([entry.outbox_id for entry in entries])


async def _events_of(
    store: OutboxStore, entries: Sequence[OutboxEntry]
) -> AsyncIterator[list[tuple[OutboxEntry, Event]]]:
    """The events of `entries`, chain by chain, at most EVENTS_IN_FLIGHT at a time."""
    gathered: list[tuple[OutboxEntry, Event]] = []
    for _, of_one_chain in groupby(sorted(entries, key=_chain_then_age), key=lambda entry: entry.chain_key):
        for entry, first, last in _ranges(list(of_one_chain)):
            events = await store.read_events_for_relay(entry.chain_key, first, last)
            gathered += [(entry, event) for event in events]
            if len(gathered) >= EVENTS_IN_FLIGHT:
                yield gathered
                gathered = []
    if gathered:
        yield gathered


def _chain_then_age(entry: OutboxEntry) -> tuple[int, int]:
    return entry.chain_key, entry.outbox_id


def _ranges(entries: Sequence[OutboxEntry]) -> list[tuple[OutboxEntry, int, int]]:
    """One chain's entries as ranges of sequences, joined where they meet and cut to EVENTS_IN_FLIGHT."""
    ranges: list[tuple[OutboxEntry, int, int]] = []
    for entry in entries:
        first = entry.first_sequence
        if ranges and ranges[-1][2] == first - 1:
            first = ranges.pop()[1]
        while entry.last_sequence - first >= EVENTS_IN_FLIGHT:
            ranges.append((entry, first, first + EVENTS_IN_FLIGHT - 1))
            first += EVENTS_IN_FLIGHT
        ranges.append((entry, first, entry.last_sequence))
    return ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class _Message:
    subject: str
    body: bytes
    message_id: str


class _Publisher:
    """Publishes to the chains' stream so that no message can overtake another (rule 3 above).

    Answers are taken here and not by the client library's `publish_async`, which loses those that are refusals.
    """

    def __init__(self, client: Client, stream: JetStreamContext) -> None:
        self._client = client
        self._stream = stream
        self._inbox = client.new_inbox()
        self._unanswered: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._last_id: str | None = None  # of the stream's newest message, as far as is known

    async def open(self) -> None:
        """Begin to listen for answers; the connection's end ends that."""
        await self._client.subscribe(f"{self._inbox}.*", cb=self._note_answer)

    async def publish(self, messages: Sequence[_Message]) -> None:
        """Return once JetStream has stored every message. Raises when it did not; then publish them all again."""
        if self._last_id is None or not await self._publish_pipelined(messages, self._last_id):
            await self._publish_one_by_one(messages)
        self._last_id = messages[-1].message_id

    async def publish_anchor(self, message: _Message) -> None:
        """The same for the anchors' stream, where each message stands for itself."""
        headers = {"Nats-Msg-Id": message.message_id, "Content-Type": PROTOBUF}
        await self._stream.publish(message.subject, message.body, stream=ANCHORS_STREAM, headers=headers)

    async def _publish_pipelined(self, messages: Sequence[_Message], last_id: str) -> bool:
        """Whether every message was stored as a new one. If one was not, nothing after it was."""
        asked = []
        for message in messages:
            asked.append(await self._ask(message, expected_last_id=last_id))
            last_id = message.message_id
        async with asyncio.timeout(ANSWER_SECONDS):
            answers = await asyncio.gather(*asked)
        return not any("error" in answer or answer.get("duplicate") for answer in answers)

    async def _publish_one_by_one(self, messages: Sequence[_Message]) -> None:
        for message in messages:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await (await self._ask(message))
            if "error" in answer:
                raise PublicationRefusedError(f"JetStream refused an event: {answer['error']}")

    async def _ask(self, message: _Message, *, expected_last_id: str = "") -> asyncio.Future[dict[str, Any]]:
        """Send one message, on condition that the stream's newest has this id; the answer comes later."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._unanswered[message.message_id] = answer
        headers = {
            "Nats-Msg-Id": message.message_id,
            "Nats-Expected-Stream": CHAINS_STREAM,
            "Content-Type": PROTOBUF,
        }
        if expected_last_id:
            headers["Nats-Expected-Last-Msg-Id"] = expected_last_id
        reply = f"{self._inbox}.{message.message_id}"
        await self._client.publish(message.subject, message.body, reply=reply, headers=headers)
        return answer

    async def _note_answer(self, message: Msg) -> None:
        answer = self._unanswered.pop(message.subject.rpartition(".")[2], None)
        if answer is None or answer.done():
            return
        # An empty body with a status says that nobody listens: the stream is gone, or not yet led.
        answer.set_result(orjson.loads(message.data) if message.data else {"error": "no stream answered"})


def _appended(entry: OutboxEntry, event: Event) -> _Message:
    return _Message(
        subject=appended_subject(entry.organisation_id, entry.chain_id),
        body=event_message(event).SerializeToString(),
        message_id=event.hash.hex(),
    )


def _anchored(entry: OutboxEntry, event: Event) -> _Message:
    """An obtained anchor, as the operations chain records it; the event there makes the message exactly as durable."""
    noted = orjson.loads(event.payload)
    obtained_at, anchored_at = Timestamp(), Timestamp()
    obtained_at.FromDatetime(moment(event.occurred_at_us))
    anchored_at.FromDatetime(datetime.fromisoformat(noted["anchored_at"]))
    anchor = ledger_pb2.Anchor(
        sequence=noted["sequence"],
        digest=bytes.fromhex(noted["digest"]),
        backend=noted["backend"],
        authority=noted["authority"],
        state=ledger_pb2.ANCHOR_STATE_OBTAINED,
        obtained_at=obtained_at,
        anchored_at=anchored_at,
    )
    return _Message(
        subject=anchored_subject(entry.organisation_id, noted["chain_id"], noted["backend"]),
        body=anchor.SerializeToString(),
        message_id=event.hash.hex(),
    )
