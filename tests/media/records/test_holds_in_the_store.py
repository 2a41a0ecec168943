"""The store's holds while records change: what somebody applies who has read an older record does not stay."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest

from media.clips.dispose import RETRY_SECONDS, delete_disposed
from media.clips.hold import MAX_ROUNDS, mirror_due, mirror_hold
from media.records.records import Records
from media.records.values import Artefact, Clip
from media.storage.store import EvidenceStore
from media.storage.values import StoredObject
from sandbox.database import Database
from sandbox.objects import Objects
from tests.media.records.recording import asked, claimed, dispose, hold, lift, noted, preserved
from tests.media.records.stopping import stopped
from tests.media.records.stores import locking_store


@pytest.fixture(scope="module")
def store(objects: Objects) -> EvidenceStore:
    return locking_store(objects)


async def make(records: Records, store: EvidenceStore, tmp_path: Path) -> Clip:
    """A clip whose files are in the store, under keys that no other test uses."""
    await records.request(asked(f"inc-{secrets.token_hex(6)}"))
    job = await records.heartbeat(await claimed(records), "STORING")
    artefacts = []
    for made in preserved(job.clip).artefacts:
        path = tmp_path / made.name
        path.write_bytes(secrets.token_bytes(100))
        stored = store.store_verified(made.stored.key, path, media_type=made.media_type)
        artefacts.append(Artefact(name=made.name, role=made.role, media_type=made.media_type, stored=stored))
    outcome = preserved(job.clip, artefacts=tuple(artefacts))
    await records.finish(job, outcome, noted("clip.preserved", job.clip.clip_id))
    return await records.get_clip(job.clip.organisation_id, job.clip.clip_id)


def held(store: EvidenceStore, clip: Clip) -> set[str]:
    """What the store says of the holds on a clip's files."""
    return {
        store.bucket.reader.get_object_legal_hold(Bucket=store.bucket.name, Key=one.key, VersionId=str(one.version_id))[
            "LegalHold"
        ]["Status"]
        for one in clip.stored
    }


async def test_a_hold_placed_while_an_older_record_is_applied_is_in_the_store_at_the_end_of_that_pass(
    records: Records, store: EvidenceStore, tmp_path: Path
) -> None:
    clip = await make(records, store, tmp_path)

    async def place() -> None:
        assert await mirror_hold(records, store, await hold(records, clip))
        assert held(store, clip) == {"ON"}

    with stopped(store, place) as guarded:
        assert await mirror_due(records, store) == 1
    assert held(store, clip) == {"ON"}
    # The pass took it off again, and put it back.
    assert [is_held for _, is_held in guarded] == [True] * 6 + [False] * 6 + [True] * 6
    assert await records.unprotected(10) == []


async def test_a_hold_lifted_while_an_older_record_is_applied_is_off_at_the_end_of_that_pass(
    records: Records, store: EvidenceStore, tmp_path: Path
) -> None:
    clip = await make(records, store, tmp_path)
    placed = await hold(records, clip)
    with stopped(store, lambda: lift(records, clip, placed)):
        await mirror_due(records, store)
    assert held(store, clip) == {"OFF"}
    assert await records.unprotected(10) == []


async def test_what_changes_before_its_turn_comes_is_guarded_as_the_newest_record_says(
    records: Records, store: EvidenceStore, tmp_path: Path
) -> None:
    first, later, gone = [await make(records, store, tmp_path) for _ in range(3)]

    async def change() -> None:
        await hold(records, later)
        await dispose(records, gone)

    with stopped(store, change) as guarded:
        assert await mirror_due(records, store) == 3
    wanted = [(one.key, clip is later) for clip in (first, later) for one in clip.stored]
    assert guarded == wanted


async def test_a_record_that_changes_all_the_time_keeps_nobody_for_ever(
    records: Records, store: EvidenceStore, tmp_path: Path
) -> None:
    clip = await make(records, store, tmp_path)
    with stopped(store, *[lambda: hold(records, clip)] * 100) as guarded:
        await mirror_due(records, store)
    assert len(guarded) == MAX_ROUNDS * len(clip.stored)
    assert await records.unprotected(10) == [clip.clip_id]  # the next pass, which nobody disturbs, ends it
    await mirror_due(records, store)
    assert await records.unprotected(10) == []
    assert held(store, clip) == {"ON"}


async def test_a_hold_that_comes_into_the_store_during_a_disposal_delays_it_by_a_minute(
    records: Records, store: EvidenceStore, tmp_path: Path, database: Database
) -> None:
    clip = await make(records, store, tmp_path)
    await dispose(records, clip)
    delete = store.delete

    def late(stored: StoredObject) -> None:
        store.protect(stored, retain_until=None, lock_mode="NONE", held=True)
        delete(stored)

    with patch.object(store, "delete", late):
        await delete_disposed(records, store)
    with psycopg.connect(database.admin_dsn) as connection:
        ((again_at, error),) = connection.execute("SELECT next_attempt_at, last_error FROM evidence.clips").fetchall()
    assert "legal hold" in error
    assert datetime.now(UTC) < again_at <= datetime.now(UTC) + timedelta(seconds=RETRY_SECONDS)
    await records.postpone_disposal(clip, error=error, again_at=datetime.now(UTC))
    assert await delete_disposed(records, store) == 1
    assert [one for one in store.list_objects(clip.key_prefix) if not one.is_delete_marker] == []
