"""The database attacked directly: as both roles of the service, as the tables' owner and as a superuser."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import errors

from media.records.values import Clip
from sandbox.database import Database
from tests.media.records.recording import access, asked, claimed, hold, lift, make_clip, several_records

INSERT_ONLY = ("artefacts", "kept_objects", "holds", "hold_lifts", "accesses", "retention_changes")
TABLES = (*INSERT_ONLY, "clips", "notes")
ATTACKERS = {
    "callers' role": ("evidence_dsn", ""),
    "worker's role": ("evidence_worker_dsn", ""),
    "owner": ("admin_dsn", "SET LOCAL ROLE indelible_owner"),
    # Ordinary triggers do not fire for a superuser who plays a replica.
    "superuser": ("admin_dsn", "SET LOCAL session_replication_role = replica"),
}
ROLES = ("callers' role", "worker's role")
Attack = Callable[[str], psycopg.Connection]


@pytest.fixture(scope="module")
def clips(module_database: Database) -> dict[str, Clip]:
    """A preserved, a held, a leased and a disposed clip of acme's, and one of zenith's."""

    async def fill() -> dict[str, Clip]:
        async with several_records(module_database, 1) as (records,):
            made = {name: await make_clip(records, name) for name in ("preserved", "held", "disposing")}
            made["foreign"] = await make_clip(records, organisation_id="zenith")
            await lift(records, made["preserved"], await hold(records, made["preserved"]))
            await hold(records, made["held"])
            await access(records, made["held"])
            await records.request(asked("open"))
            made["open"] = (await records.heartbeat(await claimed(records), "STORING")).clip
            return made

    return asyncio.run(fill())


@pytest.fixture(scope="module")
def sessions(module_database: Database, clips: dict[str, Clip]) -> Iterator[dict[str, psycopg.Connection]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(psycopg.connect(getattr(module_database, dsn)))
            for name, (dsn, _) in ATTACKERS.items()
        }


@pytest.fixture
def attack(sessions: dict[str, psycopg.Connection]) -> Iterator[Attack]:
    """The connection of an attacker, in a transaction of acme's that is rolled back after the test."""
    with ExitStack() as stack:

        def begin(attacker: str) -> psycopg.Connection:
            connection = sessions[attacker]
            stack.callback(connection.rollback)
            connection.execute("SET LOCAL indelible.organisation = 'acme'")
            if ATTACKERS[attacker][1]:
                connection.execute(ATTACKERS[attacker][1].encode())
            return connection

        yield begin


@pytest.mark.parametrize("attacker", ATTACKERS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("command", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_nobody_removes_a_row_of_the_record(attack: Attack, attacker: str, table: str, command: str) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.RestrictViolation)):
        attack(attacker).execute(command.format(f"evidence.{table}").encode())


@pytest.mark.parametrize("attacker", ATTACKERS)
@pytest.mark.parametrize("table", INSERT_ONLY)
def test_nobody_changes_what_was_placed_lifted_stored_or_accessed(attack: Attack, attacker: str, table: str) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.RestrictViolation)):
        attack(attacker).execute(f"UPDATE evidence.{table} SET organisation_id = 'x'".encode())


FOR_EVER = (
    *("clip_id = uuidv7()", "organisation_id = 'x'", "source_id = 'x'", "camera_id = 'x'", "incident_id = 'x'"),
    *("key_prefix = 'x'", "event_at = 0", "asked_from = 0", "asked_to = 0", "session_chain_id = 'x'"),
    *("requested_by = 'x'", "requested_at = 0"),
)


@pytest.mark.parametrize("attacker", ATTACKERS)
@pytest.mark.parametrize("change", FOR_EVER)
@pytest.mark.parametrize("incident", ["preserved", "open"])
def test_nobody_changes_what_was_asked_for(attack: Attack, attacker: str, change: str, incident: str) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.IntegrityConstraintViolation)) as caught:
        attack(attacker).execute(f"UPDATE evidence.clips SET {change} WHERE incident_id = %s".encode(), (incident,))
    assert isinstance(caught.value, errors.InsufficientPrivilege) or "never changes" in str(caught.value)


WRITERS = ("worker's role", "owner", "superuser")


