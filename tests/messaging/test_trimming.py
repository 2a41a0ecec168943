import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from ledger.messaging import trimming
from ledger.messaging.relay_turn import relays_turn
from ledger.messaging.trimming import run_trimming
from ledger.store import LedgerStore
from ledger.store.values import NewEvent
from sandbox.database import Database
from tests.messaging.conftest import PATIENCE_SECONDS

KEPT = 5


@contextlib.asynccontextmanager
async def running_trimming(store: LedgerStore, database: Database) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_trimming(store, database.worker_dsn, stop, keep=KEPT))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_SECONDS)


async def append(store: LedgerStore, count: int) -> None:
    for _ in range(count):
        await store.append_events("acme", "visit", [NewEvent(kind="a.b", payload=b"{}")], f"{time.monotonic_ns()}")


async def waiting(store: LedgerStore) -> list[tuple[int, int]]:
    return [(entry.first_sequence, entry.last_sequence) for entry in await store.read_outbox(1_000)]


async def until_trimmed(store: LedgerStore) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(await waiting(store)) > KEPT:
        assert time.monotonic() < deadline, "nothing was dropped"
        await asyncio.sleep(0.05)


async def test_without_nats_only_the_newest_entries_are_kept(
    store: LedgerStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trimming, "TRIM_SECONDS", 0.1)
    await store.open_chain("acme", "visit", b"{}")
    await append(store, 20)
    async with running_trimming(store, database):
        await until_trimmed(store)
        assert await waiting(store) == [(number, number) for number in range(17, 22)]
        await append(store, 20)
        await until_trimmed(store)
    assert await waiting(store) == [(number, number) for number in range(37, 42)]
    assert (await store.get_chain("acme", "visit")).event_count == 41, "the record itself is whole"


async def test_nothing_is_dropped_while_a_relay_is_at_work(store: LedgerStore, database: Database) -> None:
    await store.open_chain("acme", "visit", b"{}")
    await append(store, 20)
    before = await waiting(store)
    async with relays_turn(database.worker_dsn, asyncio.Event()) as relay:
        assert relay is not None
        async with running_trimming(store, database):
            await asyncio.sleep(1.5)
    assert await waiting(store) == before


async def test_few_entries_and_none_are_left_alone(store: LedgerStore) -> None:
    await store.trim_outbox(KEPT)
    assert await waiting(store) == []
    await store.open_chain("acme", "visit", b"{}")
    before = await waiting(store)
    await store.trim_outbox(KEPT)
    assert await waiting(store) == before


async def test_trimming_goes_on_after_an_outage_of_the_database(
    store: LedgerStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trimming, "TRIM_SECONDS", 0.1)
    await store.open_chain("acme", "visit", b"{}")
    async with running_trimming(store, database):
        with psycopg.connect(database.admin_dsn, autocommit=True) as administrator:
            administrator.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
            )
        await append(store, 20)
        await until_trimmed(store)
