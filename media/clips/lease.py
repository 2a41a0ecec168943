"""Keeping a job while it is worked on: signs of life go to the records, and a job that was lost is dropped at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from media.errors import MediaError, Reason
from media.records.values import ClipState, LeaseLostError

# Work that shows no sign of life for so long is stuck, and another worker shall try.
MAX_SILENT_SECONDS = 900.0
_BEATS_PER_LEASE = 3


# Extends a job's lease in the records, and says how far it is if that has changed. Raises LeaseLostError.
Heartbeat = Callable[[ClipState | None], Awaitable[object]]


class Leased(Protocol):
    """A job under a lease: of `Job`, what keeping it takes."""

    @property
    def lease_seconds(self) -> float:
        """How long a lease runs without a heartbeat."""

    @property
    def taken_at(self) -> float:
        """Before the lease began, by this process's monotonic clock in seconds."""


class Lease:
    """One job in one worker's hands."""

    def __init__(self, heartbeat: Heartbeat, job: Leased) -> None:
        """Use `held`."""
        self._heartbeat = heartbeat
        self._lease_seconds = job.lease_seconds
        self._lost = False
        self._over = False
        self._moved_at = time.monotonic()
        self._runs_until = job.taken_at + job.lease_seconds

    def tick(self, *_: object) -> None:
        """The work goes on. From any thread; raises LeaseLostError where it must not."""
        now = time.monotonic()
        # Cut off from the records, a worker must know by itself that the job may be another's by now.
        if self._lost or now >= self._runs_until:
            raise LeaseLostError("this job is another worker's now")
        self._moved_at = now

    def drop(self) -> None:
        """Let no thread that still works for this job do anything more."""
        self._lost = True

    def end(self) -> None:
        """The work is over. Cancelling a beat is not enough: the database may answer in place of the cancellation."""
        self._over = True

    async def enter(self, state: ClipState) -> None:
        """Say how far the job is. Raises LeaseLostError."""
        self.tick()
        await self._extend(state)

    async def beat(self) -> None:
        """Extend the lease until the work is over. Raises LeaseLostError, MediaError (TOO_SLOW) when it is stuck."""
        while not self._over:
            await asyncio.sleep(self._lease_seconds / _BEATS_PER_LEASE)
            if time.monotonic() - self._moved_at > MAX_SILENT_SECONDS:
                raise MediaError(Reason.TOO_SLOW, f"nothing happened for {MAX_SILENT_SECONDS:.0f} seconds")
            try:
                await self._extend()
            except MediaError as error:
                # The lease may outlast the outage; if it does not, the next beat finds it lost.
                if error.reason not in {Reason.DATABASE_UNAVAILABLE, Reason.OVERLOADED}:
                    raise

    async def _extend(self, state: ClipState | None = None) -> None:
        # Counted from before it was asked for: the records cannot have begun to count earlier.
        asked_at = time.monotonic()
        await self._heartbeat(state)
        self._runs_until = max(self._runs_until, asked_at + self._lease_seconds)


@asynccontextmanager
async def held(heartbeat: Heartbeat, job: Leased) -> AsyncIterator[Lease]:
    """Keep the lease while the block runs; the block is cancelled as soon as the job is lost or stuck.

    Raises LeaseLostError or MediaError in place of that cancellation.
    """
    lease = Lease(heartbeat, job)
    try:
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(lease.beat())
            yield lease
            lease.end()
            beating.cancel()
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    finally:
        lease.drop()


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    error = failures.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
