"""The service refuses to open records whose guards are missing, or as a role that can do too much."""

from dataclasses import replace

import pytest

from ledger.database.guards import GuardsMissingError
from media.records.guards import EVIDENCE_GUARDS
from sandbox.database import Database
from tests.media.records.recording import open_records
from tests.schemas import diagnose

DAMAGE = [
    ("ALTER TABLE evidence.clips DISABLE TRIGGER guard_clip", "trigger guard_clip on table clips is disabled"),
    ("ALTER TABLE evidence.holds ENABLE TRIGGER touch_held_clip", "touch_held_clip on table holds is disabled or not"),
    ("DROP TRIGGER note_accessed ON evidence.accesses", "trigger note_accessed on table accesses is missing"),
    ("ALTER TABLE evidence.artefacts DISABLE TRIGGER ALL", "refuse_change_of_row on table artefacts is disabled"),
    (
        "CREATE OR REPLACE FUNCTION evidence.guard_clip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "function guard_clip is missing or not the one migrated",
    ),
    ("ALTER FUNCTION evidence.require_note() SECURITY DEFINER", "function require_note is missing or not"),
    ("ALTER TABLE evidence.clips DISABLE ROW LEVEL SECURITY", "row-level security of table clips"),
    ("CREATE POLICY rogue ON evidence.notes USING (true)", "row-level security of table notes"),
    ("ALTER TABLE evidence.clips DROP CONSTRAINT clips_organisation_id_source_id_incident_id_key", "unique index"),
    ("DROP TABLE evidence.turns", "table turns is missing"),
]
ROLE_DAMAGE = [
    ("GRANT indelible_owner TO indelible_evidence", "may act for indelible_owner"),
    ("GRANT UPDATE ON evidence.holds TO indelible_evidence", "has UPDATE on table holds"),
    ("GRANT DELETE ON evidence.clips TO PUBLIC", "has DELETE on table clips"),
    ("ALTER ROLE indelible_evidence BYPASSRLS", "bypasses row-level security"),
    ("ALTER ROLE indelible_evidence SUPERUSER", "is a superuser"),
]


@pytest.mark.parametrize(("damage", "fault"), DAMAGE)
def test_the_service_notices_when_a_guard_was_tampered_with(module_database: Database, damage: str, fault: str) -> None:
    with pytest.raises(GuardsMissingError) as caught:
        diagnose(module_database.admin_dsn, EVIDENCE_GUARDS, damage)
    assert fault in str(caught.value)


@pytest.mark.parametrize(("damage", "fault"), ROLE_DAMAGE)
def test_the_service_notices_when_its_role_can_do_too_much(module_database: Database, damage: str, fault: str) -> None:
    with pytest.raises(GuardsMissingError) as caught:
        diagnose(module_database.admin_dsn, EVIDENCE_GUARDS, damage, role="indelible_evidence")
    assert fault in str(caught.value)


def test_an_undamaged_database_passes(module_database: Database) -> None:
    for role, bypasses in ((None, False), ("indelible_evidence", False), ("indelible_evidence_worker", True)):
        diagnose(module_database.admin_dsn, EVIDENCE_GUARDS, "SELECT 1", role=role, bypasses=bypasses)


async def test_the_records_do_not_open_with_the_superuser_in_place_of_a_role(module_database: Database) -> None:
    with pytest.raises(GuardsMissingError, match="is a superuser"):
        await open_records(replace(module_database, evidence_dsn=module_database.admin_dsn))


async def test_the_records_do_not_open_with_the_two_roles_exchanged(module_database: Database) -> None:
    exchanged = replace(
        module_database,
        evidence_dsn=module_database.evidence_worker_dsn,
        evidence_worker_dsn=module_database.evidence_dsn,
    )
    with pytest.raises(GuardsMissingError, match="row-level security"):
        await open_records(exchanged)
