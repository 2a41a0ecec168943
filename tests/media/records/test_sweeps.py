"""The sweeper over a bucket of the real store that locks what it likes."""

import secrets
from pathlib import Path

from media.clips.sweep import sweep
from media.records.records import Records
from media.records.values import Clip
from media.storage.store import EvidenceStore
from media.storage.values import StoredObject
from sandbox.objects import Objects
from tests.media.records.recording import make_clip
from tests.media.records.stores import locking_store


def leave(store: EvidenceStore, clip: Clip, name: str, path: Path) -> StoredObject:
    path.write_bytes(secrets.token_bytes(100))
    return store.store_verified(clip.key_prefix + name, path, media_type="x/y")


async def test_one_leftover_that_the_store_keeps_does_not_keep_the_others(
    records: Records, objects: Objects, tmp_path: Path
) -> None:
    clip, store = await make_clip(records), locking_store(objects)
    left = [leave(store, clip, name, tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4")]
    store.protect(left[0], retain_until=None, lock_mode="NONE", held=True)
    assert await sweep(records, store, grace_seconds=-60) == 2
    assert [one.key for one in store.list_objects()] == [left[0].key]
    store.protect(left[0], retain_until=None, lock_mode="NONE", held=False)
    assert await sweep(records, store, grace_seconds=-60) == 1
