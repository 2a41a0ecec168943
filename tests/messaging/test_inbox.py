import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import nats
import pytest
from google.protobuf import json_format
from indelible.ledger.v1 import ledger_pb2
from indelible.ledger.v1.ledger_pb2 import AppendEventsRequest, NewEvent
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RawStreamMsg, RetentionPolicy
from nats.js.errors import NotFoundError
from prometheus_client import CollectorRegistry

from ledger.identity import Authenticator
from ledger.messaging import work_queue
from ledger.messaging.inbox import AppendStore, run_inbox
from ledger.messaging.metrics import InboxMetrics
from ledger.messaging.streams import (
    APPEND_QUEUE,
    APPEND_SUBJECT,
    DEAD_STREAM,
    DEAD_SUBJECT,
    declare_queue,
)
from ledger.messaging.work_queue import read_content
from ledger.store import LedgerStore
from ledger.store.values import NewEvent as StoreEvent
from ledger.store.values import Receipt
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.nats import Nats
from sandbox.postgres import Postgres

# The shipped consumer waits half a minute for a sign of life.
IMPATIENT = ConsumerConfig(
    durable_name=APPEND_QUEUE.consumer, ack_policy=AckPolicy.EXPLICIT, ack_wait=1, max_deliver=-1
)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
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
        await asyncio.wait_for(task, 15)


@pytest.fixture
async def client(nats_server: Nats) -> AsyncIterator[Client]:
    connection = await nats.connect(nats_server.url)
    await declare_queue(connection.jetstream(), APPEND_QUEUE)
    yield connection
    await connection.close()


