import asyncio

import psycopg
import pytest

from ledger.errors import Reason
from ledger.store import LedgerStore
from ledger.store.values import NewEvent
from sandbox.database import Database
from tests.store.appends.events import EVENT, refused
from tests.store.conftest import open_store, register


@pytest.mark.parametrize(
    ("chain_id", "events", "key", "expected", "reason", "field"),
    [
        ("visit", [], "k", None, Reason.INVALID_ARGUMENT, "events"),
        ("visit", [EVENT] * 1001, "k", None, Reason.INVALID_ARGUMENT, "events"),
        ("visit", [EVENT], "", None, Reason.INVALID_ARGUMENT, "idempotency_key"),
        ("visit", [EVENT], "x" * 129, None, Reason.INVALID_ARGUMENT, "idempotency_key"),
        ("visit", [EVENT], "a\nb", None, Reason.INVALID_ARGUMENT, "idempotency_key"),
        ("visit", [EVENT], "é", None, Reason.INVALID_ARGUMENT, "idempotency_key"),
        ("visit", [EVENT], "k\n", None, Reason.INVALID_ARGUMENT, "idempotency_key"),
        ("visit", [EVENT], "k", 0, Reason.INVALID_ARGUMENT, "expected_sequence"),
        ("visit", [EVENT], "k", -1, Reason.INVALID_ARGUMENT, "expected_sequence"),
        ("visit", [EVENT], "k", 2**64 - 1, Reason.SEQUENCE_MISMATCH, None),
        ("visit", [EVENT, NewEvent(kind="x", payload=b"{}")], "k", None, Reason.INVALID_ARGUMENT, "events[1].kind"),
        ("visit", [NewEvent(kind="chain.closed", payload=b"{}")], "k", None, Reason.RESERVED_KIND, "events[0].kind"),
        ("visit", [NewEvent(kind="ledger.x", payload=b"{}")], "k", None, Reason.RESERVED_KIND, "events[0].kind"),
        ("visit", [NewEvent(kind="a.b", payload=b"")], "k", None, Reason.INVALID_PAYLOAD, "events[0].payload"),
        (
            "visit",
            [EVENT, NewEvent(kind="a.b", payload=b'{"a":[{"b":1e999}]}')],
            "k",
            None,
            Reason.INVALID_PAYLOAD,
            "events[1].payload/a/0/b",
        ),
        (
            "visit",
            [NewEvent(kind="a.b", payload=b'{"a":1}', sealed_members=("b",))],
            "k",
            None,
            Reason.INVALID_PAYLOAD,
            "events[0].payload",
        ),
        (
            "visit",
            [NewEvent(kind="a.b", payload=b'{"a":"' + b"x" * 300_000 + b'"}', sealed_members=("a",))],
            "k",
            None,
            Reason.INVALID_PAYLOAD,
            "events[0].payload",
        ),
        (
            "visit",
            [NewEvent(kind="a.b", payload=b'{"a":"' + b"x" * 250_000 + b'"}', sealed_members=("a",))] * 16,
            "k",
            None,
            Reason.TOO_LARGE,
            "events",
        ),
        (
            "visit",
            [NewEvent(kind="a.b", payload=b'{"a":1}', sealed_members=("a",) * 33)],
            "k",
            None,
            Reason.INVALID_ARGUMENT,
            "events[0].sealed_members",
        ),
        (
            "visit",
            [NewEvent(kind="a.b", payload=b'{"a":"' + b"x" * 250_000 + b'"}')] * 20,
            "k",
            None,
            Reason.TOO_LARGE,
            "events",
        ),
        ("none", [EVENT], "k", None, Reason.CHAIN_NOT_FOUND, None),
        ("Visit", [EVENT], "k", None, Reason.INVALID_ARGUMENT, "chain_id"),
        ("visit\0", [EVENT], "k", None, Reason.INVALID_ARGUMENT, "chain_id"),
        ("", [EVENT], "k", None, Reason.INVALID_ARGUMENT, "chain_id"),
    ],
)
async def test_an_append_that_breaks_a_rule_is_refused_and_writes_nothing(
    store: LedgerStore,
    visit: str,
    chain_id: str,
    events: list[NewEvent],
    key: str,
    expected: int | None,
    reason: Reason,
    field: str | None,
) -> None:
    error = await refused(store.append_events("acme", chain_id, events, key, expected))
    assert (error.reason, error.metadata.get("field")) == (reason, field)
    assert (await store.get_chain("acme", visit)).event_count == 1


async def test_another_organisation_finds_no_chain_to_append_to(store: LedgerStore, visit: str) -> None:
    error = await refused(store.append_events("zenith", visit, [EVENT], "one"))
    assert error.reason == Reason.CHAIN_NOT_FOUND
    assert (await refused(store.append_events("nobody", "operations", [EVENT], "one"))).reason == (
        Reason.ORGANISATION_UNKNOWN
    )


async def test_a_server_with_other_string_rules_gets_the_same_keys(database: Database) -> None:
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute("ALTER ROLE indelible_append SET backslash_quote = off")
        try:
            await asyncio.to_thread(register, database)
            store = await open_store(database)
            await store.open_chain("acme", "visit", b"{}")
            await store.append_events("acme", "visit", [EVENT], "it's \\")
            assert (await store.append_events("acme", "visit", [EVENT], "it's \\")).replayed
            await store.close()
        finally:
            connection.execute("ALTER ROLE indelible_append RESET backslash_quote")
