"""A worker's lanes for recordings: each takes one step after the other, and settles what became of it."""

import asyncio
import contextlib
import time
from functools import partial

import structlog

from media.clips.asking import Asking
from media.clips.lease import held
from media.clips.preserve import Later
from media.errors import MediaError, Reason
from media.metrics import WorkerMetrics
from media.recordings.process import Studio, process
from media.records.recording_jobs import RecordingJobs
from media.records.recording_work import RecordingJob
from media.records.values import LeaseLostError

LONGEST_RETRY_SECONDS = 300.0
# Of what may be a defect of ours, of one machine, or one bad read. What passes by itself is tried for as long as it
# takes.
MAX_DOUBTFUL_ATTEMPTS = 5

_PASSING = frozenset({Reason.STORE_UNAVAILABLE, Reason.DATABASE_UNAVAILABLE, Reason.OVERLOADED, Reason.CLIP_LOCKED})
_DOUBTFUL = frozenset(
    {
        Reason.CRASHED,
        Reason.TOO_SLOW,
        Reason.DERIVATIVE_WRONG,
        Reason.INTERNAL,
        Reason.RAW_CHANGED,
        Reason.STORED_MISMATCH,
    }
)
# Without these a recording would never end: nothing about its files can make them fail, so they are tried for ever.
_ENDLESS = frozenset({"complete", "settle"})

_log = structlog.stdlib.get_logger("evidence.recordings")


class Lanes:
    """One process's lanes; `name` tells it from every other one."""

    def __init__(self, studio: Studio, metrics: WorkerMetrics, *, name: str, lease_seconds: float) -> None:
        """Nothing is done yet."""
        self._studio = studio
        self._jobs: RecordingJobs = studio.jobs
        self._metrics = metrics
        claim = partial(self._jobs.claim, worker=name, lease_seconds=lease_seconds)
        self._asking: Asking[RecordingJob] = Asking(claim, _log)

    async def run(self, stop: asyncio.Event) -> None:
        """One lane: one step after the other, until `stop` is set."""
        while (job := await self._asking.next(stop)) is not None:
            await self.work(job)

    async def work(self, job: RecordingJob) -> None:
        """Carry one step out and settle what became of it."""
        started = time.monotonic()
        log = _log.bind(
            recording_id=str(job.recording.recording_id),
            organisation_id=job.recording.organisation_id,
            step=job.task,
            attempt=job.attempt,
        )
        try:
            async with held(lambda _: self._jobs.heartbeat(job), job) as lease:
                later = await process(job, lease, self._studio)
                if later is not None:
                    await self._wait(job, later)
        except LeaseLostError:
            self._metrics.steps.labels(job.task, "lost").inc()
            log.warning("lease_lost")
        except asyncio.CancelledError:
            await self._give_back(job)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the step must neither be lost nor stop the others
            await self._settle(job, error, log)
        else:
            self._metrics.steps.labels(job.task, "done" if later is None else "waiting").inc()
            log.info("step_done" if later is None else "step_waits", seconds=round(time.monotonic() - started, 3))

    async def _wait(self, job: RecordingJob, later: Later) -> None:
        await self._jobs.give_back(job, again_in_seconds=later.seconds, why=later.why, is_waiting=True)

    async def _settle(self, job: RecordingJob, error: Exception, log: structlog.stdlib.BoundLogger) -> None:
        """Try again later, or end the step as failed: the recording goes on without what it would have made."""
        refusal = error if isinstance(error, MediaError) else None
        reason = refusal.reason if refusal else Reason.INTERNAL
        if refusal is None:
            log.error("step_broke", exc_info=error)
        try:
            # A full disk says nothing about the files, and must not be the end of one.
            passes = reason in _PASSING or isinstance(error, OSError) or job.task in _ENDLESS
            if passes or (reason in _DOUBTFUL and job.attempt < MAX_DOUBTFUL_ATTEMPTS):
                first = self._studio.waiting.retry
                pause = min(first * 2.0 ** min(job.attempt - 1, 16), LONGEST_RETRY_SECONDS)
                why = f"{reason}: {error}"
                await self._jobs.give_back(job, again_in_seconds=pause, why=why, is_waiting=False)
                self._metrics.steps.labels(job.task, "postponed").inc()
                log.warning("step_postponed", reason=str(reason), again_in_seconds=pause)
                return
            message = refusal.message if refusal else "the worker failed to carry this out; its log has the details"
            at = self._studio.clock()
            await self._jobs.fail_step(job, reason=str(reason), message=message, at=at)
            self._metrics.steps.labels(job.task, "failed").inc()
            log.warning("step_failed", reason=str(reason))
        except (LeaseLostError, MediaError) as problem:
            # The lease runs out by itself, and the step is done anew.
            log.warning("step_not_settled", reason=str(reason), problem=type(problem).__name__)

    async def _give_back(self, job: RecordingJob) -> None:
        with contextlib.suppress(LeaseLostError, MediaError):
            async with asyncio.timeout(5):
                await self._jobs.give_back(job, again_in_seconds=0, why="the worker was stopped", is_waiting=False)