@pytest.fixture
async def stream(client: Client) -> JetStreamContext:
    return client.jetstream()


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


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_a_request_is_appended_and_leaves_the_queue(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    encoding: str,
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    body, sent = request(kinds=("note.added", "note.changed")), headers(issuer)
    if encoding == "json":
        sent["Content-Type"] = "application/json; charset=utf-8"
        await stream.publish(APPEND_SUBJECT, json_format.MessageToJson(body).encode(), headers=sent)
    else:
        await stream.publish(APPEND_SUBJECT, body.SerializeToString(), headers=sent)
    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    events = await store.list_events("acme", "visit", from_sequence=2, limit=10)
    assert [(event.kind, event.payload) for event in events] == [
        ("note.added", '{"text":"hello"}'),
        ("note.changed", '{"text":"hello"}'),
    ]


async def test_a_request_that_arrives_twice_is_appended_once(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, stream: JetStreamContext, nats_server: Nats
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    for _ in range(3):
        await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(issuer))
    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    assert await event_count(store) == 2


HOSTILE: dict[str, tuple[str, Callable[[Issuer], tuple[bytes, dict[str, str]]]]] = {
    "no token": ("UNAUTHENTICATED", lambda _: (request().SerializeToString(), {})),
    "another scheme": ("UNAUTHENTICATED", lambda _: (request().SerializeToString(), {"Authorization": "Basic eA=="})),
    "an expired token": (
        "UNAUTHENTICATED",
        lambda issuer: (request().SerializeToString(), headers(issuer, seconds=-3600)),
    ),
    "a token without the scope": (
        "PERMISSION_DENIED",
        lambda issuer: (request().SerializeToString(), headers(issuer, scopes=["ledger:read"])),
    ),
    "another organisation's chain": (
        "CHAIN_NOT_FOUND",
        lambda issuer: (request().SerializeToString(), headers(issuer, "other")),
    ),
    "a chain that does not exist": (
        "CHAIN_NOT_FOUND",
        lambda issuer: (request(chain_id="nowhere").SerializeToString(), headers(issuer)),
    ),
    "a reserved kind": (
        "RESERVED_KIND",
        lambda issuer: (request(kinds=("chain.closed",)).SerializeToString(), headers(issuer)),
    ),
    "no idempotency key": (
        "INVALID_ARGUMENT",
        lambda issuer: (request(key="").SerializeToString(), headers(issuer)),
    ),
    "no events": ("INVALID_ARGUMENT", lambda issuer: (request(kinds=()).SerializeToString(), headers(issuer))),
    "bytes that are no message": ("INVALID_ARGUMENT", lambda issuer: (b"\xff\xff\xff", headers(issuer))),
    "a body of a strange type": (
        "INVALID_ARGUMENT",
        lambda issuer: (b"<a/>", headers(issuer) | {"Content-Type": "text/xml"}),
    ),
    "JSON with an unknown member": (
        "INVALID_ARGUMENT",
        lambda issuer: (b'{"chainId":"visit","sudo":true}', headers(issuer) | {"Content-Type": "application/json"}),
    ),
}


async def test_what_can_never_be_appended_goes_to_the_dead_stream_with_the_reason_and_without_the_token(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, stream: JetStreamContext, nats_server: Nats
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    sent = {}
    for case, (reason, make) in HOSTILE.items():
        body, its_headers = make(issuer)
        answer = await stream.publish(APPEND_SUBJECT, body, headers=its_headers)
        sent[str(answer.seq)] = (case, reason, body)
    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    found = {}
    for sequence in range(1, len(HOSTILE) + 1):
        letter = await stream.get_msg(DEAD_STREAM, sequence)
        assert letter.headers is not None
        assert letter.headers["Indelible-Subject"] == APPEND_SUBJECT
        assert "Authorization" not in letter.headers
        assert "eyJ" not in str(letter.headers)
        its_sequence = letter.headers["Indelible-Stream-Sequence"]
        found[its_sequence] = (sent[its_sequence][0], letter.headers["Indelible-Reason"], letter.data or b"")
    assert found == sent
    assert await event_count(store) == 1


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"chainId":' * 5_000, b'{"chainId":"a","chainId":"b"}', b"\xff", b'{"events":{}}', b"nul", b""],
)
def test_hostile_json_is_refused_and_nothing_else(body: bytes) -> None:
    with pytest.raises(Exception, match="is not an AppendEventsRequest"):
        read_content(ledger_pb2.AppendEventsRequest, body, "application/json")


async def test_one_poisonous_request_does_not_stop_those_behind_it(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, stream: JetStreamContext, nats_server: Nats
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    for number in range(40):
        await stream.publish(APPEND_SUBJECT, b"\xff", headers=headers(issuer))
        body = request(key=f"key-{number}").SerializeToString()
        await stream.publish(APPEND_SUBJECT, body, headers=headers(issuer))
    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    assert await event_count(store) == 41
    assert (await stream.stream_info(DEAD_STREAM)).state.messages == 40


@pytest.mark.parametrize("status", ["100", "404", "408", "409", "503", "x"])
async def test_a_request_that_poses_as_a_remark_of_the_servers_is_answered_like_any_other(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    status: str,
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    await stream.publish(APPEND_SUBJECT, b"\xff", headers={"Status": status})
    sent = headers(issuer) | {"Status": status, "Description": "Idle Heartbeat"}
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=sent)
    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    assert await event_count(store) == 2
    assert (await stream.stream_info(DEAD_STREAM)).state.messages == 1


async def test_a_body_that_leaves_no_room_for_the_reason_is_buried_by_its_digest(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, nats_server: Nats
) -> None:
    connection = await nats.connect(nats_server.url)
    stream = connection.jetstream()
    await stream.add_stream(name=APPEND_QUEUE.stream, subjects=[APPEND_SUBJECT], retention=RetentionPolicy.WORK_QUEUE)
    await stream.publish(APPEND_SUBJECT, b"\xff" * (8 * 1024 * 1024 - 100))
    async with running_inbox(store, authenticator, nats_server.url):
        letter = await dead_letter(stream)
    await connection.close()
    assert letter.headers is not None
    assert letter.headers["Indelible-Body-Omitted"]
    assert len(letter.headers["Indelible-Body-SHA256"]) == 64
    assert not letter.data


async def test_requests_wait_while_nats_is_gone_and_go_on_when_it_returns(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, nats_server: Nats
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    async with running_inbox(store, authenticator, nats_server.url):
        for round_number in range(3):
            nats_server.kill()
            nats_server.start()
            connection = await nats.connect(nats_server.url)
            stream = connection.jetstream()
            await declare_queue(stream, APPEND_QUEUE)
            body = request(key=f"round-{round_number}").SerializeToString()
            await stream.publish(APPEND_SUBJECT, body, headers=headers(issuer))
            await processed(stream)
            await connection.close()
    assert await event_count(store) == 4


async def test_a_request_survives_the_loss_of_postgresql(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    postgres: Postgres,
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    async with running_inbox(store, authenticator, nats_server.url):
        postgres.kill()
        try:
            await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(issuer))
            await asyncio.sleep(1)
            assert await queued(stream) == 1
        finally:
            postgres.start()
        await processed(stream)
    assert await event_count(store) == 2
    with pytest.raises(NotFoundError):
        await stream.get_last_msg(DEAD_STREAM, DEAD_SUBJECT)


async def test_a_request_whose_process_died_between_commit_and_acknowledgement_is_appended_once(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    nats_server: Nats,
    database: Database,
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    connection = await nats.connect(nats_server.url)
    stream = connection.jetstream()
    await declare_queue(stream, APPEND_QUEUE)
    await stream.delete_consumer(APPEND_QUEUE.stream, APPEND_QUEUE.consumer)
    await stream.add_consumer(APPEND_QUEUE.stream, IMPATIENT)
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(issuer))

    dying = await asyncio.create_subprocess_exec(
        *(sys.executable, Path(__file__).with_name("dying_inbox.py")),
        *(database.runtime_dsn, database.append_dsn, database.worker_dsn, nats_server.url),
        *(issuer.issuer, issuer.audience, issuer.jwks_file),
    )
    assert await asyncio.wait_for(dying.wait(), 60) == 99, "the process must die exactly where it was told to"
    assert await event_count(store) == 2
    assert await queued(stream) == 1

    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    await connection.close()
    assert await event_count(store) == 2


async def test_a_token_whose_key_is_not_published_yet_waits_for_the_key(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    tmp_path: Path,
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    successor = Issuer(tmp_path)
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(successor))
    published = issuer.jwks_file.read_text()
    try:
        async with running_inbox(store, authenticator, nats_server.url):
            await asyncio.sleep(1)
            assert await queued(stream) == 1
            issuer.jwks_file.write_text(successor.jwks_file.read_text())
            await processed(stream)
    finally:
        issuer.jwks_file.write_text(published)
    assert await event_count(store) == 2


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


async def test_an_unforeseen_error_is_tried_again_and_then_buried_without_its_text(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(work_queue, "MAX_UNFORESEEN_DELIVERIES", 2)
    await store.open_chain("acme", "visit", b"{}")
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(issuer))
    faulty = FaultyStore(store, fail)
    async with running_inbox(faulty, authenticator, nats_server.url):
        letter = await dead_letter(stream)
    assert faulty.asked == 2
    assert letter.headers is not None
    assert letter.headers["Indelible-Reason"] == "INTERNAL"
    assert "secret" not in str(letter.headers)


async def test_a_slow_append_is_not_given_to_anybody_else(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def linger() -> None:
        await asyncio.sleep(3)

    monkeypatch.setattr(work_queue, "HEARTBEAT_SECONDS", 0.3)
    await stream.delete_consumer(APPEND_QUEUE.stream, APPEND_QUEUE.consumer)
    await stream.add_consumer(APPEND_QUEUE.stream, IMPATIENT)
    await store.open_chain("acme", "visit", b"{}")
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(issuer))
    slow = FaultyStore(store, linger)
    async with running_inbox(slow, authenticator, nats_server.url):
        await processed(stream)
    assert slow.asked == 1


async def test_a_stop_finishes_the_requests_under_way(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, stream: JetStreamContext, nats_server: Nats
) -> None:
    started = asyncio.Event()

    async def linger() -> None:
        started.set()
        await asyncio.sleep(1)

    await store.open_chain("acme", "visit", b"{}")
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(issuer))
    async with running_inbox(FaultyStore(store, linger), authenticator, nats_server.url):
        await asyncio.wait_for(started.wait(), 20)
    assert await queued(stream) == 0
    assert await event_count(store) == 2
