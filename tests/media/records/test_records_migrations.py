"""The evidence schema as migrated, against what the code declares."""

from collections.abc import Iterator

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from ledger.store.migrate import migrate
from media.records.guards import EVIDENCE_GUARDS
from media.records.schema import SCHEMA
from media.records.tables import metadata
from sandbox.database import Database
from sandbox.postgres import Postgres
from tests.schemas import catalogue, declared_catalogue


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty_evidence TEMPLATE template0")
    yield postgres.dsn("empty_evidence")
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("DROP DATABASE empty_evidence WITH (FORCE)")


def test_the_migrated_schema_equals_the_declared_tables(database: Database, empty_database: str) -> None:
    assert catalogue(database.admin_dsn, SCHEMA) == declared_catalogue(empty_database, metadata)


def test_the_row_level_security_of_every_declared_table_is_looked_at() -> None:
    assert EVIDENCE_GUARDS.policies.keys() == {table.name for table in metadata.tables.values()}


def test_there_is_one_line_of_versions() -> None:
    config = Config()
    config.set_main_option("script_location", "media.records:migrations")
    config.set_main_option("path_separator", "os")
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


def test_an_installation_without_the_evidence_service_has_none_of_its_tables(
    database: Database, empty_database: str
) -> None:
    roles = (database.runtime_dsn, database.append_dsn, database.worker_dsn)
    parsed = [psycopg.conninfo.conninfo_to_dict(dsn) for dsn in roles]
    migrate(empty_database, {str(parts["user"]): str(parts["password"]) for parts in parsed})
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone() == (None,)
