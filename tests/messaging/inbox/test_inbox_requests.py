import asyncio
import sys
from pathlib import Path

import nats
import pytest
from google.protobuf import json_format
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from ledger.identity import Authenticator
from ledger.messaging import work_queue
from ledger.messaging.streams import (
    APPEND_QUEUE,
    APPEND_SUBJECT,
    DEAD_STREAM,
    DEAD_SUBJECT,
    declare_queue,
)
from ledger.store import LedgerStore
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.nats import Nats
from sandbox.postgres import Postgres
from tests.messaging.conftest import PATIENCE_SECONDS
from tests.messaging.inbox.requests import (
    ACK_SECONDS,
    IMPATIENT,
    FaultyStore,
    event_count,
    headers,
    processed,
    queued,
    request,
    running_inbox,
)


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


async def test_requests_wait_while_nats_is_gone_and_go_on_when_it_returns(
    store: LedgerStore, authenticator: Authenticator, issuer: Issuer, nats_server: Nats
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    async with running_inbox(store, authenticator, nats_server.url):
        for round_number in range(3):
            nats_server.kill()
            nats_server.start()
            connection = await nats.connect(nats_server.url)
            stream = connection.jetstream(timeout=60)
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
    stream = connection.jetstream(timeout=60)
    await declare_queue(stream, APPEND_QUEUE)
    await stream.delete_consumer(APPEND_QUEUE.stream, APPEND_QUEUE.consumer)
    await stream.add_consumer(APPEND_QUEUE.stream, IMPATIENT)
    await stream.publish(APPEND_SUBJECT, request().SerializeToString(), headers=headers(issuer))

    dying = await asyncio.create_subprocess_exec(
        *(sys.executable, Path(__file__).with_name("dying_inbox.py")),
        *(database.runtime_dsn, database.append_dsn, database.worker_dsn, nats_server.url),
        *(issuer.issuer, issuer.audience, issuer.jwks_file),
    )
    assert await asyncio.wait_for(dying.wait(), 2 * PATIENCE_SECONDS) == 99, (
        "the process must die exactly where it was told to"
    )
    assert await event_count(store) == 2
    assert await queued(stream) == 1

    async with running_inbox(store, authenticator, nats_server.url):
        await processed(stream)
    await connection.close()
    assert await event_count(store) == 2


async def test_a_slow_append_is_not_given_to_anybody_else(
    store: LedgerStore,
    authenticator: Authenticator,
    issuer: Issuer,
    stream: JetStreamContext,
    nats_server: Nats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def linger() -> None:
        await asyncio.sleep(ACK_SECONDS + 2)

    monkeypatch.setattr(work_queue, "HEARTBEAT_SECONDS", 0.5)
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
        await asyncio.wait_for(started.wait(), PATIENCE_SECONDS)
    assert await queued(stream) == 0
    assert await event_count(store) == 2
