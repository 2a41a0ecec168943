"""The table of docs/guides/anchoring.md, "When several are down": each cell with every choice of who is down."""

import itertools
import time
from collections.abc import AsyncIterator, Collection, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.anchoring import worker
from sandbox.authorities import Authorities
from sandbox.calendar import CalendarSandbox, start_calendar
from sandbox.database import Database
from sandbox.tezos import TezosSandbox
from tests.anchoring.ledger_under_test import open_ledger
from tests.anchoring.outage_world import EVERYONE, RFC3161, Outsiders, World, give_clock, status_of, targets
from tests.anchoring.tezos.tezos_under_test import running_network

MINUTE, DAY, WEEK = timedelta(minutes=1), timedelta(days=1), timedelta(days=7)
HOUR = timedelta(hours=1)
# On a busy machine. One that is down stays so: who waited for it to answer would wait until the test is over.
CLOSING_SECONDS = 60.0
MANY_ATTEMPTS = 20  # in a day, when no pause is longer than an hour
NO_ANSWER, ERRORS, NONSENSE = range(3)

CHOICES = [frozenset(chosen) for count in (1, 2, 3) for chosen in itertools.combinations(sorted(EVERYONE), count)]
down_choices = pytest.mark.parametrize("down", CHOICES, ids=lambda chosen: "+".join(sorted(chosen)))


@pytest.fixture(scope="module")
def tezos(sandbox_directory: Path) -> Iterator[TezosSandbox]:
    with running_network(sandbox_directory / "outages-tezos") as network:
        yield network


@pytest.fixture(scope="module")
def calendars(sandbox_directory: Path) -> Iterator[CalendarSandbox]:
    with start_calendar(sandbox_directory / "outages-calendars") as running:
        yield running


@pytest.fixture
async def world(
    database: Database,
    rogues: Authorities,
    tezos: TezosSandbox,
    calendars: CalendarSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.03)
    outsiders = Outsiders(authority=rogues.two, tezos=tezos, calendars=calendars)
    outsiders.heal()
    outsiders.configure(tmp_path)
    give_clock(database)
    async with open_ledger(database, targets()) as opened:
        yield World(ledger=opened, outsiders=outsiders, folder=tmp_path)
    outsiders.heal()


async def close_at_once(world: World, chain_id: str) -> None:
    began = time.monotonic()
    await world.ledger.closed_session(chain_id)
    assert time.monotonic() - began < CLOSING_SECONDS


async def require_pending(world: World, chain_id: str, down: Collection[str]) -> None:
    """The bundle says for exactly those who are down that they have not answered; everyone else vouches for it."""
    report = await world.export(chain_id)
    expected = {name: "pending" if name in down else "valid" for name in EVERYONE}
    assert status_of(report) == expected
    assert report.verdict == ("VERIFIED" if len(down) < len(EVERYONE) else "INDETERMINATE")


async def require_recovery(world: World, chains: list[str]) -> None:
    """With everyone back, the later bundle has what the earlier one lacked, and nothing is there twice."""
    world.outsiders.heal()
    await world.pass_time(8 * HOUR)
    for chain_id in chains:
        await require_pending(world, chain_id, ())
    await world.require_once(chains)
    assert await world.ledger.sql("SELECT 1 FROM indelible.anchor_jobs") == []


@down_choices
async def test_who_is_down_for_a_minute_delays_nobody_else_and_is_caught_up_with(
    world: World, down: frozenset[str]
) -> None:
    up = EVERYONE - down
    async with world.working():
        world.outsiders.fail(down, NO_ANSWER)
        await close_at_once(world, "during")
        await world.pass_time(MINUTE, step=timedelta(seconds=5))
        await world.pass_time(3 * HOUR, up)  # those who answer need their blocks, whoever else is down
        await require_pending(world, "during", down)
        await require_recovery(world, ["during"])


@down_choices
async def test_who_is_down_for_a_day_finds_everything_that_was_closed_before_and_meanwhile(
    world: World, down: frozenset[str]
) -> None:
    async with world.working():
        await close_at_once(world, "before")
        await world.settle()
        world.outsiders.fail(down, ERRORS)
        await close_at_once(world, "during")
        await world.pass_time(DAY)
        # Who signs at once had signed before; what needs blocks was on its way and goes on from there.
        await require_pending(world, "before", down - {RFC3161})
        await require_pending(world, "during", down)
        for name in down:
            status = (await world.statuses("during"))[name]
            assert status.attempts > MANY_ATTEMPTS
            assert status.last_error
        oldest = await world.ledger.store.oldest_unanchored()
        assert {target.authority for target in oldest} == down
        assert all(world.clock() - asked_for >= DAY for asked_for in oldest.values())
        await require_recovery(world, ["before", "during"])


@down_choices
async def test_who_is_down_for_ever_is_asked_for_ever_until_taken_out_and_is_not_missed_then(
    world: World, down: frozenset[str], database: Database
) -> None:
    up = EVERYONE - down
    async with world.working():
        world.outsiders.fail(down, NONSENSE)
        await close_at_once(world, "during")
        await world.pass_time(6 * HOUR, up)
        await world.settle()
        for _ in range(4):
            before = await world.statuses("during")
            await world.advance(WEEK)
            await world.settle()
            after = await world.statuses("during")
            assert all(after[name].attempts > before[name].attempts for name in down)
        await require_pending(world, "during", down)

    # The operator gives up on them: the file names only the others now.
    remaining = [target for target in targets() if target.authority in up]
    async with open_ledger(database, remaining, organisation=world.ledger.organisation) as ledger:
        world.ledger = ledger
        async with world.working(up):
            await close_at_once(world, "after")
            await world.pass_time(6 * HOUR, up)
            assert await ledger.store.oldest_unanchored() == {}
            assert set(await world.statuses("after")) == up
            for name, status in (await world.statuses("during")).items():
                assert (name in down) == status.last_error.startswith("this authority is no longer configured")
            await require_pending(world, "during", down)
            await world.require_once(["during", "after"], up)

    # Somebody brings them back after all: what waited is still there.
    async with open_ledger(database, targets(), organisation=world.ledger.organisation) as ledger:
        world.ledger = ledger
        world.outsiders.heal()
        async with world.working():
            await world.pass_time(8 * HOUR)
            await require_pending(world, "during", ())
            assert await ledger.sql("SELECT 1 FROM indelible.anchor_jobs") == []
