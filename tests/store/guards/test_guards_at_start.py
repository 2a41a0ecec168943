"""The service notices, before it serves and while it does, that a guard is missing or a role can do too much."""

from dataclasses import replace

import psycopg
import pytest

from ledger.database.guards import GuardsMissingError
from ledger.store.guards import LEDGER_GUARDS
from sandbox.database import Database
from tests import schemas
from tests.store.conftest import open_store

# What an owner or superuser could do to the guards, and what the service then says when it starts.
DAMAGE = [
    ("ALTER TABLE indelible.events DISABLE TRIGGER guard_events", "trigger guard_events on table events is disabled"),
    ("ALTER TABLE indelible.events ENABLE TRIGGER guard_events", "guard_events on table events is disabled or not"),
    ("ALTER TABLE indelible.events ENABLE REPLICA TRIGGER refuse_change", "refuse_change on table events is disabled"),
    ("ALTER TABLE indelible.anchors DISABLE TRIGGER ALL", "refuse_change_of_row on table anchors is disabled"),
    ("DROP TRIGGER guard_sessions ON indelible.events", "trigger guard_sessions on table events is missing"),
    ("ALTER TABLE indelible.session_ends DISABLE TRIGGER guard_session_ends", "on table session_ends is disabled"),
    (
        """CREATE OR REPLACE FUNCTION indelible.guard_steps() RETURNS trigger LANGUAGE plpgsql
           AS 'BEGIN RETURN NEW; END'""",
        "function guard_steps is missing or not the one migrated",
    ),
    ("DROP TRIGGER queue_events ON indelible.events", "trigger queue_events on table events is missing"),
    ("DROP TRIGGER guard_organisation ON indelible.anchor_jobs", "guard_organisation on table anchor_jobs is missing"),
    (
        """CREATE OR REPLACE TRIGGER refuse_change BEFORE DELETE ON indelible.events
           FOR EACH STATEMENT EXECUTE FUNCTION indelible.refuse_change();
           ALTER TABLE indelible.events ENABLE ALWAYS TRIGGER refuse_change""",
        "trigger refuse_change on table events is not the one migrated",
    ),
    (
        """CREATE OR REPLACE TRIGGER guard_events AFTER INSERT ON indelible.events REFERENCING NEW TABLE AS inserted
           FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION indelible.guard_events();
           ALTER TABLE indelible.events ENABLE ALWAYS TRIGGER guard_events""",
        "trigger guard_events on table events is not the one migrated",
    ),
    (
        """CREATE FUNCTION indelible.rogue() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
           CREATE TRIGGER rogue BEFORE INSERT ON indelible.events FOR EACH ROW EXECUTE FUNCTION indelible.rogue()""",
        "trigger rogue on table events is not ours",
    ),
    (
        """CREATE OR REPLACE FUNCTION indelible.guard_events() RETURNS trigger LANGUAGE plpgsql
           AS 'BEGIN RETURN NULL; END'""",
        "function guard_events is missing or not the one migrated",
    ),
    ("ALTER FUNCTION indelible.guard_events() SECURITY DEFINER", "function guard_events is missing or not"),
    ("ALTER FUNCTION indelible.guard_events() SET search_path = rogue", "function guard_events is missing or not"),
    ("ALTER TABLE indelible.events DISABLE ROW LEVEL SECURITY", "row-level security of table events"),
    ("ALTER TABLE indelible.chains NO FORCE ROW LEVEL SECURITY", "row-level security of table chains"),
    ("CREATE POLICY rogue ON indelible.events USING (true)", "row-level security of table events"),
    ("DROP POLICY own_organisation ON indelible.anchors", "row-level security of table anchors"),
    ("ALTER POLICY own_organisation ON indelible.events USING (true)", "row-level security of table events"),
    ("ALTER TABLE indelible.events DROP CONSTRAINT events_chain_key_prev_hash_key", "unique index"),
    ("DROP INDEX indelible.events_chain_key_idempotency_key_key", "unique index"),
    ("DROP TABLE indelible.outbox", "table outbox is missing"),
    ("SET LOCAL synchronous_commit = off", "synchronous_commit is off"),
]
ROLE_DAMAGE = [
    ("ALTER TABLE indelible.events OWNER TO indelible_append", "owns tables"),
    ("GRANT indelible_owner TO indelible_append", "may act for indelible_owner"),
    ("GRANT UPDATE ON indelible.events TO indelible_append", "has UPDATE on table events"),
    ("GRANT DELETE ON indelible.anchors TO PUBLIC", "has DELETE on table anchors"),
    ("GRANT TRUNCATE ON indelible.chains TO indelible_append", "has TRUNCATE on table chains"),
    ("GRANT TRIGGER ON indelible.events TO indelible_append", "has TRIGGER on table events"),
    ("ALTER ROLE indelible_append SUPERUSER", "is a superuser"),
    ("ALTER ROLE indelible_append CREATEROLE", "may create roles"),
    ("ALTER ROLE indelible_append NOBYPASSRLS", "is under row-level security"),
]


def diagnose(database: Database, damage: str, role: str | None) -> None:
    """Do the damage in a transaction, run the start-up check on it, and undo it."""
    schemas.diagnose(database.admin_dsn, LEDGER_GUARDS, damage, role=role, bypasses=role == "indelible_append")


@pytest.mark.parametrize(("damage", "fault"), DAMAGE)
def test_the_service_notices_when_a_guard_was_tampered_with(attacked: Database, damage: str, fault: str) -> None:
    with pytest.raises(GuardsMissingError) as caught:
        diagnose(attacked, damage, None)
    assert fault in str(caught.value)


@pytest.mark.parametrize(("damage", "fault"), ROLE_DAMAGE)
def test_the_service_notices_when_its_role_can_do_too_much(attacked: Database, damage: str, fault: str) -> None:
    with pytest.raises(GuardsMissingError) as caught:
        diagnose(attacked, damage, "indelible_append")
    assert fault in str(caught.value)


def test_the_service_notices_when_its_runtime_role_escapes_row_level_security(attacked: Database) -> None:
    with pytest.raises(GuardsMissingError, match="bypasses row-level security"):
        diagnose(attacked, "ALTER ROLE indelible_runtime BYPASSRLS", "indelible_runtime")


def test_an_undamaged_database_passes(attacked: Database) -> None:
    diagnose(attacked, "SELECT 1", None)
    diagnose(attacked, "SELECT 1", "indelible_append")
    diagnose(attacked, "SELECT 1", "indelible_runtime")


async def test_the_store_does_not_open_on_a_database_without_its_guards(database: Database) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("ALTER TABLE indelible.events DISABLE TRIGGER refuse_change")
    with pytest.raises(GuardsMissingError, match="refuse_change on table events is disabled"):
        await open_store(database)


async def test_the_store_does_not_open_with_the_superuser_in_place_of_a_role(database: Database) -> None:
    with pytest.raises(GuardsMissingError, match="is a superuser"):
        await open_store(replace(database, append_dsn=database.admin_dsn))
