"""The database attacked directly, as each of the ledger's roles, as the tables' owner and as a superuser."""

from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors

from sandbox.database import Database
from tests.store.guards.rogue import COLUMNS

RECORD = (
    *("organisations", "chains", "events", "item_steps"),
    *("anchors", "anchor_evidence", "verify_links", "verify_link_revocations"),
)
ROLES = ("runtime_role", "append_role", "worker_role")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", RECORD)
@pytest.mark.parametrize("command", ["UPDATE {} SET organisation_id = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_no_role_of_the_ledger_may_change_or_remove_a_row_of_the_record(
    attack: Callable[[str], psycopg.Connection], role: str, table: str, command: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match=f"permission denied for table {table}"):
        attack(role).execute(command.format(f"indelible.{table}"))


@pytest.mark.parametrize("attacker", ["owner", "superuser"])
@pytest.mark.parametrize("table", RECORD)
@pytest.mark.parametrize("command", ["UPDATE {} SET organisation_id = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_not_even_the_owner_changes_or_removes_a_row_of_the_record(
    attack: Callable[[str], psycopg.Connection], attacker: str, table: str, command: str
) -> None:
    with pytest.raises(errors.RestrictViolation, match="append-only"):
        attack(attacker).execute(command.format(f"indelible.{table}"))


@pytest.mark.parametrize(
    "command",
    [
        f"""INSERT INTO indelible.events ({COLUMNS}) SELECT {COLUMNS} FROM indelible.events LIMIT 1
            ON CONFLICT (chain_key, sequence) DO UPDATE SET payload = '{{"a":1}}'""",
        """MERGE INTO indelible.events AS t USING (SELECT 1) AS s ON true
            WHEN MATCHED THEN UPDATE SET kind = 'a.b'""",
        "MERGE INTO indelible.events AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
        "WITH gone AS (DELETE FROM indelible.events RETURNING 1) SELECT * FROM gone",
    ],
)
def test_roundabout_ways_of_changing_events_are_refused_too(owner: psycopg.Connection, command: str) -> None:
    with pytest.raises(errors.RestrictViolation, match="append-only"):
        owner.execute(command)


def test_the_row_level_trigger_stands_by_itself(superuser: psycopg.Connection) -> None:
    superuser.execute("ALTER TABLE indelible.events DISABLE TRIGGER refuse_change")
    with pytest.raises(errors.RestrictViolation, match="append-only"):
        superuser.execute("DELETE FROM indelible.events")


@pytest.mark.parametrize("role", ["runtime_role", "worker_role"])
@pytest.mark.parametrize("table", RECORD)
def test_only_the_append_role_may_insert_into_the_record(
    attack: Callable[[str], psycopg.Connection], role: str, table: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match=f"permission denied for table {table}"):
        attack(role).execute(f"INSERT INTO indelible.{table} DEFAULT VALUES")


def test_the_append_role_cannot_register_an_organisation(append_role: psycopg.Connection) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        append_role.execute("INSERT INTO indelible.organisations (organisation_id, name) VALUES ('rogue', 'Rogue')")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "command",
    [
        "ALTER TABLE indelible.events DISABLE TRIGGER ALL",
        "DROP TRIGGER guard_events ON indelible.events",
        "CREATE TRIGGER rogue BEFORE INSERT ON indelible.events EXECUTE FUNCTION indelible.refuse_change()",
        "DROP TABLE indelible.events CASCADE",
        "ALTER TABLE indelible.events OWNER TO CURRENT_USER",
        "CREATE OR REPLACE FUNCTION indelible.guard_events() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE indelible.rogue ()",
        "SET session_replication_role = replica",
        "SET ROLE indelible_owner",
        "ALTER TABLE indelible.events DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY rogue ON indelible.events USING (true)",
        "SET SESSION AUTHORIZATION postgres",
    ],
)
def test_no_role_of_the_ledger_can_take_the_guards_away(
    attack: Callable[[str], psycopg.Connection], role: str, command: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        attack(role).execute(command)


@pytest.mark.parametrize("table", [*RECORD, "session_ends", "disclosures", "outbox", "anchor_jobs"])
def test_the_runtime_role_sees_the_organisation_it_names_and_no_other(attacked: Database, table: str) -> None:
    query = f"SELECT DISTINCT organisation_id FROM indelible.{table}"
    with psycopg.connect(attacked.runtime_dsn) as connection:
        assert connection.execute(query).fetchall() == []
        for name, seen in (("zenith", [("zenith",)]), ("nobody", []), ("", [])):
            connection.execute("SELECT set_config('indelible.organisation', %s, true)", (name,))
            assert connection.execute(query).fetchall() == seen
        connection.rollback()
    with psycopg.connect(attacked.admin_dsn) as administrator:
        administrator.execute("SET ROLE indelible_owner; SET indelible.organisation = 'acme'")
        assert ("zenith",) not in administrator.execute(query).fetchall(), "the owner is under the policy, too"
