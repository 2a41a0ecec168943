"""The database attacked directly, as each of the ledger's roles, as the tables' owner and as a superuser."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import errors

from ledger.chain.event import event_hash
from ledger.database.guards import GuardsMissingError
from ledger.store.guards import LEDGER_GUARDS
from ledger.store.values import NewEvent
from sandbox.database import Database
from tests.store.conftest import open_store, register

RECORD = ("organisations", "chains", "events", "anchors", "anchor_evidence", "verify_links", "verify_link_revocations")
COLUMNS = "chain_key, sequence, occurred_at, prev_hash, hash, organisation_id, kind, payload"


@pytest.fixture(scope="module")
def attacked(module_database: Database) -> Database:
    """A database with an open and a closed chain of acme's, and one of zenith's."""

    async def fill() -> None:
        store = await open_store(module_database)
        for organisation, chain in (("acme", "visit"), ("acme", "closed"), ("zenith", "visit")):
            await store.open_chain(organisation, chain, b"{}")
            await store.append_events(organisation, chain, [NewEvent(kind="door.opened", payload=b"{}")] * 3, "one")
        await store.close_chain("acme", "closed")
        await store.close()

    register(module_database)
    asyncio.run(fill())
    return module_database


# How each attacker connects, and what it sets. Ordinary triggers do not fire for a superuser who plays a replica.
ATTACKERS = {
    "runtime_role": ("runtime_dsn", ""),
    "append_role": ("append_dsn", ""),
    "worker_role": ("worker_dsn", ""),
    "owner": ("admin_dsn", "SET ROLE indelible_owner"),
    "superuser": ("admin_dsn", "SET session_replication_role = replica"),
}
ROLES = ("runtime_role", "append_role", "worker_role")


@pytest.fixture(scope="module")
def sessions(attacked: Database) -> Iterator[dict[str, psycopg.Connection]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(psycopg.connect(getattr(attacked, dsn))) for name, (dsn, _) in ATTACKERS.items()
        }


@pytest.fixture
def attack(sessions: dict[str, psycopg.Connection]) -> Iterator[Callable[[str], psycopg.Connection]]:
    """The connection of an attacker, in a transaction that is rolled back after the test."""
    with ExitStack() as stack:

        def begin(attacker: str) -> psycopg.Connection:
            connection = sessions[attacker]
            stack.callback(connection.rollback)
            connection.execute(b"SET LOCAL indelible.organisation = 'acme';" + prelude(attacker))
            return connection

        yield begin


def prelude(attacker: str) -> bytes:
    return ATTACKERS[attacker][1].replace("SET ", "SET LOCAL ").encode()


@pytest.fixture
def append_role(attack: Callable[[str], psycopg.Connection]) -> psycopg.Connection:
    return attack("append_role")


@pytest.fixture
def owner(attack: Callable[[str], psycopg.Connection]) -> psycopg.Connection:
    return attack("owner")


@pytest.fixture
def superuser(attack: Callable[[str], psycopg.Connection]) -> psycopg.Connection:
    return attack("superuser")


@pytest.fixture(params=["append_role", "owner", "superuser"])
def writer(request: pytest.FixtureRequest, attack: Callable[[str], psycopg.Connection]) -> psycopg.Connection:
    """Whoever may INSERT at all."""
    return attack(request.param)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", RECORD)
@pytest.mark.parametrize("command", ["UPDATE {} SET organisation_id = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
def test_no_role_of_the_ledger_may_change_or_remove_a_row_of_the_record(
    attack: Callable[[str], psycopg.Connection], role: str, table: str, command: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
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
    with pytest.raises(errors.InsufficientPrivilege):
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


def next_event(connection: psycopg.Connection, chain: str = "visit", **changes: Any) -> dict[str, Any]:
    """What would be the chain's next event, with some of it changed and the hash made to fit unless it is given."""
    row = connection.execute(
        """SELECT c.chain_key, e.sequence, e.hash, e.occurred_at
             FROM indelible.chains AS c JOIN indelible.events AS e USING (chain_key)
            WHERE c.chain_id = %s AND c.organisation_id = 'acme' ORDER BY e.sequence DESC LIMIT 1""",
        (chain,),
    ).fetchone()
    assert row is not None
    event = {
        "chain_key": row[0],
        "sequence": row[1] + 1,
        "occurred_at": row[3],
        "prev_hash": row[2],
        "organisation_id": "acme",
        "kind": "door.closed",
        "payload": "{}",
    } | changes
    return rehashed(event) if "hash" not in changes else event


