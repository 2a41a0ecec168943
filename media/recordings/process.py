"""Processing a recording: from what LiveKit left in the store to files that are evidence.

Five kinds of step, each a job under a lease (media/records/recording_jobs.py). A step is queued when those before it
are done (recording_planning.py), and any worker may do any of them.

acquire, for each egress, as soon as its outcome is known
1. The objects under the egress's key are looked for. Where there is none yet, the step waits, within bounds.
2. Each is read in full and hashed: the digest of the first read.
3. One commit: the objects with their digests, and `recording.file_hashed` for the chain.

participant, for each egress that left something, and composite, for the recording: once all egresses are acquired and
the annotations are there, or need not be waited for any longer
4. The raw objects are fetched, and compared with their digests of the first read.
5. The strokes are burned in, or the file is kept as it is where the organisation's policy says so; the composite is put
   together. In a process of its own: files are hostile until they have been read.
6. A participant's file is separated into sound and picture.
7. Each finished file is hashed, stored under its final key, read back in full and compared.
8. One commit: the files with keys, versions and digests, and `recording.file_stored` for the chain.

complete, when all of these have ended
9. annotations.json and recording.json are stored, as in 7.
10. One commit: the recording is completed, with `recording.completed`, which lists every file and digest and says which
    raw objects stay and why. If not one file could be made: failed, with `recording.failed`, and every raw object
    stays.

settle
11. When the chains have all of that, the raw objects that nothing keeps are dropped: the decision and its event are
    committed first, the bytes deleted after it. While a legal hold stands, it is decided that they stay.

A worker that dies before a commit leaves a job whose lease runs out, files in a directory of its own, and uploads that
no record knows: the next worker begins the step anew, and the sweeper removes such uploads once the recording has
ended. One that dies after a commit has done the step. One that dies in 11 leaves decisions: the next one deletes what
is left. What a worker without its lease does counts for nothing: no commit takes it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from media.clips.lease import Lease
from media.clips.preserve import Later, digest_of
from media.clips.workplace import own_directory
from media.errors import MediaError, Reason
from media.recordings.completing import Ending, annotations_file, describe, recording_file
from media.recordings.events import (
    completed_notes,
    dropped_note,
    failed_notes,
    file_id,
    hashed_note,
    raw_id,
    stored_note,
)
from media.recordings.making import Made, Maker
from media.recordings.objects import fetch, look_for, media_type_of, read_twice, store_file
from media.recordings.plan import (
    CompositePlan,
    Waiting,
    composite_name,
    plan_of_files,
    plan_rooms,
    which_counts,
)
from media.records.recording_jobs import RecordingJobs
from media.records.recording_work import Egress, Raw, RecordingFile, RecordingJob, RecordingWork
from media.storage.store import EvidenceStore
from media.storage.values import StoredObject

# Of what LiveKit filmed: it will be no better the next time it is read, and the participants' files may be.
_UNUSABLE = frozenset(
    {
        Reason.FOOTAGE_UNREADABLE,
        Reason.FOOTAGE_EMPTY,
        Reason.FOOTAGE_TRUNCATED,
        Reason.NO_VIDEO,
        Reason.UNSUPPORTED_CODEC,
        Reason.RAW_MISSING,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Studio:
    """What processing takes; the same for every job of a process."""

    jobs: RecordingJobs
    store: EvidenceStore
    maker: Maker
    # Holds what running jobs fetch and make; a new directory for each, removed at its end.
    directory: Path | None = None
    waiting: Waiting = field(default_factory=Waiting)
    clock: Callable[[], int] = lambda: time.time_ns() // 1000


async def process(job: RecordingJob, lease: Lease, studio: Studio) -> Later | None:
    """Carry one step out; returns after its commit, or what it waits for.

    Raises MediaError when it cannot be done (now, or ever: lanes.py tells them apart), LeaseLostError.
    """
    steps = {
        "acquire": acquire,
        "participant": make_participant,
        "composite": make_composite,
        "complete": complete,
        "settle": settle,
    }
    return await steps[job.task](job, lease, studio)


async def acquire(job: RecordingJob, lease: Lease, studio: Studio) -> Later | None:
    """Steps 1 to 3."""
    recording = job.recording
    egress = recording.egress(_stay(job))

    # 1. Nothing is changed yet: dying here loses nothing.
    listed = await look_for(studio.store, egress.raw_key)
    lease.tick()
    if not any(one.size for one in listed) and _may_still_come(egress, studio):
        return Later(seconds=studio.waiting.again, why="the upload of the recorded file is still to come")

    # 2. As above.
    digests = {one: (await read_twice(studio.store, one, lease.tick)).sha256 for one in listed}
    counting = which_counts(egress, list(digests.items()))
    read_at = studio.clock()
    raws = [
        Raw(
            raw_id=raw_id(recording.recording_id, one.key, one.version_id),
            stay_id=egress.stay_id,
            stored=StoredObject(key=one.key, version_id=one.version_id, size=one.size, sha256=digest),
            counts=one is counting,
            read_at=read_at,
        )
        for one, digest in digests.items()
    ]
    if not raws:
        raise MediaError(Reason.RAW_MISSING, "LiveKit left no file of this recording in the store")

    # 3. Dying before this commit: as 1. After it the digests are on their way to the chain.
    await studio.jobs.acquired(job, raws, [hashed_note(recording, raw) for raw in raws], at=read_at)
    return None


async def make_participant(job: RecordingJob, lease: Lease, studio: Studio) -> None:
    """Steps 4 to 8 for one participant's file."""
    recording = job.recording
    egress = recording.egress(_stay(job))
    raw = recording.source_of(egress.stay_id)
    if raw is None:
        raise MediaError(Reason.RAW_MISSING, "LiveKit left no file of this recording in the store")
    async with own_directory(studio.directory) as directory:
        # 4. Nothing is stored yet: dying up to 6 loses copies only.
        source = await fetch(studio.store, raw, directory / "raw.mp4", lease.tick)

        # 5. and 6. As above.
        made = await studio.maker.participant(recording, egress, raw, source, directory, lease.tick)

        # 7. and 8.
        await _store_and_commit(job, made, lease, studio)


