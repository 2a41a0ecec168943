"""Requests, jobs, outcomes and notes for tests of the records."""

import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from media.errors import MediaError, Reason
from media.records.kept import CLIP
from media.records.recording_values import Recording
from media.records.records import Records
from media.records.values import (
    Access,
    Artefact,
    ArtefactRole,
    Clip,
    Disposal,
    ExtractionRequest,
    Failed,
    Hold,
    Job,
    Note,
    Preserved,
    Retention,
)
from media.storage.values import Attempt, StoredObject
from sandbox.database import Database

EVENT_AT = 1_795_000_000_000_000
ROLES: dict[str, ArtefactRole] = {
    "native.mp4": "native",
    "clip.mp4": "primary",
    "thumbnail.jpg": "thumbnail",
    "preview.webm": "preview",
    "metadata.json": "metadata",
    "custody.json": "custody",
}
DISPOSAL = Disposal(by="rosa", reason="retention over", decided_at=EVENT_AT)


def now_us() -> int:
    return time.time_ns() // 1_000


async def open_records(database: Database) -> Records:
    return await Records.open(evidence_dsn=database.evidence_dsn, worker_dsn=database.evidence_worker_dsn)


@asynccontextmanager
async def several_records(database: Database, count: int) -> AsyncIterator[list[Records]]:
    """As many processes would have them; closed whatever happens, or their pools would keep the test from ending."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(await open_records(database))
            stack.push_async_callback(opened[-1].close)
        yield opened


def asked(incident: str = "inc-1", **changes: Any) -> ExtractionRequest:
    values: dict[str, Any] = {
        "organisation_id": "acme",
        "source_id": "gate-hd",
        "camera_id": "gate",
        "incident_id": incident,
        "event_at": EVENT_AT,
        "asked_from": EVENT_AT - 30_000_000,
        "asked_to": EVENT_AT + 60_000_000,
        "session_chain_id": None,
        "requested_by": "alarm",
        "requested_at": EVENT_AT + 1_000_000,
    }
    return ExtractionRequest(**(values | changes))


def noted(kind: str, subject_id: UUID, chain_id: str = "operations") -> list[Note]:
    return [Note(kind=kind, payload={"subject": str(subject_id)}, subject_id=subject_id, chain_id=chain_id)]


def stored(clip: Clip, name: str, **changes: Any) -> StoredObject:
    values: dict[str, Any] = {"key": clip.key_prefix + name, "version_id": "v1", "size": 100, "sha256": "ab" * 32}
    return StoredObject(**(values | changes))


def preserved(clip: Clip, names: tuple[str, ...] = tuple(ROLES), **changes: Any) -> Preserved:
    artefacts = tuple(
        Artefact(name=name, role=ROLES[name], media_type="x/y", stored=stored(clip, name)) for name in names
    )
    values: dict[str, Any] = {
        "artefacts": artefacts,
        "actual_from": clip.asked_from,
        "actual_to": clip.asked_to,
        "gaps": ({"starts_at": 1, "ends_at": 2, "why": "missing"},),
        "facts": {"codec": "hevc"},
        "preserved_at": now_us(),
    }
    return Preserved(**(values | changes))


def failed(clip: Clip) -> Failed:
    kept = Attempt(
        key=clip.key_prefix + "clip.mp4",
        version_id="v1",
        size=100,
        expected_sha256="ab" * 32,
        found_size=99,
        found_sha256="cd" * 32,
        problem="short",
    )
    return Failed(reason="STORED_MISMATCH", message="not what was sent", failed_at=now_us(), kept=(kept,))


async def claimed(records: Records) -> Job:
    job = await records.claim(worker="one", lease_seconds=600)
    assert job is not None
    return job


def expire_leases(database: Database) -> None:
    """What time does to a worker that died."""
    with psycopg.connect(database.evidence_worker_dsn) as connection:
        connection.execute("UPDATE evidence.clips SET leased_until = now() WHERE leased_until IS NOT NULL")


async def make_clip(records: Records, incident: str = "inc-1", **changes: Any) -> Clip:
    """A clip that was asked for, made and indexed. Nothing else may be due."""
    await records.request(asked(incident, **changes))
    job = await records.heartbeat(await claimed(records), "STORING")
    await records.finish(job, preserved(job.clip), noted("clip.preserved", job.clip.clip_id))
    return await records.get_clip(job.clip.organisation_id, job.clip.clip_id)


async def hold(records: Records, held: Clip | Recording, key: str = "", reason: str = "case 7") -> Hold:
    one = Hold(
        hold_id=uuid4(),
        clip_id=held.clip_id if isinstance(held, Clip) else None,
        recording_id=held.recording_id if isinstance(held, Recording) else None,
        reason=reason,
        placed_by="rosa",
        placed_at=now_us(),
    )
    placed, _ = await records.place_hold(
        held.organisation_id, one, idempotency_key=key or str(one.hold_id), notes=noted("hold.placed", one.hold_id)
    )
    return placed


async def lift(records: Records, held: Clip | Recording, placed: Hold) -> Hold:
    lifted, _ = await records.lift_hold(
        held.organisation_id,
        placed.hold_id,
        by="rosa",
        reason="settled",
        at=now_us(),
        notes=noted("hold.lifted", placed.hold_id),
    )
    return lifted


async def access(records: Records, clip: Clip) -> Access:
    one = Access(access_id=uuid4(), clip_id=clip.clip_id, kind="link", who="rosa", at=now_us(), artefact="clip.mp4")
    await records.add_access(clip.organisation_id, one, noted("clip.accessed", one.access_id))
    return one


async def dispose(records: Records, clip: Clip) -> Clip:
    await records.begin_disposal(CLIP, clip.organisation_id, clip.clip_id, DISPOSAL)
    return await records.get_clip(clip.organisation_id, clip.clip_id)


async def reason_of(refused: Awaitable[object]) -> Reason:
    with pytest.raises(MediaError) as caught:
        await refused
    return caught.value.reason


async def retention_of(records: Records, **changes: object) -> Retention:
    change = Retention(
        organisation_id="acme",
        days=10,
        change_id=uuid4(),
        reason="contract",
        changed_by="rosa",
        changed_at=now_us(),
    )
    changed = replace(change, **changes)  # type: ignore[arg-type]  # whatever the test says
    assert changed.change_id is not None
    await records.set_retention(changed, noted("retention.changed", changed.change_id))
    return changed