def rehashed(event: dict[str, Any]) -> dict[str, Any]:
    return event | {
        "hash": event_hash(
            sequence=event["sequence"],
            prev_hash=event["prev_hash"],
            kind=event["kind"].encode(),
            payload=event["payload"].encode(),
            occurred_at_us=event["occurred_at"],
        )
    }


def insert(connection: psycopg.Connection, *events: dict[str, Any]) -> None:
    """All rows by one statement."""
    rows = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s)"] * len(events))
    values = [event[column] for event in events for column in COLUMNS.split(", ")]
    connection.execute(f"INSERT INTO indelible.events ({COLUMNS}) VALUES {rows}", values)


def following(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return rehashed(event | {"sequence": event["sequence"] + 1, "prev_hash": event["hash"]} | changes)


def checkpoint(**changes: Any) -> str:
    return json.dumps({"merkle_root": "00" * 32, "tree_size": 4} | changes)


def test_a_rogue_insert_can_extend_a_chain_correctly_and_is_published(writer: psycopg.Connection) -> None:
    event = next_event(writer)
    insert(writer, event, following(event))
    assert writer.execute(
        "SELECT first_sequence, last_sequence FROM indelible.outbox ORDER BY outbox_id DESC LIMIT 1"
    ).fetchone() == (event["sequence"], event["sequence"] + 1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"hash": bytes(32)}, "hash is not that of its content"),
        ({"hash": b""}, "hash is not that of its content"),
        ({"prev_hash": b"\2" * 32}, "prev_hash is not the hash of the event before"),
        ({"prev_hash": hashlib.sha256().digest()}, "prev_hash is not the hash of the event before"),
        ({"sequence": 6}, "no event before it"),
        ({"sequence": 1000}, "no event before it"),
        ({"sequence": 0}, "no event before it"),
        ({"occurred_at": 0}, "older than the event before"),
        ({"occurred_at": 1_600_000_000_000_000}, "older than the event before"),
        ({"occurred_at": 253_402_300_800_000_000}, "not in the years 1 to 9999"),
        ({"occurred_at": -(2**62)}, "not in the years 1 to 9999"),
        ({"organisation_id": "zenith"}, "organisation is not the one"),
        ({"chain_key": 10_000}, "no such chain"),
        ({"kind": "opened"}, "kind is malformed"),
        ({"kind": "Door.opened"}, "kind is malformed"),
        ({"kind": "door." + "x" * 60}, "kind is malformed"),
        ({"payload": "[]"}, "not a JSON object"),
        ({"payload": "rogue"}, "not a JSON object"),
        ({"payload": '{"a":1'}, "not a JSON object"),
        ({"payload": '{"a":"' + "x" * 262_144 + '"}'}, "not a JSON object of at most 256 KiB"),
        ({"kind": "chain.opened"}, "for checkpoints and the closing"),
        ({"kind": "chain.rogue"}, "for checkpoints and the closing"),
        ({"kind": "chain.checkpointed"}, "for checkpoints and the closing"),
        ({"kind": "chain.checkpointed", "payload": checkpoint(tree_size=3)}, "for checkpoints and the closing"),
        ({"kind": "chain.checkpointed", "payload": checkpoint(tree_size="4")}, "for checkpoints and the closing"),
        ({"kind": "chain.checkpointed", "payload": checkpoint(merkle_root="00")}, "for checkpoints and the closing"),
        ({"kind": "chain.closed", "payload": checkpoint(tree_size=5)}, "for checkpoints and the closing"),
    ],
)
def test_an_event_that_does_not_continue_its_chain_is_refused(
    writer: psycopg.Connection, changes: dict[str, Any], problem: str
) -> None:
    # Row-level security may speak before the guard does, for a role that is under it.
    with pytest.raises((errors.IntegrityConstraintViolation, errors.InsufficientPrivilege)) as caught:
        insert(writer, next_event(writer, **changes))
    assert problem in str(caught.value) or "row-level security" in str(caught.value)