@pytest.mark.parametrize("attacker", WRITERS)
@pytest.mark.parametrize(
    "change",
    [
        *("actual_from = 0", "actual_to = 0", "gaps = '[]'", "facts = '{}'", "ended_at = 0", "failure_reason = 'x'"),
        *("state = 'REQUESTED'", "state = 'EXTRACTING'", "state = 'STORING'", "state = 'FAILED'", "state = 'DISPOSED'"),
        *("state = 'DISPOSING'", "disposal_by = 'x'", "disposed_at = 0", "lease_number = 0", "protection_wanted = 0"),
        *("leased_until = now() + interval '1 hour'", "protection_done = 99", "protection_change = -1"),
        "state = 'DISPOSING', disposal_by = ' ', disposal_reason = 'x', disposal_decided_at = 0",
        "state = 'DISPOSING', disposal_by = 'x', disposal_reason = '', disposal_decided_at = 0",
    ],
)
def test_nobody_rewrites_the_outcome_of_a_preserved_clip(attack: Attack, attacker: str, change: str) -> None:
    with pytest.raises(errors.IntegrityConstraintViolation, match="is refused"):
        attack(attacker).execute(f"UPDATE evidence.clips SET {change} WHERE incident_id = 'preserved'".encode())


DISPOSE = (
    "UPDATE evidence.clips SET state = 'DISPOSING', disposal_by = 'x', disposal_reason = 'y', disposal_decided_at = 0"
)


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_nobody_begins_to_dispose_of_a_held_clip(attack: Attack, attacker: str) -> None:
    with pytest.raises(errors.IntegrityConstraintViolation, match="a legal hold stands"):
        attack(attacker).execute(f"{DISPOSE} WHERE incident_id = 'held'".encode())


@pytest.mark.parametrize("attacker", [*ROLES, "owner", "superuser"])
def test_nobody_places_a_hold_on_a_clip_whose_disposal_has_begun_or_that_is_not_there(
    attack: Attack, attacker: str, clips: dict[str, Clip]
) -> None:
    connection = attack(attacker)
    connection.execute(f"{DISPOSE} WHERE incident_id = 'disposing'".encode())
    for clip_id in (clips["disposing"].clip_id, "00000000-0000-0000-0000-000000000000"):
        with (
            pytest.raises((errors.InsufficientPrivilege, errors.IntegrityConstraintViolation)) as caught,
            connection.transaction(),
        ):
            connection.execute(
                "INSERT INTO evidence.holds VALUES (uuidv7(), %s, 'acme', 'k', 'case', 'rosa', 0)", (clip_id,)
            )
        assert isinstance(caught.value, errors.InsufficientPrivilege) or "disposed of" in str(caught.value)


@pytest.mark.parametrize("attacker", WRITERS)
@pytest.mark.parametrize("table", ["artefacts", "kept_objects"])
def test_nobody_adds_an_object_to_a_clip_that_has_ended(
    attack: Attack, attacker: str, table: str, clips: dict[str, Clip]
) -> None:
    clip = clips["preserved"]
    columns, values = "clip_id, organisation_id, key, version_id, size, sha256", "%s, 'acme', %s, 'v9', 1, %s"
    extra = (", name, role, media_type", ", 'n', 'native', 'm'") if table == "artefacts" else (", problem", ", 'p'")
    with pytest.raises(errors.IntegrityConstraintViolation, match="the clip has ended"):
        attack(attacker).execute(
            f"INSERT INTO evidence.{table} ({columns}{extra[0]}) VALUES ({values}{extra[1]})".encode(),
            (clip.clip_id, clip.key_prefix + "native-9.mp4", bytes(32)),
        )


@pytest.mark.parametrize("attacker", ["callers' role", "owner", "superuser"])
@pytest.mark.parametrize(
    ("column", "value"),
    [("state", "'PRESERVED'"), ("ended_at", "1"), ("attempts", "1"), ("facts", "'{}'"), ("leased_until", "now()")],
)
def test_a_clip_begins_as_a_request(attack: Attack, attacker: str, column: str, value: str) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.IntegrityConstraintViolation)):
        attack(attacker).execute(
            f"""INSERT INTO evidence.clips (organisation_id, source_id, camera_id, incident_id, key_prefix, event_at,
                                            asked_from, asked_to, requested_by, requested_at, {column})
                VALUES ('acme', 's', 'c', 'i', 'acme/2026/11/22/c/i/', 1, 0, 2, 'x', 0, {value})""".encode()
        )


