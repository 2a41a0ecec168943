import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import fields, replace

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.chain.canonical import canonicalise
from ledger.errors import LedgerError
from ledger.store.admin import add_organisation, list_organisations
from ledger.store.guards import LEDGER_GUARDS
from ledger.store.migrate import MigrationError, migrate
from ledger.store.tables import SCHEMA, metadata
from sandbox.database import Database
from sandbox.postgres import Postgres
from tests.schemas import catalogue, declared_catalogue
from tests.store.conftest import open_store
from tests.store.guards.rogue import following, insert


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


def test_the_row_level_security_of_every_declared_table_is_looked_at() -> None:
    assert LEDGER_GUARDS.policies.keys() == {table.name for table in metadata.tables.values()}


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


def older_chain(connection: psycopg.Connection, organisation: str, kinds: list[tuple[str, dict[str, object]]]) -> None:
    """A chain with these events, as an append role wrote them before there was the migration."""
    connection.execute("SELECT set_config('indelible.organisation', %s, true)", (organisation,))
    row = connection.execute(
        """INSERT INTO indelible.chains (organisation_id, chain_id, type, subject, opened_at)
           VALUES (%s, 'visit', 'session', '{}', now()) RETURNING chain_key""",
        (organisation,),
    ).fetchone()
    assert row is not None
    opening = {
        "chain_id": "visit",
        "chain_type": "session",
        "format": "indelible-chain/1",
        "organisation": {"id": organisation, "name": organisation.title()},
        "subject": {},
    }
    event = {"chain_key": row[0], "sequence": 0, "hash": bytes(32), "organisation_id": organisation, "occurred_at": 0}
    for kind, payload in [("chain.opened", opening), *kinds]:
        event = following(event, kind=kind, payload=canonicalise(json.dumps(payload).encode()).decode())
        insert(connection, event)
    connection.commit()


async def test_an_older_database_with_chains_learns_what_is_pending_on_them(
    empty_database: str, database: Database, sandbox_passwords: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade
    with monkeypatch.context() as older:
        older.setattr(command, "upgrade", lambda config, _: upgrade(config, "0006"))
        migrate(empty_database, sandbox_passwords)
    clip, other = {"clip_id": "c1"}, {"clip_id": "c2"}
    preserved: list[tuple[str, dict[str, object]]] = [("clip.preserved", dict(clip)), ("clip.failed", dict(other))]
    moved = replace(
        database,
        **{
            field.name: make_conninfo(getattr(database, field.name), dbname="empty")
            for field in fields(database)
            if field.name.endswith("_dsn")
        },
    )
    for organisation in ("acme", "zenith"):
        add_organisation(empty_database, organisation, organisation.title())
    with psycopg.connect(moved.append_dsn) as connection:
        # What old services told of clips began nothing, and their callers could use the kind session.ended.
        older_chain(connection, "acme", [*preserved, ("session.ended", {"by": "Ann"}), ("door.opened", {})])
        begun: dict[str, object] = {"recording_id": "r1"}
        older_chain(connection, "zenith", [("clip.requested", dict(clip)), *preserved, ("recording.started", begun)])
    await asyncio.to_thread(migrate, empty_database, sandbox_passwords)
    store = await open_store(moved)
    try:
        assert (await store.get_chain("acme", "visit")).pending == ()
        (item,) = (await store.get_chain("zenith", "visit")).pending
        assert (item.type, item.item_id, item.since_sequence) == ("recording", "r1", 5)
        ended, _ = await store.end_session("zenith", "visit")
        closed, _ = await store.end_session("acme", "visit")
        assert (ended.state, closed.state) == ("ended", "closed")
        for organisation in ("acme", "zenith"):
            assert (await store.check_chain(organisation, "visit")).ok
    finally:
        await store.close()


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
