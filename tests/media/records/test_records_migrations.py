"""The evidence schema as migrated, against what the code declares."""

from collections.abc import Iterator

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from ledger.store.migrate import migrate
from media.records import schema
from media.records.tables import metadata
from sandbox.database import Database
from sandbox.postgres import Postgres

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,
       pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation::text
  FROM pg_attribute AS a
  JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r' AND c.relname <> 'alembic_version'
  LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'evidence'::regnamespace AND a.attnum > 0
 ORDER BY c.relname, a.attnum
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid)
  FROM pg_constraint
 WHERE connamespace = 'evidence'::regnamespace AND contype <> 't'
   AND conrelid <> coalesce(to_regclass('evidence.alembic_version'), 0)
 ORDER BY 1, 2
"""
INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes
 WHERE schemaname = 'evidence' AND tablename <> 'alembic_version' ORDER BY 1, 2
"""


def catalogue(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(dsn) as connection:
        return {
            name: connection.execute(query).fetchall()
            for name, query in (("columns", COLUMNS), ("constraints", CONSTRAINTS), ("indexes", INDEXES))
        }


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty_evidence TEMPLATE template0")
    yield postgres.dsn("empty_evidence")
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("DROP DATABASE empty_evidence WITH (FORCE)")


def test_the_migrated_schema_equals_the_declared_tables(database: Database, empty_database: str) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(empty_database), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA evidence")
        metadata.create_all(connection)
    declared, migrated = catalogue(empty_database), catalogue(database.admin_dsn)
    for part, rows in declared.items():
        assert rows
        assert migrated[part] == rows


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
        assert connection.execute("SELECT to_regnamespace(%s)", (schema.SCHEMA,)).fetchone() == (None,)
