import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from unittest.mock import patch

import pytest
import structlog

from ledger.anchoring.schedule import run_schedule
from ledger.store.endings import Endings
from ledger.store.values import NewEvent
from sandbox.database import Database
from tests.anchoring.ledger_under_test import PATIENCE_SECONDS, Ledger, open_ledger, working
from tests.anchoring.paper import OTHER, TARGET, Backend, Source

NEVER = timedelta(days=365)
AT_ONCE = timedelta(0)


@pytest.fixture
async def ledger(module_database: Database) -> AsyncIterator[Ledger]:
    async with open_ledger(module_database, [TARGET, OTHER]) as opened:
        yield opened


async def look_once(ledger: Ledger, *, interval: timedelta, max_events: int) -> None:
    """One round of the schedule."""
    stop = asyncio.Event()
    schedule = asyncio.create_task(
        run_schedule(ledger.store, stop, interval=interval, max_events=max_events, look_seconds=60.0)
    )
    await asyncio.sleep(0.5)
    stop.set()
    await schedule


async def append(ledger: Ledger, chain_id: str, count: int, key: str) -> None:
    events = [NewEvent(kind="door.opened", payload=b"{}") for _ in range(count)]
    await ledger.store.append_events(ledger.organisation, chain_id, events, key)


async def checkpoints(ledger: Ledger, chain_id: str) -> int:
    events = await ledger.store.list_events(
        ledger.organisation, chain_id, from_sequence=1, limit=1000, kinds=["chain.checkpointed"]
    )
    return len(events)


async def test_an_open_session_is_checkpointed_when_its_oldest_event_is_too_old(ledger: Ledger) -> None:
    await ledger.store.open_chain(ledger.organisation, "s1", b"{}")
    await look_once(ledger, interval=NEVER, max_events=100)
    assert await checkpoints(ledger, "s1") == 0
    await look_once(ledger, interval=AT_ONCE, max_events=100)
    assert await checkpoints(ledger, "s1") == 1
    assert set(await ledger.anchors("s1")) == {"gazette", "herald"}


async def test_the_schedule_closes_an_ended_session_that_waits_for_nothing_any_more(ledger: Ledger) -> None:
    begun = [NewEvent(kind="clip.requested", payload=b'{"clip_id":"c1"}')]
    for chain_id in ("done", "waiting"):
        await ledger.store.open_chain(ledger.organisation, chain_id, b"{}")
        await ledger.store.append_events(ledger.organisation, chain_id, begun, "begun")
        await ledger.store.end_session(ledger.organisation, chain_id)
    # As by a service that was killed between the last result and the closing: the append is the database's alone.
    done = [NewEvent(kind="clip.failed", payload=b'{"clip_id":"c1"}')]
    with patch.object(Endings, "close_done"):
        await ledger.store.append_events(ledger.organisation, "done", done, "done")
    assert (await ledger.store.get_chain(ledger.organisation, "done")).state == "ended"
    await asyncio.gather(*(look_once(ledger, interval=NEVER, max_events=100) for _ in range(3)))
    assert (await ledger.store.get_chain(ledger.organisation, "done")).state == "closed"
    assert (await ledger.store.get_chain(ledger.organisation, "waiting")).state == "ended"


async def test_an_open_session_is_checkpointed_when_it_has_too_many_events(ledger: Ledger) -> None:
    await ledger.store.open_chain(ledger.organisation, "s1", b"{}")
    await append(ledger, "s1", 8, "a")
    await look_once(ledger, interval=NEVER, max_events=10)
    assert await checkpoints(ledger, "s1") == 0
    await append(ledger, "s1", 1, "b")
    await look_once(ledger, interval=NEVER, max_events=10)
    assert await checkpoints(ledger, "s1") == 1
    await look_once(ledger, interval=NEVER, max_events=10)
    assert await checkpoints(ledger, "s1") == 1


async def test_a_quiet_or_closed_chain_is_left_alone(ledger: Ledger) -> None:
    await ledger.store.open_chain(ledger.organisation, "s1", b"{}")
    await ledger.closed_session("s2")
    for _ in range(3):
        await look_once(ledger, interval=AT_ONCE, max_events=1)
    assert await checkpoints(ledger, "s1") == 1
    assert await checkpoints(ledger, "s2") == 0


async def test_anchors_of_the_operations_chain_do_not_cause_its_next_checkpoint(ledger: Ledger) -> None:
    await ledger.closed_session("s1")
    async with working(ledger.store, Source(Backend(TARGET), Backend(OTHER))):
        await ledger.wait_for("s1", "gazette", state="obtained")
        await ledger.wait_for("s1", "herald", state="obtained")
        for _ in range(5):
            await look_once(ledger, interval=AT_ONCE, max_events=1)
        await asyncio.sleep(1.0)
        settled = await checkpoints(ledger, "operations")
        assert settled >= 1
        for _ in range(3):
            await look_once(ledger, interval=AT_ONCE, max_events=1)
        assert await checkpoints(ledger, "operations") == settled
        await ledger.store.open_chain(ledger.organisation, "s3", b"{}")
        await look_once(ledger, interval=AT_ONCE, max_events=1)
        assert await checkpoints(ledger, "operations") == settled + 1


async def test_schedule_and_worker_outlast_a_database_that_is_away(ledger: Ledger) -> None:
    await ledger.store.open_chain(ledger.organisation, "s1", b"{}")
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as log:
        await ledger.sever()
        async with working(ledger.store, Source(Backend())):
            schedule = asyncio.create_task(
                run_schedule(ledger.store, stop, interval=AT_ONCE, max_events=100, look_seconds=0.2)
            )
            async with asyncio.timeout(PATIENCE_SECONDS):
                both = {"due_chains_unknown", "anchor_jobs_not_leased"}
                while not both <= {line["event"] for line in log}:  # noqa: ASYNC110  # a log wakes nobody
                    await asyncio.sleep(0.1)
                await ledger.reconnect()
                while await checkpoints(ledger, "s1") == 0:  # noqa: ASYNC110  # what is waited for is in PostgreSQL
                    await asyncio.sleep(0.1)
            await ledger.wait_for("s1", "gazette", state="obtained")
            stop.set()
            await schedule