async def make_composite(job: RecordingJob, lease: Lease, studio: Studio) -> None:
    """Steps 4 to 8 for the composite: what LiveKit filmed of the room, or else one built of the participants' files."""
    recording = job.recording
    made: list[Made] = []
    async with own_directory(studio.directory) as directory:
        for plan in plan_rooms(recording):
            target = directory / composite_name(len(made) + 1)
            try:
                made.append(await _composite(recording, plan, target, lease, studio))
            except MediaError as error:
                if error.reason not in _UNUSABLE:
                    raise
        if not made:
            of_files = plan_of_files(recording)
            if of_files is None:
                message = "of no file is it known when its pictures begin, so none could be placed"
                raise MediaError(Reason.NO_FOOTAGE, message)
            made.append(await _composite(recording, of_files, directory / composite_name(1), lease, studio))

        # 7. and 8.
        await _store_and_commit(job, made, lease, studio)


async def _composite(recording: RecordingWork, plan: CompositePlan, target: Path, lease: Lease, studio: Studio) -> Made:
    found = [part.raw for part in plan.parts] if plan.room is None else [recording.source_of(plan.room.stay_id)]
    raws = [raw for raw in found if raw is not None]
    # 4. As for a participant.
    sources = [
        await fetch(studio.store, raw, target.parent / f"raw-{number}.mp4", lease.tick)
        for number, raw in enumerate(raws)
    ]

    # 5. As above.
    return await studio.maker.composite(recording, plan, raws, sources, target, lease.tick)


