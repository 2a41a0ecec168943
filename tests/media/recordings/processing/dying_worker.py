"""Workers that are killed, with SIGKILL, one at each boundary of a recording's processing, one after the other."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from prometheus_client import CollectorRegistry

from media.metrics import WorkerMetrics
from media.recordings import process
from media.recordings.lanes import Lanes
from media.recordings.making import Maker
from media.records.recording_jobs import RecordingJobs
from media.records.records import Records
from media.storage.client import StoreSettings
from media.storage.store import EvidenceStore
from tests.media.recordings.processing.staging import Stage

_EXPIRE = "UPDATE evidence.recording_jobs SET leased_until = now() WHERE leased_until IS NOT NULL"

Answers = Callable[[Any], bool]


def _always(_: Any) -> bool:
    return True


# What to spoil, in the order in which a recording comes by: the owner of a function, its name, whether the worker dies
# before it or after it, and of which answers.
BOUNDARIES: dict[str, tuple[Any, str, str, Answers]] = {
    "claimed": (RecordingJobs, "claim", "after", lambda job: job is not None),
    "upload found": (process, "look_for", "after", _always),
    "raw object read": (process, "read_twice", "after", _always),
    "before the digest is committed": (RecordingJobs, "acquired", "before", _always),
    "digest committed": (RecordingJobs, "acquired", "after", _always),
    "begun": (RecordingJobs, "advance", "after", lambda begun: begun > 0),
    "raw object fetched": (process, "fetch", "after", _always),
    "participant's files made": (Maker, "participant", "after", _always),
    "first file stored": (process, "store_file", "after", _always),
    "before the files are committed": (RecordingJobs, "made", "before", _always),
    "files committed": (RecordingJobs, "made", "after", _always),
    "composite made": (Maker, "composite", "after", _always),
    "composite stored": (process, "store_file", "after", lambda stored: stored.key.endswith("composite.mp4")),
    "composite committed": (RecordingJobs, "made", "after", _always),
    "document stored": (process, "store_file", "after", lambda stored: stored.key.endswith("recording.json")),
    "before the end is committed": (RecordingJobs, "complete", "before", _always),
    "completed": (RecordingJobs, "complete", "after", _always),
    "chains told": (RecordingJobs, "is_told", "after", bool),
    "drop decided": (RecordingJobs, "decide_drops", "after", _always),
    "raw object deleted": (EvidenceStore, "delete", "after", _always),
    "settled": (RecordingJobs, "settled", "after", _always),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def spoil(owner: Any, name: str, when: str, answers: Answers) -> None:
    original = getattr(owner, name)

    async def dying(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            die()
        answer = await original(*arguments, **named)
        if answers(answer):
            die()
        return answer

    def dying_at_once(*arguments: Any, **named: Any) -> Any:
        original(*arguments, **named)
        die()

    setattr(owner, name, dying if asyncio.iscoroutinefunction(original) else dying_at_once)


async def live(given: dict[str, Any]) -> None:
    """Work until nothing is left to be done for the recording; the ledger's part is played here, too."""
    with psycopg.connect(given["worker_dsn"]) as connection:
        connection.execute(_EXPIRE)  # what time does to a worker that died
    records = await Records.open(evidence_dsn=given["evidence_dsn"], worker_dsn=given["worker_dsn"])
    stage = Stage(records, EvidenceStore(StoreSettings(**given["store"])), Path(given["directory"]))
    lanes = Lanes(stage.studio, WorkerMetrics(CollectorRegistry()), name=str(os.getpid()), lease_seconds=60)
    while True:
        await stage.advance()
        job = await records.recording_jobs.claim(worker=str(os.getpid()), lease_seconds=60)
        if job is not None:
            await lanes.work(job)
        await stage.tell()
        work = await stage.work_of(UUID(given["recording_id"]))
        settling = work.task("settle", None)
        if settling is not None and settling.state != "OPEN":
            return
        if job is None:
            await asyncio.sleep(0.05)


def main() -> None:
    """One worker after the other, each in a process of its own; what they need is imported once."""
    given = json.loads(sys.stdin.readline())
    for boundary, spoiled in BOUNDARIES.items():
        child = os.fork()
        if child == 0:
            spoil(*spoiled)
            asyncio.run(live(given))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write(f"{boundary}: {'killed' if killed else status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
