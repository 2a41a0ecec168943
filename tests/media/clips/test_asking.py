"""Lanes get every job there is, and cost next to nothing while there is none."""

import asyncio

import pytest
import structlog

from media.clips import asking
from media.clips.asking import Asking
from media.errors import MediaError, Reason

LANES = 8


class Jobs:
    """Jobs that come whenever they come, and how often they were asked for."""

    def __init__(self) -> None:
        self.due: list[int] = []
        self.asked = 0
        self.fails = False

    async def claim(self) -> int | None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.fails:
            raise MediaError(Reason.DATABASE_UNAVAILABLE, "gone")
        return self.due.pop() if self.due else None


@pytest.fixture(autouse=True)
def _short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "IDLE_SECONDS", 0.1)


async def test_idle_lanes_ask_as_often_as_one_would() -> None:
    jobs = Jobs()
    shared = Asking(jobs.claim, structlog.stdlib.get_logger())
    lanes = [asyncio.create_task(shared.next(asyncio.Event())) for _ in range(LANES)]
    await asyncio.sleep(0.5)
    for lane in lanes:
        lane.cancel()
    assert 2 <= jobs.asked <= 11


async def test_jobs_that_come_at_once_are_worked_on_at_once_whatever_went_wrong_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = Jobs()
    jobs.fails = True
    shared = Asking(jobs.claim, structlog.stdlib.get_logger())
    lanes = [asyncio.create_task(shared.next(asyncio.Event())) for _ in range(LANES)]
    await asyncio.sleep(0.2)
    jobs.due, jobs.fails = list(range(LANES)), False
    # Whoever pauses from now on comes too late.
    monkeypatch.setattr(asking, "IDLE_SECONDS", 3600.0)
    async with asyncio.timeout(30):
        assert sorted(job for job in await asyncio.gather(*lanes) if job is not None) == list(range(LANES))


async def test_lanes_stop_asking_when_they_are_to_stop() -> None:
    jobs, stop = Jobs(), asyncio.Event()
    shared = Asking(jobs.claim, structlog.stdlib.get_logger())
    lanes = [asyncio.create_task(shared.next(stop)) for _ in range(LANES)]
    await asyncio.sleep(0.05)
    stop.set()
    async with asyncio.timeout(30):
        assert await asyncio.gather(*lanes) == [None] * LANES
