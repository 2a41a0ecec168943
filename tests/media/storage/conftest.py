"""Buckets of the real S3 server: one that locks, one that keeps no versions, and a liar before both."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from media.storage.client import StoreSettings
from media.storage.store import EvidenceStore
from sandbox.objects import Objects
from sandbox.objects_faults import LyingObjects

KEY = "acme/2026/11/22/gate/inc-1/clip.mp4"
MIB = 1024 * 1024


def make_store(objects: Objects, url: str, bucket: str, **changes: object) -> EvidenceStore:
    values: dict[str, Any] = {
        "bucket": bucket,
        "profile": "seaweedfs",
        "endpoint_url": url,
        "access_key": objects.access_key,
        "secret_key": objects.secret_key,
    }
    return EvidenceStore(StoreSettings(**(values | changes)))


def make_bucket(objects: Objects, *, locks: bool) -> str:
    bucket = f"evidence-{secrets.token_hex(6)}"
    store = make_store(objects, objects.url, bucket)
    store.bucket.writer.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=locks)
    return bucket


@pytest.fixture(scope="module")
def locking(objects: Objects) -> EvidenceStore:
    """A bucket with versions, locks and holds."""
    return make_store(objects, objects.url, make_bucket(objects, locks=True))


@pytest.fixture(scope="module")
def plain(objects: Objects) -> EvidenceStore:
    """A bucket without versions."""
    return make_store(objects, objects.url, make_bucket(objects, locks=False))


@pytest.fixture(params=["locking", "plain"])
def store(request: pytest.FixtureRequest) -> EvidenceStore:
    """Either kind of bucket."""
    chosen: EvidenceStore = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(scope="module")
def _liar(objects: Objects) -> Iterator[LyingObjects]:
    with LyingObjects(objects.url) as proxy:
        yield proxy


@pytest.fixture
def liar(_liar: LyingObjects) -> Iterator[LyingObjects]:
    """A proxy that tells the truth until the test says otherwise."""
    yield _liar
    _liar.stop_lying()


@pytest.fixture(scope="module")
def _through(
    objects: Objects, _liar: LyingObjects, locking: EvidenceStore, plain: EvidenceStore
) -> dict[str, EvidenceStore]:
    reached = {}
    for store in (locking, plain):
        name = store.bucket.name
        reached[name] = make_store(objects, _liar.url, name, read_seconds=5.0)
        reached[name].capabilities()  # known before the lying begins
    return reached


@pytest.fixture
def through(_through: dict[str, EvidenceStore], liar: LyingObjects, store: EvidenceStore) -> EvidenceStore:
    """The same bucket as `store`, reached through the liar."""
    return _through[store.bucket.name]


@pytest.fixture
def key() -> str:
    """A key that no other test uses."""
    return KEY.replace("inc-1", f"inc-{secrets.token_hex(6)}")


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a file of so many random bytes."""

    def make(size: int) -> Path:
        path = tmp_path / f"{size}-{secrets.token_hex(4)}.bin"
        path.write_bytes(secrets.token_bytes(size))
        return path

    return make
