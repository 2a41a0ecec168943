"""What a worker does for recordings that LiveKit is busy with, whether it reports anything or not."""

import asyncio
import contextlib
from uuid import UUID

import structlog

from media.clips.turns import Turn
from media.errors import MediaError, Reason
from media.metrics import RecordingMetrics
from media.recordings.attend import abandon, attend
from media.recordings.control import Control

BATCH = 100
# Recordings looked after at the same time by one worker: each look is a few calls to LiveKit and the ledger.
AT_ONCE = 8
WATCH_SECONDS = 1.0
FAILED_LOOK_SECONDS = 5.0

_log = structlog.stdlib.get_logger("evidence.recordings")


async def watch(control: Control, metrics: RecordingMetrics, stop: asyncio.Event) -> None:
    """Look after recordings until `stop` is set; of all workers, whoever has the turn does."""
    turn = Turn(control.records, "recordings", owner=control.owner, seconds=control.limits.turn)
    try:
        while not stop.is_set():
            try:
                if await turn.take():
                    async with turn.kept():
                        await attend_due(control)
                metrics.count(*await control.records.attendance.count())
            except MediaError as error:
                _log.warning("recordings_not_watched", reason=str(error.reason))
            except Exception as error:  # noqa: BLE001 - one bad turn must not end the worker
                _log.error("watching_broke", exc_info=error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WATCH_SECONDS)
    finally:
        await turn.give_up()


async def attend_due(control: Control) -> int:
    """Look after every recording that is due; how many there were. One that cannot be is due again soon."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(recording_id: UUID) -> None:
        async with room:
            await _attend(control, recording_id)

    due = await control.records.attendance.due(BATCH)
    async with asyncio.TaskGroup() as group:
        for recording_id in due:
            group.create_task(one(recording_id))
    return len(due)


async def _attend(control: Control, recording_id: UUID) -> None:
    attendance = control.records.attendance
    try:
        recording = await attendance.get(recording_id)
        try:
            if not await attend(control, recording, with_session=True):
                await attendance.look_again(recording_id, in_seconds=WATCH_SECONDS)
        except MediaError as error:
            _log.warning("recording_not_looked_after", recording_id=str(recording_id), reason=str(error.reason))
            await attendance.look_again(recording_id, in_seconds=FAILED_LOOK_SECONDS, error=str(error))
            if error.reason in {Reason.LIVEKIT_UNAVAILABLE, Reason.LIVEKIT_REFUSED}:
                await abandon(control, await attendance.get(recording_id))
    except MediaError as error:
        _log.warning("recording_not_looked_after", recording_id=str(recording_id), reason=str(error.reason))
    except Exception as error:  # noqa: BLE001 - one recording must not keep the worker from the others
        _log.error("recording_look_broke", recording_id=str(recording_id), exc_info=error)
