"""Where a worker's lanes get their jobs."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

# How long an idle worker waits before it asks for a job again.
IDLE_SECONDS = 1.0

_Job = TypeVar("_Job")


class Asking(Generic[_Job]):
    """Asks the records for jobs on behalf of all lanes: one lane at a time asks, so idle lanes cost what one costs."""

    def __init__(self, claim: Callable[[], Awaitable[_Job | None]], log: structlog.stdlib.BoundLogger) -> None:
        """`claim` takes a job that is due, if there is one."""
        self._claim = claim
        self._log = log
        self._turn = asyncio.Lock()

    async def next(self, stop: asyncio.Event) -> _Job | None:
        """The next job, for as long as it takes; None once `stop` is set."""
        async with self._turn:
            while not stop.is_set():
                try:
                    job = await self._claim()
                except Exception as error:  # noqa: BLE001 - a lane that ends here would take the worker with it
                    self._log.warning("claim_failed", exc_info=error)
                    job = None
                if job is not None:
                    return job
                await asyncio.sleep(IDLE_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load only
        return None
