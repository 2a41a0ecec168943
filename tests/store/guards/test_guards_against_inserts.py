"""Events and other rows that do not belong, inserted by everyone who may insert at all."""

import hashlib
import json
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.store.guards.rogue import COLUMNS, checkpoint, following, insert, next_event, rehashed


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


def test_the_key_against_forks_stands_by_itself(superuser: psycopg.Connection) -> None:
    superuser.execute("ALTER TABLE indelible.events DISABLE TRIGGER guard_events")
    event = next_event(superuser)
    insert(superuser, event)
    beside = rehashed(event | {"sequence": event["sequence"] + 1, "payload": '{"fork":true}'})
    with pytest.raises(errors.UniqueViolation, match="events_chain_key_prev_hash_key"):
        insert(superuser, beside)


def test_an_idempotency_key_is_used_once_in_a_chain(writer: psycopg.Connection) -> None:
    event = next_event(writer)
    columns = f"{COLUMNS}, idempotency_key, append_count"
    values = [*(event[column] for column in COLUMNS.split(", ")), "one", 1]
    with pytest.raises(errors.UniqueViolation, match="events_chain_key_idempotency_key_key"):
        writer.execute(f"INSERT INTO indelible.events ({columns}) VALUES ({', '.join(['%s'] * 10)})", values)


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


@pytest.mark.parametrize(
    "table",
    [
        "chains",
        "item_steps",
        "session_ends",
        "disclosures",
        "anchor_jobs",
        "anchors",
        "anchor_evidence",
        "verify_links",
        "verify_link_revocations",
    ],
)
def test_rows_of_other_tables_go_to_the_organisation_of_the_transaction_only(
    writer: psycopg.Connection, table: str
) -> None:
    # The trigger speaks before the columns that are missing here are missed.
    with pytest.raises(errors.IntegrityConstraintViolation, match="its organisation is not the one"):
        writer.execute(f"INSERT INTO indelible.{table} (organisation_id) VALUES ('zenith')")


@pytest.mark.parametrize("name", ["", "Upper", "dotted.name", "-dash", "dash-", "a b", "x" * 65, "x\n"])
def test_no_identifier_of_another_form_gets_into_the_tables(superuser: psycopg.Connection, name: str) -> None:
    with pytest.raises(errors.CheckViolation), superuser.transaction():
        superuser.execute("INSERT INTO indelible.organisations (organisation_id, name) VALUES (%s, 'Rogue')", (name,))
    with pytest.raises(errors.CheckViolation):
        superuser.execute(
            """INSERT INTO indelible.chains (organisation_id, chain_id, type, subject, opened_at)
               VALUES ('acme', %s, 'session', '{}', now())""",
            (name,),
        )


def test_temporary_objects_do_not_shadow_what_the_guard_calls(append_role: psycopg.Connection) -> None:
    append_role.execute("CREATE TEMP TABLE events (LIKE indelible.events); CREATE TEMP TABLE chains (a int)")
    append_role.execute(
        "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$SELECT decode(repeat('00', 32), 'hex')$$"
    )
    append_role.execute("SET search_path = pg_temp, pg_catalog")
    with pytest.raises(errors.IntegrityConstraintViolation, match="hash is not that of its content"):
        insert(append_role, next_event(append_role, hash=bytes(32)))
