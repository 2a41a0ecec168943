"""The anchoring worker: takes due jobs, asks their authorities, stores what they prove, and never gives up.

Rules:

1. Each authority has its own lane: it leases only its own jobs, no more than it has room for. One that is down or
   slow holds up nothing but itself.
2. A job is only ever removed by the commit that stores its anchor and notes it on the operations chain. Until then it
   is either due, waiting for its next attempt, or leased; a lease runs out by itself. So whatever dies, wherever,
   the job is done again: at worst an authority is asked twice and the second answer is thrown away.
3. Failures are tried again for ever, the pause doubling up to an hour, shortened at random so that many jobs that
   failed together do not come back together.
4. Any number of workers may run, in any number of processes.
"""

import asyncio
import contextlib
import random
import secrets
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from ledger.anchoring.metrics import AnchoringMetrics
from ledger.anchoring.port import (
    AnchorBackend,
    AnchoringFailedError,
    BackendSource,
    InProgress,
    Obtained,
    UnavailableError,
)
from ledger.errors import LedgerError, Reason
from ledger.store.values import AnchorJob, AnchorTarget, Evidence
from ledger.timestamps import utc_now

FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 3600.0
POLL_SECONDS = 0.5  # from a close to its first request, when nothing else is going on
DRAIN_SECONDS = 10.0  # what is under way when the worker is told to stop may take this long to finish
STORE_SECONDS = 30.0  # a database that does not answer for so long is treated as away
STORE_RETRY_SECONDS = 2.0
LEASE_MARGIN_SECONDS = 60.0  # beyond an attempt's own time: for storing, also through a short database outage
GAUGE_SECONDS = 5.0
LONGEST_POLL_SECONDS = 30.0  # between attempts to reach a database that is away

_MAX_ERROR_CHARACTERS = 500

_log = structlog.get_logger()


class AnchorStore(Protocol):
    """What the worker needs of the ledger's store."""

    async def lease_anchor_jobs(
        self, *, owner: str, lease: timedelta, limit: int, authorities: Collection[AnchorTarget]
    ) -> list[AnchorJob]:
        """Up to `limit` due jobs of `authorities`, which nobody else gets before `lease` is over."""

    async def complete_anchor_job(
        self,
        job: AnchorJob,
        *,
        request: bytes,
        response: bytes,
        anchored_at: datetime,
        evidence: Sequence[Evidence],
    ) -> bool:
        """Store the anchor, note it on the operations chain and end the job, all at once; False: it was done before."""

    async def fail_anchor_job(
        self, job: AnchorJob, *, error: str, next_attempt_at: datetime, state: dict[str, object] | None = None
    ) -> None:
        """Give the lease back, until `next_attempt_at`."""

    async def oldest_unanchored(self) -> Mapping[AnchorTarget, datetime]:
        """When the oldest job that waits was asked for, by configured authority."""

    async def pending_anchor_counts(self) -> Mapping[AnchorTarget, int]:
        """How many jobs wait, by authority, configured or not."""