def test_nothing_follows_the_closing_event(writer: psycopg.Connection) -> None:
    with pytest.raises(errors.IntegrityConstraintViolation, match="chain is closed"):
        insert(writer, next_event(writer, "closed"))


def test_nothing_follows_a_closing_event_of_the_same_statement(writer: psycopg.Connection) -> None:
    closing = next_event(writer, kind="chain.closed", payload=checkpoint())
    with pytest.raises(errors.IntegrityConstraintViolation, match="chain is closed"):
        insert(writer, closing, following(closing, kind="door.closed", payload="{}"))


def test_the_operations_chain_is_never_closed(writer: psycopg.Connection) -> None:
    size = next_event(writer, "operations")["sequence"] - 1
    with (
        pytest.raises(errors.IntegrityConstraintViolation, match="for checkpoints and the closing"),
        writer.transaction(),
    ):
        insert(writer, next_event(writer, "operations", kind="chain.closed", payload=checkpoint(tree_size=size)))
    insert(writer, next_event(writer, "operations", kind="chain.checkpointed", payload=checkpoint(tree_size=size)))


@pytest.mark.parametrize("fault", ["hash", "prev_hash", "sequence", "occurred_at", "organisation_id"])
def test_a_fault_in_the_middle_of_a_statement_is_found(writer: psycopg.Connection, fault: str) -> None:
    first = next_event(writer)
    wrong = {
        "hash": bytes(32),
        "prev_hash": bytes(32),
        "sequence": first["sequence"] + 5,
        "occurred_at": 0,
        "organisation_id": "zenith",
    }
    second = following(first)
    second = second | {fault: wrong[fault]}
    if fault != "hash":
        second = rehashed(second)
    with pytest.raises((errors.IntegrityConstraintViolation, errors.UniqueViolation, errors.InsufficientPrivilege)):
        insert(writer, first, second, following(second))


def test_the_order_of_rows_in_a_statement_does_not_matter(writer: psycopg.Connection) -> None:
    first = next_event(writer)
    second = following(first)
    third = following(second)
    insert(writer, third, first, second)


def test_events_of_several_chains_may_come_mixed_and_are_checked_each(writer: psycopg.Connection) -> None:
    visit, operations = next_event(writer), next_event(writer, "operations")
    bad = following(operations) | {"hash": bytes(32)}
    insert(writer, visit, operations, following(visit))
    with pytest.raises(errors.IntegrityConstraintViolation, match="hash is not that of its content"):
        insert(writer, bad)


def test_a_chain_cannot_fork(writer: psycopg.Connection) -> None:
    event = next_event(writer)
    insert(writer, event)
    forked = rehashed(event | {"payload": '{"fork":true}'})
    with pytest.raises(errors.UniqueViolation):
        insert(writer, forked)


