"""Records on a fresh database."""

from collections.abc import AsyncIterator

import pytest

from media.records.records import Records
from sandbox.database import Database
from tests.media.records.recording import open_records


@pytest.fixture
async def records(database: Database) -> AsyncIterator[Records]:
    opened = await open_records(database)
    yield opened
    await opened.close()
