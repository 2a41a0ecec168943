"""The evidence worker: makes clips, processes recordings, tells the chains, and keeps store and records in step.

Any number of workers may run, on any number of machines: jobs are claimed one by one under leases, everything else is
done by whoever has the turn for it.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from media.clips.asking import Asking
from media.clips.dispose import delete_disposed, dispose_expired
from media.clips.events import failed_notes
from media.clips.hold import mirror_due
from media.clips.lease import held
from media.clips.preserve import Later, Preserving, Workshop, preserve
from media.clips.relay import relay_once
from media.clips.sweep import sweep
from media.clips.turns import Turn
from media.errors import MediaError, Reason
from media.ledgers import Ledgers
from media.metrics import WorkerMetrics
from media.recordings.lanes import Lanes
from media.recordings.process import Studio
from media.recordings.upkeep import delete_disposed_recordings
from media.records.kept import CLIP, RECORDING
from media.records.values import Failed, Job, LeaseLostError
from media.storage.errors import StoredMismatchError
from media.storage.values import Attempt

FIRST_RETRY_SECONDS = 2.0
FIRST_DOUBTFUL_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 300.0
# Of what may be a defect of ours, or of one machine. What passes by itself is tried for as long as it takes.
MAX_DOUBTFUL_ATTEMPTS = 5
# How long a dead process may keep others from its background work.
TURN_SECONDS = 30.0
RELAY_SECONDS = 0.5
ADVANCE_SECONDS = 1.0
MIRROR_SECONDS = 2.0
DISPOSAL_SECONDS = 15.0
# Listing a large bucket takes its time, and what is swept is in nobody's way.
SWEEP_SECONDS = 6 * 3600.0
COUNT_SECONDS = 10.0

_PASSING = frozenset(
    {
        Reason.FOOTAGE_UNAVAILABLE,
        Reason.STORE_UNAVAILABLE,
        Reason.DATABASE_UNAVAILABLE,
        Reason.OVERLOADED,
        Reason.SOURCE_NOT_FOUND,  # accepted when asked for: the operator's file lacks it now
    }
)
_DOUBTFUL = frozenset({Reason.CRASHED, Reason.TOO_SLOW, Reason.DERIVATIVE_WRONG, Reason.INTERNAL})

_log = structlog.stdlib.get_logger("evidence.worker")


class Worker:
    """One process's worker; `name` tells it from every other one."""

    def __init__(  # noqa: PLR0913 - what a worker works with
        self,
        workshop: Workshop,
        studio: Studio,
        ledgers: Ledgers,
        metrics: WorkerMetrics,
        *,
        name: str,
        lease_seconds: float,
        grace_seconds: float,
    ) -> None:
        """`grace_seconds`: how old an upload that nobody owns must be before it is swept."""
        self._workshop = workshop
        self._studio = studio
        self._records = workshop.records
        self._ledgers = ledgers
        self._metrics = metrics
        self._name = name
        self._grace_seconds = grace_seconds
        claim = partial(self._records.claim, worker=name, lease_seconds=lease_seconds)
        self._asking: Asking[Job] = Asking(claim, _log)
        self._recordings = Lanes(studio, metrics, name=name, lease_seconds=lease_seconds)

    async def run(self, stop: asyncio.Event, *, lanes: int) -> None:
        """Work until `stop` is set. Jobs under way are then given back at once: another worker begins them anew.

        `lanes`: how many clips, and how many steps of recordings, are worked on at a time.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._work_lane(stop)) for _ in range(lanes)]
            tasks += [group.create_task(self._recordings.run(stop)) for _ in range(lanes)]
            for name, work, seconds in (
                ("relay", self._relay, RELAY_SECONDS),
                ("advance", self._advance, ADVANCE_SECONDS),
                ("mirror", self._mirror, MIRROR_SECONDS),
                ("disposal", self._dispose, DISPOSAL_SECONDS),
                ("sweep", self._sweep, min(SWEEP_SECONDS, max(self._grace_seconds, RELAY_SECONDS))),
            ):
                tasks.append(group.create_task(self._take_turns(name, work, seconds, stop)))
            tasks.append(group.create_task(self._count(stop)))
            await stop.wait()
            # Whatever is under way may end at any point: that is what it is built for.
            for task in tasks:
                task.cancel()

    async def _work_lane(self, stop: asyncio.Event) -> None:
        """One job after the other."""
        while (job := await self._asking.next(stop)) is not None:
            await self.work(job)

    async def work(self, job: Job) -> None:
        """Carry one job out and settle what became of it."""
        started = time.monotonic()
        log = _log.bind(clip_id=str(job.clip.clip_id), organisation_id=job.clip.organisation_id, attempt=job.attempt)
        preserving = Preserving()
        try:
            async with held(partial(self._records.heartbeat, job), job) as lease:
                outcome = await preserve(job, lease, self._workshop, preserving)
                if isinstance(outcome, Later):
                    await self._records.wait(job, again_in_seconds=outcome.seconds, why=outcome.why)
        except LeaseLostError:
            self._metrics.jobs.labels("lost").inc()
            log.warning("lease_lost")
        except asyncio.CancelledError:
            await self._give_back(job)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must neither be lost nor stop the others
            await self._settle(job, error, preserving, log)
        else:
            waits = isinstance(outcome, Later)
            self._metrics.jobs.labels("waiting" if waits else "preserved").inc()
            if not waits:
                self._metrics.job_seconds.observe(time.monotonic() - started)
            log.info("clip_waits" if waits else "clip_preserved")

    async def _settle(
        self, job: Job, error: Exception, preserving: Preserving, log: structlog.stdlib.BoundLogger
    ) -> None:
        """Try again later, or end the clip as failed."""
        refusal = error if isinstance(error, MediaError) else None
        reason = refusal.reason if refusal else Reason.INTERNAL
        if refusal is None:
            log.error("job_broke", exc_info=error)
        try:
            # A full disk says nothing about the footage, and must not be the end of the clip.
            passes = reason in _PASSING or isinstance(error, OSError)
            if passes or (reason in _DOUBTFUL and job.attempt < MAX_DOUBTFUL_ATTEMPTS):
                first = FIRST_RETRY_SECONDS if passes else FIRST_DOUBTFUL_SECONDS
                pause = min(first * 2.0 ** min(job.attempt - 1, 16), LONGEST_RETRY_SECONDS)
                await self._records.retry_later(job, again_in_seconds=pause, error=f"{reason}: {error}")
                self._metrics.jobs.labels("postponed").inc()
                log.warning("job_postponed", reason=str(reason), again_in_seconds=pause)
                return
            message = refusal.message if refusal else "The worker failed to carry this out; its log has the details."
            outcome = Failed(
                reason=str(reason),
                message=message,
                failed_at=time.time_ns() // 1000,
                kept=_kept(error, preserving),
            )
            await self._records.fail(job, outcome, failed_notes(job.clip, outcome))
            self._metrics.jobs.labels("failed").inc()
            log.warning("clip_failed", reason=str(reason))
        except (LeaseLostError, MediaError) as problem:
            # The lease runs out by itself, and the job is done anew.
            log.warning("job_not_settled", reason=str(reason), problem=type(problem).__name__)

    async def _give_back(self, job: Job) -> None:
        with contextlib.suppress(LeaseLostError, MediaError):
            async with asyncio.timeout(5):
                await self._records.retry_later(job, again_in_seconds=0, error="the worker was stopped")

    async def _take_turns(
        self, name: str, work: Callable[[], Awaitable[object]], seconds: float, stop: asyncio.Event
    ) -> None:
        # Of what is done seldom, one process does it for all.
        turn = Turn(self._records, name, owner=self._name, seconds=max(TURN_SECONDS, seconds))
        try:
            while not stop.is_set():
                try:
                    if await turn.take():
                        async with turn.kept():
                            await work()
                except MediaError as error:
                    _log.warning("background_work_postponed", work=name, reason=str(error.reason))
                except Exception as error:  # noqa: BLE001 - one bad turn must not end the others
                    _log.error("background_work_broke", work=name, exc_info=error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), seconds)
        finally:
            await turn.give_up()

    async def _relay(self) -> None:
        while await relay_once(self._records, self._ledgers):
            pass

    async def _advance(self) -> None:
        wait = self._studio.waiting.annotations
        await self._records.recording_jobs.advance(now=self._studio.clock(), annotation_wait_seconds=wait)

    async def _mirror(self) -> None:
        await mirror_due(self._records, self._workshop.store)
        await mirror_due(self._records.recording_upkeep, self._workshop.store)

    async def _dispose(self) -> None:
        await dispose_expired(self._records, CLIP)
        await delete_disposed(self._records, self._workshop.store)
        await dispose_expired(self._records, RECORDING)
        await delete_disposed_recordings(self._records.recording_upkeep, self._workshop.store)

    async def _sweep(self) -> None:
        swept = await sweep(self._records, self._workshop.store, grace_seconds=self._grace_seconds)
        self._metrics.swept.inc(swept)

    async def _count(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                self._metrics.count(await self._records.pending())
            except Exception as error:  # noqa: BLE001 - as in _take_turns
                _log.warning("count_failed", exc_info=error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), COUNT_SECONDS)


def _kept(error: Exception, preserving: Preserving) -> tuple[Attempt, ...]:
    """What a failed preservation leaves in the store for inspection: what did not read back, and what did."""
    good = tuple(
        Attempt(
            key=artefact.stored.key,
            version_id=artefact.stored.version_id,
            size=artefact.stored.size,
            expected_sha256=artefact.stored.sha256,
            found_size=artefact.stored.size,
            found_sha256=artefact.stored.sha256,
            problem="none with this one; it is kept with the others",
        )
        for artefact in preserving.stored
    )
    return (*good, *error.attempts) if isinstance(error, StoredMismatchError) else good