def test_without_an_organisation_nothing_can_be_inserted(writer: psycopg.Connection) -> None:
    event = next_event(writer)
    writer.execute("RESET indelible.organisation")
    with pytest.raises((errors.IntegrityConstraintViolation, errors.InsufficientPrivilege)):
        insert(writer, event)


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": "other"},
        {"chain_type": "operations"},
        {"format": "indelible-chain/2"},
        {"organisation": {"id": "zenith", "name": "Zenith"}},
        {"subject": {"rogue": True}},
        {"more": 1},
    ],
)
def test_a_chain_opens_with_the_names_it_has_in_the_table_of_chains(
    writer: psycopg.Connection, changes: dict[str, Any]
) -> None:
    names = {
        "chain_id": "rogue",
        "chain_type": "session",
        "format": "indelible-chain/1",
        "organisation": {"id": "acme", "name": "Acme Security"},
        "subject": {},
    }
    row = writer.execute(
        """INSERT INTO indelible.chains (organisation_id, chain_id, type, subject, opened_at)
           VALUES ('acme', 'rogue', 'session', '{}', now()) RETURNING chain_key"""
    ).fetchone()
    assert row is not None
    event = {"chain_key": row[0], "sequence": 1, "occurred_at": 0, "prev_hash": bytes(32), "organisation_id": "acme"}
    right = rehashed(event | {"kind": "chain.opened", "payload": json.dumps(names)})
    with writer.transaction(force_rollback=True):
        insert(writer, right)
    for wrong in (
        right | {"payload": json.dumps(names | changes)},
        right | {"kind": "door.opened"},
        right | {"prev_hash": b"\1" * 32},
    ):
        with (
            pytest.raises(errors.IntegrityConstraintViolation, match="a first event opens its chain"),
            writer.transaction(),
        ):
            insert(writer, rehashed(wrong))


def test_rows_of_other_tables_go_to_the_organisation_of_the_transaction_only(writer: psycopg.Connection) -> None:
    with pytest.raises((errors.IntegrityConstraintViolation, errors.InsufficientPrivilege)):
        writer.execute(
            """INSERT INTO indelible.chains (organisation_id, chain_id, type, subject, opened_at)
               VALUES ('zenith', 'rogue', 'session', '{}', now())"""
        )


def test_temporary_objects_do_not_shadow_what_the_guard_calls(append_role: psycopg.Connection) -> None:
    append_role.execute("CREATE TEMP TABLE events (LIKE indelible.events); CREATE TEMP TABLE chains (a int)")
    append_role.execute(
        "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$SELECT decode(repeat('00', 32), 'hex')$$"
    )
    append_role.execute("SET search_path = pg_temp, pg_catalog")
    with pytest.raises(errors.IntegrityConstraintViolation, match="hash is not that of its content"):
        insert(append_role, next_event(append_role, hash=bytes(32)))


def test_the_runtime_role_sees_the_organisation_it_names_and_no_other(attacked: Database) -> None:
    with psycopg.connect(attacked.runtime_dsn) as connection:
        for table in ("chains", "events", "outbox", "organisations"):
            query = f"SELECT DISTINCT organisation_id FROM indelible.{table}"
            assert connection.execute(query).fetchall() == []
            connection.execute("SET LOCAL indelible.organisation = 'zenith'")
            assert connection.execute(query).fetchall() == [("zenith",)]
            connection.rollback()


# What an owner or superuser could do to the guards, and what the service then says when it starts.
DAMAGE = [
    ("ALTER TABLE indelible.events DISABLE TRIGGER guard_events", "trigger guard_events on table events is disabled"),
    ("ALTER TABLE indelible.events ENABLE TRIGGER guard_events", "guard_events on table events is disabled or not"),
    ("ALTER TABLE indelible.events ENABLE REPLICA TRIGGER refuse_change", "refuse_change on table events is disabled"),
    ("ALTER TABLE indelible.anchors DISABLE TRIGGER ALL", "refuse_change_of_row on table anchors is disabled"),
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

    async def check() -> None:
        async with await psycopg.AsyncConnection.connect(database.admin_dsn) as connection:
            try:
                await connection.execute(damage.encode())
                if role is None:
                    await LEDGER_GUARDS.check(connection)
                else:
                    await connection.execute(f"SET LOCAL ROLE {role}")
                    await LEDGER_GUARDS.check_role(connection, bypasses_row_security=role == "indelible_append")
            finally:
                await connection.rollback()

    asyncio.run(check())


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
