"""Recordings that were made, and workers that process them, in this process; PostgreSQL and S3 are real."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from media.records.records import Records
from media.storage.client import StoreSettings
from media.storage.store import EvidenceStore
from sandbox.database import Database
from sandbox.objects import Objects
from sandbox.objects_faults import LyingObjects
from tests.media.recordings.processing.staging import Stage
from tests.media.records.conftest import empty
from tests.media.records.stores import locking_bucket


@pytest.fixture(scope="session")
def liar(objects: Objects) -> Iterator[LyingObjects]:
    with LyingObjects(objects.url) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def store_settings(objects: Objects, liar: LyingObjects) -> StoreSettings:
    """A bucket behind the liar, who tells the truth until told otherwise."""
    return locking_bucket(objects, liar.url)


@pytest.fixture
async def stage(
    module_database: Database, store_settings: StoreSettings, tmp_path: Path, liar: LyingObjects
) -> AsyncIterator[Stage]:
    records = await Records.open(
        evidence_dsn=module_database.evidence_dsn, worker_dsn=module_database.evidence_worker_dsn
    )
    try:
        yield Stage(records, EvidenceStore(store_settings), tmp_path)
    finally:
        liar.stop_lying()
        await records.close()
        empty(module_database)
