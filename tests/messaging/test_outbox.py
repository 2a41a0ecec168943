import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nats
import psycopg
import pytest
from indelible.ledger.v1 import ledger_pb2
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy
from prometheus_client import CollectorRegistry

from ledger.errors import LedgerError
from ledger.messaging.metrics import OutboxMetrics
from ledger.messaging.outbox import run_outbox
from ledger.messaging.streams import (
    ANCHORS_STREAM,
    CHAINS_STREAM,
    StreamMismatchError,
    appended_subject,
    declare_outbox,
)
from ledger.store import LedgerStore
from ledger.store.values import AnchorTarget, NewEvent
from sandbox.database import Database
from sandbox.nats import Nats
from sandbox.postgres import Postgres
from tests.messaging.conftest import PATIENCE_SECONDS


@contextlib.asynccontextmanager
async def running_outbox(store: LedgerStore, database: Database, url: str) -> AsyncIterator[OutboxMetrics]:
    stop = asyncio.Event()
    metrics = OutboxMetrics(CollectorRegistry())
    task = asyncio.create_task(run_outbox(store, database.worker_dsn, url, stop, metrics))
    try:
        yield metrics
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_SECONDS)


@contextlib.asynccontextmanager
async def connected_to(server: Nats) -> AsyncIterator[JetStreamContext]:
    connection = await nats.connect(server.url)
    try:
        yield connection.jetstream(timeout=60)
    finally:
        await connection.close()


@pytest.fixture
async def stream(nats_server: Nats) -> AsyncIterator[JetStreamContext]:
    async with connected_to(nats_server) as opened:
        await declare_outbox(opened)
        yield opened


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.05)


async def outbox_emptied(store: LedgerStore) -> None:
    async def is_empty() -> bool:
        with contextlib.suppress(LedgerError):
            return not await store.read_outbox(1)
        return False

    await until(is_empty)


async def append(store: LedgerStore, chain_id: str, count: int, *, batch: int = 1) -> None:
    for number in range(0, count, batch):
        events = [NewEvent(kind="note.added", payload=b'{"n":%d}' % (number + offset)) for offset in range(batch)]
        await store.append_events("acme", chain_id, events, f"append-{number}-{time.monotonic_ns()}")


async def published(stream: JetStreamContext, subject: str, name: str = CHAINS_STREAM) -> list[tuple[bytes, str]]:
    """Every message under `subject` in stream order: body and message id."""
    last = (await stream.stream_info(name)).state.last_seq
    found = []
    for sequence in range(1, last + 1):
        message = await stream.get_msg(name, sequence)
        if message.subject == subject and message.headers is not None:
            found.append((message.data or b"", message.headers["Nats-Msg-Id"]))
    return found


async def assert_published_once_in_order(store: LedgerStore, stream: JetStreamContext, chain_id: str) -> None:
    committed = await store.list_events("acme", chain_id, from_sequence=1, limit=5000)
    messages = await published(stream, appended_subject("acme", chain_id))
    assert [message_id for _, message_id in messages] == [event.hash.hex() for event in committed]
    for (body, _), event in zip(messages, committed, strict=True):
        sent = ledger_pb2.Event.FromString(body)
        assert (sent.sequence, sent.kind, sent.payload.decode(), sent.prev_hash, sent.hash) == (
            event.sequence,
            event.kind,
            event.payload,
            event.prev_hash,
            event.hash,
        )


async def test_every_committed_event_is_published_in_order_and_then_forgotten(
    store: LedgerStore, database: Database, nats_server: Nats, stream: JetStreamContext
) -> None:
    for chain_id in ("one", "two"):
        await store.open_chain("acme", chain_id, b"{}")
        await append(store, chain_id, 500, batch=250)
    async with running_outbox(store, database, nats_server.url):
        await append(store, "one", 20)
        await outbox_emptied(store)
    for chain_id in ("one", "two", "operations"):
        await assert_published_once_in_order(store, stream, chain_id)


