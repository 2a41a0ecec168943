"""Whoever has a turn does not write it down over and over, and still neither keeps it too long nor shares it."""

import asyncio

import psycopg
import pytest

from media.clips.turns import Turn
from media.records.records import Records
from sandbox.database import Database


def written(database: Database) -> str:
    """Changes whenever the turn is written."""
    with psycopg.connect(database.admin_dsn) as connection:
        row = connection.execute("SELECT xmin, owner FROM evidence.turns WHERE name = 'relay'").fetchone()
    return str(row)


def turn(records: Records, owner: str, seconds: float) -> Turn:
    return Turn(records, "relay", owner=owner, seconds=seconds)


async def test_a_turn_that_is_held_is_written_once_in_a_third_of_its_time(records: Records, database: Database) -> None:
    mine = turn(records, "one", 9)
    assert await mine.take()
    first = written(database)
    assert await mine.take()
    assert written(database) == first
    await asyncio.sleep(3.1)
    assert await mine.take()
    assert written(database) != first


async def test_a_turn_is_still_ones_own_when_it_is_asked_for_again(records: Records) -> None:
    mine, other = turn(records, "one", 4.5), turn(records, "two", 4.5)
    assert await mine.take()
    for _ in range(20):
        await asyncio.sleep(0.25)
        assert await mine.take()
        assert not await other.take()


async def test_a_turn_that_was_given_up_is_not_ones_own_any_more(records: Records) -> None:
    mine, other = turn(records, "one", 60), turn(records, "two", 60)
    assert await mine.take()
    await mine.give_up()
    assert await other.take()
    assert not await mine.take()


@pytest.mark.parametrize("work_seconds", [0.0, 6.0])
async def test_work_that_outlasts_the_turn_keeps_it(records: Records, work_seconds: float) -> None:
    mine, other = turn(records, "one", 4.5), turn(records, "two", 4.5)
    assert await mine.take()
    async with mine.kept():
        await asyncio.sleep(work_seconds)
        assert not await other.take()
