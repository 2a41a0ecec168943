"""The gateway's records guard themselves: against other organisations, forgetting, and a changed database."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from gateway.problems import Code, Problem
from gateway.records.guards import GATEWAY_GUARDS
from gateway.records.records import Records
from gateway.records.schema import DOOR_ROLE, SCHEMA, WORKER_ROLE
from gateway.records.tables import metadata
from ledger.database.guards import GuardsMissingError
from sandbox.database import Database, Databases
from sandbox.postgres import Postgres
from tests.schemas import catalogue, declared_catalogue, diagnose

_ADD_DECISION = """
INSERT INTO gateway.decisions (organisation_id, decided_at, subject, action, kind, resource_id, outcome, policies,
                               request_id)
VALUES ('acme', 1, 'ann', 'clip.view', 'Clip', 'x', 'allowed', '{}', 'r')
"""


@pytest.fixture(scope="module")
def empty_dsn(postgres: Postgres) -> Iterator[str]:
    name = f"empty_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield postgres.dsn(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_the_migrations_build_the_tables_that_are_declared(module_database: Database, empty_dsn: str) -> None:
    assert catalogue(module_database.admin_dsn, SCHEMA) == declared_catalogue(empty_dsn, metadata)


def test_the_row_level_security_of_every_declared_table_is_looked_at() -> None:
    assert GATEWAY_GUARDS.policies.keys() == {table.name for table in metadata.tables.values()}


def test_migrating_again_changes_nothing(databases: Databases, module_database: Database) -> None:
    before = catalogue(module_database.admin_dsn, SCHEMA)
    databases.migrated(module_database.name)
    assert catalogue(module_database.admin_dsn, SCHEMA) == before


def test_every_table_is_under_row_level_security(module_database: Database) -> None:
    query = """
        SELECT relname FROM pg_class WHERE relnamespace = 'gateway'::regnamespace AND relkind = 'r'
           AND relname <> 'alembic_version' AND NOT (relrowsecurity AND relforcerowsecurity)
    """
    with psycopg.connect(module_database.admin_dsn) as connection:
        assert connection.execute(query).fetchall() == []


@pytest.mark.parametrize("table", sorted(table.name for table in metadata.tables.values()))
def test_rows_of_another_organisation_do_not_exist_for_the_door(module_database: Database, table: str) -> None:
    """Its statements name an organisation, and the database holds them to it."""
    count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(SCHEMA, table))
    with psycopg.connect(module_database.admin_dsn) as admin:
        admin.execute("INSERT INTO gateway.sites VALUES ('acme', 'north', 'North') ON CONFLICT DO NOTHING")
        admin.commit()
    with psycopg.connect(module_database.gateway_dsn) as door:
        try:
            assert door.execute(count).fetchone() == (0,), "without an organisation there is nothing at all"
            door.execute("SELECT set_config('indelible.organisation', 'other', true)")
            assert door.execute(count).fetchone() == (0,)
        except psycopg.errors.InsufficientPrivilege:
            assert table == "decisions", "what was decided is written by the door, and read by the worker"


def test_a_row_cannot_be_written_for_another_organisation(module_database: Database) -> None:
    with psycopg.connect(module_database.gateway_dsn) as door:
        door.execute("SELECT set_config('indelible.organisation', 'other', true)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            door.execute("INSERT INTO gateway.sites VALUES ('acme', 'south', 'South')")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("door", "DELETE FROM gateway.credentials"),
        ("door", "UPDATE gateway.credentials SET roles = '{org_admin}'"),
        ("door", "UPDATE gateway.credential_secrets SET secret_sha256 = sha256('known')"),
        ("door", "DELETE FROM gateway.assignments"),
        ("door", "UPDATE gateway.assignments SET role = 'org_admin'"),
        ("door", "UPDATE gateway.decisions SET outcome = 'denied'"),
        ("door", "DELETE FROM gateway.decisions"),
        ("door", "TRUNCATE gateway.decisions"),
        ("worker", "UPDATE gateway.decisions SET outcome = 'denied'"),
        ("worker", "UPDATE gateway.decisions SET subject = 'somebody else'"),
        ("worker", "INSERT INTO gateway.assignments (assignment_id) VALUES (uuidv7())"),
        ("worker", "SELECT secret_sha256 FROM gateway.credential_secrets"),
    ],
)
def test_neither_role_can_do_what_is_not_its_task(module_database: Database, role: str, statement: str) -> None:
    dsn = module_database.gateway_dsn if role == "door" else module_database.gateway_worker_dsn
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT set_config('indelible.organisation', 'acme', true)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_a_decision_that_the_ledger_does_not_have_is_removed_by_nobody(module_database: Database) -> None:
    for dsn in (module_database.gateway_worker_dsn, module_database.admin_dsn):
        with psycopg.connect(module_database.admin_dsn) as admin:
            admin.execute(_ADD_DECISION)
        with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege, match="stays"):
            connection.execute("DELETE FROM gateway.decisions")
    with psycopg.connect(module_database.gateway_worker_dsn) as worker:
        worker.execute("UPDATE gateway.decisions SET batch_id = gen_random_uuid(), sent_at = now()")
        assert worker.execute("DELETE FROM gateway.decisions").rowcount == 2


def test_a_migrated_database_is_served_from(module_database: Database) -> None:
    diagnose(module_database.admin_dsn, GATEWAY_GUARDS, "SELECT 1")
    diagnose(module_database.admin_dsn, GATEWAY_GUARDS, "SELECT 1", role=DOOR_ROLE, bypasses=False)
    diagnose(module_database.admin_dsn, GATEWAY_GUARDS, "SELECT 1", role=WORKER_ROLE, bypasses=True)


@pytest.mark.parametrize(
    ("damage", "role", "said"),
    [
        ("DROP TRIGGER guard_decision ON gateway.decisions", None, "guard_decision on table decisions is missing"),
        ("ALTER TABLE gateway.credentials DISABLE TRIGGER refuse_removal", None, "disabled"),
        ("ALTER TABLE gateway.assignments NO FORCE ROW LEVEL SECURITY", None, "assignments"),
        ("CREATE POLICY all_rows ON gateway.credentials USING (true)", None, "credentials"),
        (
            """
            CREATE OR REPLACE FUNCTION gateway.guard_decision() RETURNS trigger LANGUAGE plpgsql
            SET search_path = pg_catalog AS 'BEGIN RETURN OLD; END'
            """,
            None,
            "function guard_decision",
        ),
        ("DROP INDEX gateway.assignments_standing", None, "assignments_standing"),
        ("ALTER ROLE indelible_gateway BYPASSRLS", DOOR_ROLE, "bypasses"),
        ("GRANT UPDATE ON gateway.credentials TO indelible_gateway", DOOR_ROLE, "UPDATE on table credentials"),
        ("GRANT TRUNCATE ON gateway.decisions TO indelible_gateway_worker", WORKER_ROLE, "TRUNCATE"),
        ("GRANT indelible_owner TO indelible_gateway", DOOR_ROLE, "may act for"),
    ],
)
def test_a_database_that_does_not_guard_the_records_is_not_served_from(
    module_database: Database, damage: str, role: str | None, said: str
) -> None:
    with pytest.raises(GuardsMissingError, match=said):
        diagnose(module_database.admin_dsn, GATEWAY_GUARDS, damage, role=role, bypasses=role == WORKER_ROLE)


def test_a_database_that_is_away_is_a_problem_that_passes_and_comes_back(
    postgres: Postgres, databases: Databases, migrated_template: Database
) -> None:
    with databases.copy(migrated_template) as database, psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        name = sql.Identifier(database.name)
        records = Records.open(database.gateway_dsn, size=2)
        try:
            assert ask(records) == "acme"
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database.name,))
            with pytest.raises(Problem) as caught:
                ask(records)
            assert caught.value.code is Code.DATABASE_UNAVAILABLE
            assert caught.value.status == 503
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
            assert ask(records) == "acme"
        finally:
            records.close()


def ask(records: Records) -> str:
    with records.transaction("acme") as connection:
        row = connection.execute("SELECT current_setting('indelible.organisation')").fetchone()
    assert row is not None
    return str(row[0])


def test_an_error_in_a_transaction_leaves_nothing_of_it(module_database: Database) -> None:
    records = Records.open(module_database.gateway_dsn, size=1)
    try:
        with pytest.raises(RuntimeError, match="halfway"):
            fail_halfway(records)
        with records.transaction("undone") as connection:
            assert connection.execute("SELECT count(*) FROM gateway.sites").fetchone() == (0,)
    finally:
        records.close()


def fail_halfway(records: Records) -> None:
    with records.transaction("undone") as connection:
        connection.execute("INSERT INTO gateway.sites VALUES ('undone', 'north', 'North')")
        raise RuntimeError("halfway")