async def complete(job: RecordingJob, lease: Lease, studio: Studio) -> None:
    """Steps 9 and 10."""
    recording = job.recording
    ending = describe(recording)
    if not any(file.role in {"participant", "audio", "composite"} for file in recording.files):
        await _fail(job, ending, studio)
        return
    async with own_directory(studio.directory) as directory:
        # 9. Dying here leaves uploads without a record, as in 7.
        documents: list[RecordingFile] = []
        annotations = annotations_file(recording, directory)
        if annotations is not None:
            documents.append(await _store(recording, annotations, lease, studio))
        files = (*recording.files, *documents)
        about = recording_file(recording, files, ending, directory, made_at=studio.clock())
        documents.append(await _store(recording, about, lease, studio))

    # 10. Dying before this commit: as 9. After it the recording is completed, and 11 is queued.
    at = studio.clock()
    files = (*recording.files, *documents)
    notes = [stored_note(recording, file, stored_at=at) for file in documents]
    notes += completed_notes(recording, files, ending.remarks, completed_at=at)
    await studio.jobs.complete(job, _with_ids(recording, documents), ending.keeps, ending.remarks, notes, at=at)


async def settle(job: RecordingJob, lease: Lease, studio: Studio) -> Later | None:
    """Step 11."""
    if not await studio.jobs.is_told(job.recording.recording_id):
        return Later(seconds=studio.waiting.told, why="the chains have not been told everything yet")
    recording = job.recording
    going = [raw for raw in recording.raws if raw.kept_because is None]
    undecided = [raw for raw in going if raw.drop_decided_at is None]
    at = studio.clock()
    if undecided:
        # The database looks once more whether the chains know. Dying after this commit: the next worker goes on below.
        notes = [dropped_note(recording, raw, decided_at=at) for raw in undecided]
        if not await studio.jobs.decide_drops(job, undecided, notes, at=at):
            going = [raw for raw in going if raw.drop_decided_at is not None]
    for raw in going:
        lease.tick()
        await asyncio.to_thread(studio.store.delete, raw.stored)
    await studio.jobs.settled(job, at=studio.clock())
    return None


async def _store_and_commit(job: RecordingJob, made: Sequence[Made], lease: Lease, studio: Studio) -> None:
    # 7. Dying from here on leaves uploads without a record, under the recording's own keys: the next worker adds
    # versions beside them (or, in a bucket without versions, replaces them), and indexes only its own.
    files = [await _store(job.recording, one, lease, studio) for one in made]

    # 8. Dying before this commit: as 7. After it the files exist, with these digests, for ever.
    at = studio.clock()
    notes = [stored_note(job.recording, file, stored_at=at) for file in files]
    await studio.jobs.made(job, _with_ids(job.recording, files), notes, at=at)


async def _store(recording: RecordingWork, made: Made, lease: Lease, studio: Studio) -> RecordingFile:
    digest = await digest_of(made.path, lease.tick)
    stored = await store_file(studio.store, recording, made.name, made.path, digest.sha256, lease.tick)
    lease.tick()
    return RecordingFile(
        name=made.name,
        role=made.role,
        media_type=media_type_of(made.name),
        stored=stored,
        participant=made.participant,
        tile=made.tile,
        raw_sha256=made.raw_sha256,
        starts_at=made.starts_at,
        duration_us=made.duration_us,
        facts=made.facts,
    )


async def _fail(job: RecordingJob, ending: Ending, studio: Studio) -> None:
    at = studio.clock()
    reason, message = ending.failure
    notes = failed_notes(job.recording, reason, message, failed_at=at)
    await studio.jobs.fail(job, ending.keeps_all, notes, reason=reason, message=message, at=at)


def _with_ids(recording: RecordingWork, files: Sequence[RecordingFile]) -> list[tuple[UUID, RecordingFile]]:
    return [(file_id(recording.recording_id, file.name), file) for file in files]


def _may_still_come(egress: Egress, studio: Studio) -> bool:
    """Whether an upload is waited for: of what LiveKit never answered that it records, nothing is."""
    due_at = (egress.outcome_at or 0) + round(studio.waiting.upload * 1_000_000)
    return egress.egress_id is not None and studio.clock() < due_at


def _stay(job: RecordingJob) -> UUID:
    if job.stay_id is None:
        raise MediaError(Reason.INTERNAL, f"a step {job.task} is about one egress")
    return job.stay_id
