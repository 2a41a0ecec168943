import threading
from collections.abc import Iterator

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.conninfo import conninfo_to_dict

from ledger.errors import LedgerError
from ledger.store.admin import add_organisation, list_organisations
from ledger.store.migrate import MigrationError, migrate
from ledger.store.tables import SCHEMA, metadata
from sandbox.database import Database
from sandbox.postgres import Postgres
from tests.schemas import catalogue, declared_catalogue


@pytest.fixture
def empty_database(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    options = getattr(request, "param", "")
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE empty TEMPLATE template0 {options}".encode())
    yield postgres.dsn("empty")
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("DROP DATABASE empty WITH (FORCE)")


def test_the_migrated_database_equals_the_declared_tables(database: Database, empty_database: str) -> None:
    assert catalogue(database.admin_dsn, SCHEMA) == declared_catalogue(empty_database, metadata)


def test_migrating_again_changes_nothing(database: Database, sandbox_passwords: dict[str, str]) -> None:
    before = catalogue(database.admin_dsn, SCHEMA)
    migrate(database.admin_dsn, sandbox_passwords)
    assert catalogue(database.admin_dsn, SCHEMA) == before


@pytest.fixture
def sandbox_passwords(database: Database) -> dict[str, str]:
    """The roles belong to the whole server, so a test that migrates must leave their passwords as they are."""
    parsed = [conninfo_to_dict(dsn) for dsn in (database.runtime_dsn, database.append_dsn, database.worker_dsn)]
    return {str(parts["user"]): str(parts["password"]) for parts in parsed}


def test_migrations_at_the_same_time_wait_for_each_other(
    empty_database: str, sandbox_passwords: dict[str, str]
) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            migrate(empty_database, sandbox_passwords)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    add_organisation(empty_database, "acme", "Acme")


@pytest.mark.parametrize("empty_database", ["ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'"], indirect=True)
def test_a_database_that_is_not_utf8_is_refused(empty_database: str) -> None:
    with pytest.raises(MigrationError, match="UTF8"):
        migrate(empty_database, {})


def test_there_is_one_line_of_versions() -> None:
    config = Config()
    config.set_main_option("script_location", "ledger:store/migrations")
    config.set_main_option("path_separator", "os")
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


def test_an_organisation_is_registered_once_and_keeps_its_name(database: Database) -> None:
    add_organisation(database.admin_dsn, "acme", "Acme")
    add_organisation(database.admin_dsn, "acme", "Acme")
    with pytest.raises(LedgerError, match="never changes"):
        add_organisation(database.admin_dsn, "acme", "Other")
    assert [row[:2] for row in list_organisations(database.admin_dsn)] == [("acme", "Acme")]


@pytest.mark.parametrize(
    ("organisation_id", "name"),
    [("", "A"), ("A", "A"), ("-a", "A"), ("a" * 65, "A"), ("a", ""), ("a", " A"), ("a", "A\n"), ("a", "A" * 201)],
)
def test_an_organisation_without_a_proper_id_and_name_is_refused(
    database: Database, organisation_id: str, name: str
) -> None:
    with pytest.raises(LedgerError):
        add_organisation(database.admin_dsn, organisation_id, name)