class AnchoringWorker:
    """Serves every backend of `source` until told to stop. `clock` says when failed jobs are to be tried again."""

    def __init__(
        self,
        store: AnchorStore,
        source: BackendSource,
        *,
        metrics: AnchoringMetrics,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._source = source
        self._metrics = metrics
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish what is under way, for at most DRAIN_SECONDS, and return."""
        owner = f"{socket.gethostname()}-{secrets.token_hex(6)}"
        async with self._source.open_backends() as backends, asyncio.TaskGroup() as group:
            for backend in backends:
                lane = _Lane(self._store, backend, self._metrics, self._clock, owner)
                group.create_task(lane.run(stop), name=f"anchoring-{backend.target.authority}")
            group.create_task(self._keep_gauges(stop, [backend.target for backend in backends]))

    async def _keep_gauges(self, stop: asyncio.Event, targets: Sequence[AnchorTarget]) -> None:
        while not stop.is_set():
            try:
                await self._refresh_gauges(targets)
            except Exception as error:  # noqa: BLE001  # gauges that are late must not stop what they are about
                _report(_log, "anchoring_gauges_stale", error)
            await _pause(stop, GAUGE_SECONDS)

    async def _refresh_gauges(self, targets: Sequence[AnchorTarget]) -> None:
        oldest, counts = await self._store.oldest_unanchored(), await self._store.pending_anchor_counts()
        self._metrics.show_waiting(targets, oldest=oldest, counts=counts, now=self._clock())


class _Lane:
    """One authority's jobs."""

    def __init__(
        self,
        store: AnchorStore,
        backend: AnchorBackend,
        metrics: AnchoringMetrics,
        clock: Callable[[], datetime],
        owner: str,
    ) -> None:
        self._store = store
        self._backend = backend
        self._metrics = metrics
        self._clock = clock
        self._owner = owner
        self._lease = timedelta(seconds=backend.attempt_seconds + LEASE_MARGIN_SECONDS)
        self._running: set[asyncio.Task[None]] = set()
        self._asked_at = 0.0
        self._log = _log.bind(backend=backend.target.backend, authority=backend.target.authority)

    async def run(self, stop: asyncio.Event) -> None:
        """Lease and start jobs as there is room and the authority's own pace allows."""
        try:
            await self._serve(stop)
            await self._drain()
        finally:
            for task in self._running:
                task.cancel()

    async def _serve(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                jobs = await self._lease_jobs()
                failures = 0
            except Exception as error:  # noqa: BLE001  # whatever it is, the lane must come back
                failures += 1
                _report(self._log, "anchor_jobs_not_leased", error)
                await _pause(stop, pause_seconds(failures, LONGEST_POLL_SECONDS))
                continue
            for job in jobs:
                task = asyncio.create_task(self._attend(job))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            await self._wait_for_room(stop, leased=len(jobs))

    async def _lease_jobs(self) -> list[AnchorJob]:
        room = self._backend.concurrency - len(self._running)
        if self._backend.min_interval_seconds > 0:
            room = min(room, 1)  # none is leased only to wait its turn
        if room <= 0:
            return []
        async with asyncio.timeout(STORE_SECONDS):  # cut off after the lease was taken, it runs out
            return await self._store.lease_anchor_jobs(
                owner=self._owner, lease=self._lease, limit=room, authorities=[self._backend.target]
            )

    async def _wait_for_room(self, stop: asyncio.Event, *, leased: int) -> None:
        if leased and (interval := self._backend.min_interval_seconds) > 0:
            await _pause(stop, interval)
            # The authority counts from when it was asked, which on a busy machine is some time after the lease.
            await _pause(stop, self._asked_at + interval - asyncio.get_running_loop().time())
        if len(self._running) >= self._backend.concurrency:
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({*self._running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
        elif not leased:
            await _pause(stop, POLL_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311  # spreads load, guards nothing

    async def _drain(self) -> None:
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()  # its lease runs out, and another worker does it again
        await asyncio.gather(*late, return_exceptions=True)

    async def _attend(self, job: AnchorJob) -> None:
        """One attempt at one job, from question to commit."""
        clock = asyncio.get_running_loop()
        deadline = clock.time() + self._lease.total_seconds()
        try:
            began = self._asked_at = clock.time()
            async with asyncio.timeout(self._backend.attempt_seconds):
                outcome = await self._backend.anchor(job.digest, job.state)
            self._metrics.latency_seconds.labels(job.backend, job.authority).observe(clock.time() - began)
        except TimeoutError:
            took_too_long = UnavailableError(f"it took longer than {self._backend.attempt_seconds:g} seconds")
            await self._record_failure(job, took_too_long, "unavailable")
        except AnchoringFailedError as error:
            await self._record_failure(job, error, "unavailable" if isinstance(error, UnavailableError) else "refused")
        except Exception as error:  # noqa: BLE001  # a defect in a backend must not cost the job
            self._log.exception("anchoring_defect", chain_id=job.chain_id, sequence=job.sequence)
            await self._record_failure(job, error, "defect")
        else:
            await self._record_success(job, outcome, deadline)

    async def _record_success(self, job: AnchorJob, outcome: Obtained | InProgress, deadline: float) -> None:
        if isinstance(outcome, InProgress):
            await self._give_back(job, _progress(outcome), outcome.again_at, dict(outcome.state))
            self._count(job, "in_progress")
            return
        # Durability boundary: the answer exists only in this process's memory. Dying here costs the answer, never the
        # job: the lease runs out and the authority is asked again. While only the database is away, what we hold is
        # worth keeping, until the lease is over and the job may be another's.
        try:
            async with asyncio.timeout_at(deadline):
                stored = await self._store_patiently(job, outcome)
        except TimeoutError:
            self._log.warning("anchor_given_up", chain_id=job.chain_id, sequence=job.sequence)
            self._count(job, "not_stored")
            return
        except Exception as error:  # noqa: BLE001  # a job that cannot be stored must not take others with it
            _report(self._log, "anchor_not_stored", error, chain_id=job.chain_id, sequence=job.sequence)
            await self._record_failure(job, error, "not_stored")
            return
        self._count(job, "obtained" if stored else "duplicate")
        self._log.info(
            "anchor_obtained" if stored else "anchor_was_there",
            organisation_id=job.organisation_id,
            chain_id=job.chain_id,
            sequence=job.sequence,
            anchored_at=outcome.anchored_at.isoformat(),
        )

    async def _store_patiently(self, job: AnchorJob, obtained: Obtained) -> bool:
        """Store the anchor, again and again while the database is away; False when another worker had."""
        while True:
            try:
                return await self._store.complete_anchor_job(
                    job,
                    request=obtained.request,
                    response=obtained.response,
                    anchored_at=obtained.anchored_at,
                    evidence=obtained.evidence,
                )
            except LedgerError as error:
                if error.reason not in {Reason.DATABASE_UNAVAILABLE, Reason.OVERLOADED}:
                    raise
                self._log.warning("anchor_not_stored_yet", chain_id=job.chain_id, error=str(error))
            await asyncio.sleep(STORE_RETRY_SECONDS)

    async def _record_failure(self, job: AnchorJob, error: Exception, outcome: str) -> None:
        pause = pause_seconds(job.attempts, LONGEST_PAUSE_SECONDS)
        if isinstance(error, AnchoringFailedError) and error.retry_after_seconds is not None:
            pause = min(max(pause, error.retry_after_seconds), LONGEST_PAUSE_SECONDS)
        ours = not isinstance(error, AnchoringFailedError)
        text = f"a defect in the ledger ({type(error).__name__})" if ours else presentable(str(error))
        self._count(job, outcome)
        self._log.warning(
            "anchor_not_obtained",
            organisation_id=job.organisation_id,
            chain_id=job.chain_id,
            sequence=job.sequence,
            attempts=job.attempts,
            outcome=outcome,
            error=text,
            again_in_seconds=round(pause, 1),
        )
        await self._give_back(job, text, self._clock() + timedelta(seconds=pause), None)

    async def _give_back(
        self, job: AnchorJob, error: str, next_attempt_at: datetime, state: dict[str, object] | None
    ) -> None:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._store.fail_anchor_job(job, error=error, next_attempt_at=next_attempt_at, state=state)
        except Exception as failure:  # noqa: BLE001  # the lease runs out by itself; the job is due again then
            _report(self._log, "anchor_job_not_given_back", failure, chain_id=job.chain_id, sequence=job.sequence)

    def _count(self, job: AnchorJob, outcome: str) -> None:
        self._metrics.attempts.labels(job.backend, job.authority, outcome).inc()


def pause_seconds(attempts: int, longest: float) -> float:
    """How long to wait after the attempt number `attempts` failed: doubling, capped, shortened by up to half."""
    doublings = min(max(attempts, 1) - 1, 32)
    return min(FIRST_PAUSE_SECONDS * 2.0**doublings, longest) * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load


def _report(log: Any, what: str, error: Exception, **where: object) -> None:
    # What the store says it cannot do is news; anything else is a defect, and its traceback is needed.
    log.warning(what, error=str(error), exc_info=None if isinstance(error, LedgerError) else error, **where)


def _progress(outcome: InProgress) -> str:
    """What an operator sees of an anchor that is on its way."""
    return presentable(str(outcome.state.get("progress", "in progress")))


def presentable(text: str) -> str:
    """`text` on one line, without control characters and of bounded length: parts of it may be a stranger's."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable[:_MAX_ERROR_CHARACTERS]


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
