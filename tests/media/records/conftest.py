"""Records on a database that is empty for every test: emptied by a superuser, since nobody else could."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from media.records.records import Records
from media.records.tables import metadata
from sandbox.database import Database
from tests.media.records.recording import open_records

_ENABLE = """
SELECT format('ALTER TABLE evidence.%I ENABLE ALWAYS TRIGGER %I', c.relname, t.tgname)
  FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'evidence'::regnamespace AND NOT t.tgisinternal
"""


def empty(database: Database) -> None:
    tables = [table.fullname for table in metadata.tables.values()]
    with psycopg.connect(database.admin_dsn) as connection:
        for table in tables:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
        connection.execute(f"TRUNCATE {', '.join(tables)}".encode())
        for (statement,) in connection.execute(_ENABLE).fetchall():
            connection.execute(statement)


@pytest.fixture
def database(module_database: Database) -> Iterator[Database]:
    yield module_database
    empty(module_database)


@pytest.fixture
async def records(database: Database) -> AsyncIterator[Records]:
    opened = await open_records(database)
    yield opened
    await opened.close()