async def test_a_relay_that_died_before_forgetting_publishes_again_and_nothing_is_doubled(
    store: LedgerStore, database: Database, nats_server: Nats, stream: JetStreamContext
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    await append(store, "visit", 300, batch=100)
    dying = await asyncio.create_subprocess_exec(
        *(sys.executable, Path(__file__).with_name("dying_outbox.py")),
        *(database.runtime_dsn, database.append_dsn, database.worker_dsn, nats_server.url),
    )
    assert await asyncio.wait_for(dying.wait(), 2 * PATIENCE_SECONDS) == 99, (
        "the process must die exactly where it was told to"
    )
    assert (await stream.stream_info(CHAINS_STREAM)).state.messages > 300
    assert await store.read_outbox(1)
    async with running_outbox(store, database, nats_server.url):
        await append(store, "visit", 5)
        await outbox_emptied(store)
    await assert_published_once_in_order(store, stream, "visit")


async def test_events_wait_while_nats_is_gone_and_follow_in_order_when_it_returns(
    store: LedgerStore, database: Database, nats_server: Nats
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    async with running_outbox(store, database, nats_server.url):
        for _ in range(3):
            await append(store, "visit", 100, batch=25)
            nats_server.kill()
            await append(store, "visit", 100, batch=25)
            nats_server.start()
        await outbox_emptied(store)
    async with connected_to(nats_server) as stream:
        await assert_published_once_in_order(store, stream, "visit")


async def test_events_follow_in_order_when_postgresql_returns(
    store: LedgerStore, database: Database, nats_server: Nats, stream: JetStreamContext, postgres: Postgres
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    async with running_outbox(store, database, nats_server.url):
        await append(store, "visit", 300, batch=100)
        postgres.kill()
        postgres.start()
        await append(store, "visit", 300, batch=100)
        await outbox_emptied(store)
    await assert_published_once_in_order(store, stream, "visit")


async def test_a_stranger_in_the_stream_delays_events_but_loses_and_disorders_none(
    store: LedgerStore, database: Database, nats_server: Nats, stream: JetStreamContext
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    await append(store, "visit", 2000, batch=500)

    async def intrude() -> None:
        while True:
            await stream.publish(appended_subject("acme", "elsewhere"), b"not ours")

    intruder = asyncio.create_task(intrude())
    async with running_outbox(store, database, nats_server.url):
        await outbox_emptied(store)
        intruder.cancel()
        await append(store, "visit", 20, batch=5)
        await outbox_emptied(store)
    await assert_published_once_in_order(store, stream, "visit")


async def test_only_one_relay_is_active_and_another_takes_over_when_its_session_ends(
    store: LedgerStore, database: Database, nats_server: Nats, stream: JetStreamContext
) -> None:
    await store.open_chain("acme", "visit", b"{}")

    def is_active(metrics: OutboxMetrics) -> bool:
        return next(iter(metrics.active.collect())).samples[0].value == 1

    async with (
        running_outbox(store, database, nats_server.url) as first,
        running_outbox(store, database, nats_server.url) as second,
    ):

        async def one_is_active() -> bool:
            return is_active(first) != is_active(second)

        async def a_session_was_ended() -> bool:
            with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
                ended = connection.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND classid = %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                    [0x494E444C],
                ).fetchone()
            assert ended in {(0,), (1,)}
            return ended == (1,)

        for _ in range(3):
            await append(store, "visit", 50, batch=10)
            await outbox_emptied(store)
            # One that lost its session needs a moment to notice, and the other one to take over.
            await until(one_is_active)
            await until(a_session_was_ended)
            await append(store, "visit", 50, batch=10)
            await outbox_emptied(store)
    await assert_published_once_in_order(store, stream, "visit")


async def test_an_obtained_anchor_is_published_under_the_chain_it_anchors(
    store: LedgerStore, database: Database, nats_server: Nats, stream: JetStreamContext
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    _, receipt = await store.close_chain("acme", "visit")
    target = AnchorTarget(backend="rfc3161", authority="one")
    [job] = await store.lease_anchor_jobs(owner="test", lease=timedelta(minutes=1), limit=5, authorities=[target])
    anchored_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert await store.complete_anchor_job(
        job, request=b"asked", response=b"answered", anchored_at=anchored_at, evidence=[]
    )
    async with running_outbox(store, database, nats_server.url):
        await outbox_emptied(store)
    [(body, _)] = await published(stream, "indelible.v1.anchors.acme.visit.rfc3161", ANCHORS_STREAM)
    anchor = ledger_pb2.Anchor.FromString(body)
    assert anchor.digest == receipt.event_hashes[-1]
    assert (anchor.sequence, anchor.authority, anchor.state) == (2, "one", ledger_pb2.ANCHOR_STATE_OBTAINED)
    assert anchor.anchored_at.ToDatetime(UTC) == anchored_at


async def test_a_stream_that_would_lose_messages_is_refused_with_the_remedy(nats_server: Nats) -> None:
    async with connected_to(nats_server) as stream:
        await stream.add_stream(name=CHAINS_STREAM, subjects=["elsewhere.>"], retention=RetentionPolicy.INTEREST)
        with pytest.raises(StreamMismatchError, match=r"indelible-v1-chains .*'indelible\.v1\.chains\.>'.* limits"):
            await declare_outbox(stream)


async def test_an_operators_own_limits_of_a_stream_are_left_alone(nats_server: Nats) -> None:
    async with connected_to(nats_server) as stream:
        await stream.add_stream(name=CHAINS_STREAM, subjects=["indelible.v1.chains.>"], max_age=3600)
        await declare_outbox(stream)
        assert (await stream.stream_info(CHAINS_STREAM)).config.max_age == 3600