@pytest.mark.parametrize(
    ("prefix", "organisation"),
    [("zenith/2026/11/22/c/i/", "acme"), ("acme/2026/11/22/c/other/", "acme"), ("acme/../2026/11/22/c/i", "acme")],
)
def test_keys_that_belong_elsewhere_are_refused_by_the_table_itself(
    attack: Attack, prefix: str, organisation: str
) -> None:
    with pytest.raises(errors.CheckViolation):
        attack("owner").execute(
            """INSERT INTO evidence.clips (organisation_id, source_id, camera_id, incident_id, key_prefix, event_at,
                                           asked_from, asked_to, requested_by, requested_at)
               VALUES (%s, 's', 'c', 'i', %s, 1, 0, 2, 'x', 0)""",
            (organisation, prefix),
        )


IN_SILENCE = {
    "a hold": "INSERT INTO evidence.holds VALUES (uuidv7(), %s, 'acme', 'k2', 'case', 'rosa', 0)",
    "a lift": """INSERT INTO evidence.hold_lifts
                 SELECT hold_id, clip_id, 'acme', 'x', 'y', 0 FROM evidence.holds
                  WHERE hold_id NOT IN (SELECT hold_id FROM evidence.hold_lifts) AND %s::uuid IS NOT NULL LIMIT 1""",
    "an access": "INSERT INTO evidence.accesses VALUES (uuidv7(), %s, 'acme', 'link', 'rosa', NULL, '{}', 0)",
    "a retention": """INSERT INTO evidence.retention_changes (change_id, organisation_id, days, lock_mode, reason,
                                                              changed_by, changed_at)
                      SELECT uuidv7(), 'acme', 1, 'NONE', 'x', 'y', 0 WHERE %s::uuid IS NOT NULL""",
    "a failure": """UPDATE evidence.clips SET state = 'FAILED', failure_reason = 'x', failure_message = 'y',
                           ended_at = 0, leased_until = NULL WHERE incident_id = 'open' AND %s::uuid IS NOT NULL""",
}


@pytest.mark.parametrize("attacker", ["owner", "superuser"])
@pytest.mark.parametrize("what", IN_SILENCE)
def test_nothing_happens_in_silence(attack: Attack, attacker: str, what: str, clips: dict[str, Clip]) -> None:
    connection = attack(attacker)
    connection.execute(IN_SILENCE[what].encode(), (clips["preserved"].clip_id,))
    with pytest.raises(errors.IntegrityConstraintViolation, match="is refused: no note"):
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_the_callers_role_sees_the_organisation_it_names_and_no_other(module_database: Database, clips: object) -> None:
    with psycopg.connect(module_database.evidence_dsn) as connection:
        for table in ("clips", "artefacts", "holds", "accesses", "notes"):
            query = f"SELECT DISTINCT organisation_id FROM evidence.{table}".encode()
            assert connection.execute(query).fetchall() == []
            connection.execute("SET LOCAL indelible.organisation = 'acme'")
            assert connection.execute(query).fetchall() == [("acme",)]
            connection.rollback()
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM evidence.turns")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE evidence.clips DISABLE TRIGGER guard_clip",
        "DROP TRIGGER refuse_change ON evidence.holds",
        "CREATE TABLE evidence.rogue (a int)",
        "ALTER TABLE evidence.clips NO FORCE ROW LEVEL SECURITY",
        "SET ROLE indelible_owner",
        "SET session_replication_role = replica",
        "INSERT INTO indelible.organisations (organisation_id, name) VALUES ('x', 'x')",
        "SELECT * FROM indelible.events",
    ],
)
def test_the_services_roles_cannot_touch_guards_or_the_ledger(attack: Attack, role: str, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        attack(role).execute(statement.encode())


@pytest.mark.parametrize("statement", ["SELECT * FROM evidence.clips", "SELECT * FROM evidence.notes"])
def test_the_ledgers_roles_see_nothing_of_clips(module_database: Database, statement: str) -> None:
    for dsn in (module_database.runtime_dsn, module_database.append_dsn, module_database.worker_dsn):
        with psycopg.connect(dsn) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement.encode())
