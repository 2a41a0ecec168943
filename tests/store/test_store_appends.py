import asyncio
import json
from collections.abc import AsyncIterator

import psycopg
import pytest

from ledger.chain.receipt import ReceiptSigner, ReceiptVerifier
from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore, append, connections
from ledger.store.values import NewEvent, Receipt
from sandbox.database import Database
from tests.store.conftest import Clock, open_store, register

EVENT = NewEvent(kind="door.opened", payload=b'{"door":"north"}')
OTHER = NewEvent(kind="door.opened", payload=b'{"door":"south"}')
SEALED = NewEvent(kind="visitor.named", payload=b'{"name":"Ann","door":"north"}', sealed_members=("name",))


@pytest.fixture
async def visit(store: LedgerStore) -> str:
    await store.open_chain("acme", "visit", b"{}")
    return "visit"


async def refused(work: object) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        await work  # type: ignore[misc]  # any of the store's calls
    return caught.value


async def payloads(store: LedgerStore, chain_id: str) -> list[str]:
    events = await store.list_events("acme", chain_id, from_sequence=2, limit=1000)
    return [event.payload for event in events]


async def test_an_append_gets_the_next_places_and_a_receipt_that_proves_it(
    store: LedgerStore, visit: str, signer: ReceiptSigner
) -> None:
    receipt = await store.append_events("acme", visit, [EVENT, OTHER], "one")
    events = await store.list_events("acme", visit, from_sequence=1, limit=10)
    assert (receipt.first_sequence, receipt.last_sequence, receipt.replayed) == (2, 3, False)
    assert receipt.event_hashes == (events[1].hash, events[2].hash)
    assert {event.occurred_at_us for event in events[1:]} == {receipt.occurred_at_us}
    statement = ReceiptVerifier(signer.verifier_key).verify(receipt.signed_note)
    assert (statement.organisation_id, statement.chain_id) == ("acme", visit)
    assert (statement.sequence, statement.hash) == (3, events[2].hash)
    assert (await store.check_chain("acme", visit)).ok


async def test_a_payload_is_stored_in_canonical_form(store: LedgerStore, visit: str) -> None:
    raw = '{ "b": [1.0, "\\u00e9"], "a": {"z": 1e21, "😀": null} }'
    await store.append_events("acme", visit, [NewEvent(kind="a.b", payload=raw.encode())], "one")
    assert await payloads(store, visit) == ['{"a":{"z":1e+21,"😀":null},"b":[1,"é"]}']
    assert (await store.check_chain("acme", visit)).ok


async def test_a_thousand_events_are_written_as_one(store: LedgerStore, visit: str) -> None:
    events = [NewEvent(kind="a.b", payload=b'{"n":%d}' % number) for number in range(1000)]
    receipts = await asyncio.gather(*(store.append_events("acme", visit, events, f"{n}") for n in range(3)))
    assert sorted(receipt.first_sequence for receipt in receipts) == [2, 1002, 2002]
    check = await store.check_chain("acme", visit)
    assert (check.ok, check.event_count) == (True, 3001)


async def test_writers_in_two_processes_share_a_chain_without_gaps_or_forks(
    store: LedgerStore, other_store: LedgerStore, visit: str
) -> None:
    writers = [store, other_store] * 60
    receipts = await asyncio.gather(
        *(writer.append_events("acme", visit, [EVENT] * (n % 3 + 1), f"{n}") for n, writer in enumerate(writers))
    )
    places = sorted(place for receipt in receipts for place in range(receipt.first_sequence, receipt.last_sequence + 1))
    assert places == list(range(2, 2 + len(places)))
    check = await store.check_chain("acme", visit)
    assert (check.ok, check.event_count) == (True, len(places) + 1)


async def test_groups_that_lock_the_same_chains_do_not_wait_in_a_circle(
    store: LedgerStore, other_store: LedgerStore
) -> None:
    chains = [f"chain-{n}" for n in range(8)]
    for chain_id in chains:
        await store.open_chain("acme", chain_id, b"{}")
    await asyncio.gather(
        *(store.append_events("acme", chain_id, [EVENT], f"a{n}") for n in range(10) for chain_id in chains),
        *(
            other_store.append_events("acme", chain_id, [EVENT], f"b{n}")
            for n in range(10)
            for chain_id in chains[::-1]
        ),
    )
    for chain_id in chains:
        check = await store.check_chain("acme", chain_id)
        assert (check.ok, check.event_count) == (True, 21)


async def test_a_repeated_append_gets_the_first_receipt_again(
    store: LedgerStore, other_store: LedgerStore, visit: str
) -> None:
    first = await store.append_events("acme", visit, [EVENT, OTHER], "one")
    await store.append_events("acme", visit, [EVENT], "two")
    for again in (
        await store.append_events("acme", visit, [EVENT, OTHER], "one"),
        await other_store.append_events("acme", visit, [EVENT, OTHER], "one", expected_sequence=2),
    ):
        assert again.replayed
        assert again.signed_note == first.signed_note
        assert again.event_hashes == first.event_hashes
        assert (again.first_sequence, again.occurred_at_us) == (first.first_sequence, first.occurred_at_us)
    assert len(await payloads(store, visit)) == 3


async def test_a_repeated_append_is_answered_even_after_the_chain_was_closed(store: LedgerStore, visit: str) -> None:
    first = await store.append_events("acme", visit, [EVENT], "one")
    await store.close_chain("acme", visit)
    assert (await store.append_events("acme", visit, [EVENT], "one")).signed_note == first.signed_note


async def test_the_same_append_many_times_at_once_is_stored_once(
    store: LedgerStore, other_store: LedgerStore, visit: str
) -> None:
    receipts = await asyncio.gather(
        *(writer.append_events("acme", visit, [EVENT, OTHER], "one") for writer in [store, other_store] * 10)
    )
    assert sum(not receipt.replayed for receipt in receipts) == 1
    assert len({receipt.signed_note for receipt in receipts}) == 1
    assert len(await payloads(store, visit)) == 2


@pytest.mark.parametrize(
    "events",
    [
        [OTHER],
        [EVENT, EVENT],
        [NewEvent(kind="door.closed", payload=EVENT.payload)],
        [NewEvent(kind=EVENT.kind, payload=EVENT.payload, sealed_members=("door",))],
    ],
)
async def test_a_key_used_for_other_events_is_refused(store: LedgerStore, visit: str, events: list[NewEvent]) -> None:
    await store.append_events("acme", visit, [EVENT], "one")
    error = await refused(store.append_events("acme", visit, events, "one"))
    assert error.reason == Reason.IDEMPOTENCY_CONFLICT
    assert len(await payloads(store, visit)) == 1


async def test_a_part_of_an_earlier_append_is_not_the_same_append(store: LedgerStore, visit: str) -> None:
    await store.append_events("acme", visit, [EVENT, OTHER], "one")
    error = await refused(store.append_events("acme", visit, [EVENT], "one"))
    assert error.reason == Reason.IDEMPOTENCY_CONFLICT


async def test_keys_belong_to_their_chain(store: LedgerStore, visit: str) -> None:
    await store.open_chain("acme", "other", b"{}")
    await store.append_events("acme", visit, [EVENT], "one")
    assert not (await store.append_events("acme", "other", [OTHER], "one")).replayed


@pytest.mark.parametrize("key", ["'", "\\", "\\'; DROP TABLE x; --", '"{},', "NULL", " ", "~" * 128, "E'\\n"])
async def test_any_printable_key_is_kept_as_it_is(store: LedgerStore, visit: str, key: str) -> None:
    assert not (await store.append_events("acme", visit, [EVENT], key)).replayed
    assert (await store.append_events("acme", visit, [EVENT], key)).replayed
    assert not (await store.append_events("acme", visit, [OTHER], "x")).replayed


async def test_sealed_members_are_hashed_as_digests_and_kept_beside_the_chain(store: LedgerStore, visit: str) -> None:
    receipt = await store.append_events("acme", visit, [EVENT, SEALED], "one")
    sealed = json.loads((await payloads(store, visit))[1])
    assert sealed["door"] == "north"
    assert len(sealed["_sd"]) == 1
    assert "name" not in sealed
    assert [sequence for sequence, _ in await store.list_disclosures("acme", visit)] == [receipt.first_sequence + 1]
    assert (await store.check_chain("acme", visit)).ok


async def test_a_repeated_append_with_sealed_members_is_recognised_by_what_they_say(
    store: LedgerStore, visit: str
) -> None:
    first = await store.append_events("acme", visit, [SEALED], "one")
    again = await store.append_events("acme", visit, [SEALED], "one")
    assert (again.replayed, again.event_hashes) == (True, first.event_hashes)
    changed = NewEvent(kind=SEALED.kind, payload=b'{"name":"Bob","door":"north"}', sealed_members=("name",))
    assert (await refused(store.append_events("acme", visit, [changed], "one"))).reason == Reason.IDEMPOTENCY_CONFLICT
    assert len(await store.list_disclosures("acme", visit)) == 1


async def test_a_repeated_append_is_recognised_after_its_disclosure_was_erased(
    store: LedgerStore, visit: str, database: Database
) -> None:
    first = await store.append_events("acme", visit, [SEALED], "one")
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("DELETE FROM indelible.disclosures")
    assert (await store.append_events("acme", visit, [SEALED], "one")).event_hashes == first.event_hashes
    changed = NewEvent(kind=SEALED.kind, payload=b'{"name":"Ann","door":"south"}', sealed_members=("name",))
    assert (await refused(store.append_events("acme", visit, [changed], "one"))).reason == Reason.IDEMPOTENCY_CONFLICT


async def test_only_one_of_many_writers_gets_the_sequence_they_all_expect(
    store: LedgerStore, other_store: LedgerStore, visit: str
) -> None:
    outcomes = await asyncio.gather(
        *(
            writer.append_events("acme", visit, [EVENT], f"{n}", expected_sequence=2)
            for n, writer in enumerate([store, other_store] * 5)
        ),
        return_exceptions=True,
    )
    errors = [outcome for outcome in outcomes if isinstance(outcome, LedgerError)]
    assert len(errors) == 9
    assert {error.reason for error in errors} == {Reason.SEQUENCE_MISMATCH}
    assert {error.metadata["actual_sequence"] for error in errors} == {"3"}


async def test_refused_appends_take_nothing_from_the_others_of_their_group(store: LedgerStore, visit: str) -> None:
    await store.open_chain("acme", "closed", b"{}")
    await store.close_chain("acme", "closed")
    await store.append_events("acme", visit, [EVENT], "used")
    outcomes = await asyncio.gather(
        store.append_events("acme", visit, [EVENT], "one"),
        store.append_events("acme", "closed", [EVENT], "two"),
        store.append_events("acme", visit, [EVENT], "three", expected_sequence=77),
        store.append_events("acme", visit, [OTHER], "used"),
        store.append_events("acme", visit, [SEALED], "four"),
        return_exceptions=True,
    )
    assert [outcome.reason if isinstance(outcome, LedgerError) else "" for outcome in outcomes] == [
        "",
        Reason.CHAIN_CLOSED,
        Reason.SEQUENCE_MISMATCH,
        Reason.IDEMPOTENCY_CONFLICT,
        "",
    ]
    assert len(await payloads(store, visit)) == 3
    assert (await store.check_chain("acme", visit)).ok


async def test_an_append_that_the_database_refuses_fails_alone(
    store: LedgerStore, visit: str, database: Database
) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("ALTER TABLE indelible.events ADD CHECK (payload NOT LIKE '%poison%')")
    poison = NewEvent(kind="a.b", payload=b'{"poison":1}')
    outcomes = await asyncio.gather(
        *(store.append_events("acme", visit, [poison if n == 3 else EVENT], f"{n}") for n in range(8)),
        return_exceptions=True,
    )
    assert [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Receipt)] == [3]
    assert getattr(outcomes[3], "reason", None) == Reason.INTERNAL
    check = await store.check_chain("acme", visit)
    assert (check.ok, check.event_count) == (True, 8)


@pytest.fixture
async def impatient_store(
    database: Database, store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LedgerStore]:
    monkeypatch.setitem(connections._SETTINGS, "lock_timeout", "200ms")
    store = await open_store(database)
    yield store
    await store.close()


async def test_a_chain_that_another_process_holds_does_not_hold_up_other_chains(
    impatient_store: LedgerStore, store: LedgerStore, visit: str, database: Database
) -> None:
    other, _ = await store.open_chain("acme", "other", b"{}")
    with psycopg.connect(database.append_dsn) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (other.chain_key,))
        outcomes = await asyncio.gather(
            *(
                impatient_store.append_events("acme", chain_id, [EVENT], f"{n}")
                for n in range(3)
                for chain_id in (visit, "other")
            ),
            return_exceptions=True,
        )
    assert all(isinstance(outcome, Receipt) for outcome in outcomes[0::2])
    assert {getattr(outcome, "reason", None) for outcome in outcomes[1::2]} == {Reason.OVERLOADED}
    assert not (await impatient_store.append_events("acme", "other", [EVENT], "0")).replayed


async def test_a_cancelled_caller_does_not_disturb_its_group(store: LedgerStore, visit: str) -> None:
    tasks = [asyncio.create_task(store.append_events("acme", visit, [EVENT], f"{n}")) for n in range(20)]
    for turns in range(10):
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[turns].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, Receipt) for outcome in outcomes[10:])
    # Whatever became of a cancelled append, repeating it gives one event in the end.
    for n in range(20):
        await store.append_events("acme", visit, [EVENT], f"{n}")
    check = await store.check_chain("acme", visit)
    assert (check.ok, check.event_count) == (True, 21)


async def test_a_full_queue_is_said_at_once(store: LedgerStore, visit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "MAX_WAITING_APPENDS", 5)
    outcomes = await asyncio.gather(
        *(store.append_events("acme", visit, [EVENT], f"{n}") for n in range(20)), return_exceptions=True
    )
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert 5 <= len(accepted) < 20
    assert {getattr(o, "reason", Reason.OVERLOADED) for o in outcomes} == {Reason.OVERLOADED}
    assert (await store.get_chain("acme", visit)).event_count == len(accepted) + 1


async def test_closing_the_store_finishes_what_was_accepted(database: Database, store: LedgerStore, visit: str) -> None:
    leaving = await open_store(database)
    await leaving.append_events("acme", visit, [EVENT], "first")
    tasks = [asyncio.create_task(leaving.append_events("acme", visit, [EVENT], f"{n}")) for n in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await leaving.close()
    assert all(isinstance(receipt, Receipt) for receipt in await asyncio.gather(*tasks))
    assert (await store.get_chain("acme", visit)).event_count == 52


async def test_time_never_goes_back_along_a_chain(store_with_clock: tuple[LedgerStore, Clock]) -> None:
    store, clock = store_with_clock
    await store.open_chain("acme", "visit", b"{}")
    first = await store.append_events("acme", "visit", [EVENT], "one")
    assert first.occurred_at_us == clock.now
    clock.now -= 900_000
    assert (await store.append_events("acme", "visit", [EVENT], "two")).occurred_at_us == first.occurred_at_us
    clock.now -= 200_000
    for work in (
        store.append_events("acme", "visit", [EVENT], "three"),
        store.checkpoint_chain("acme", "visit"),
        store.close_chain("acme", "visit"),
    ):
        assert (await refused(work)).reason == Reason.CLOCK_WENT_BACK
    clock.now += 5_000_000
    assert (await store.append_events("acme", "visit", [EVENT], "three")).occurred_at_us == clock.now
    assert (await store.check_chain("acme", "visit")).ok


async def test_every_event_is_queued_for_publication_once(store: LedgerStore, visit: str) -> None:
    await asyncio.gather(*(store.append_events("acme", visit, [EVENT] * 3, f"{n}") for n in range(7)))
    await store.close_chain("acme", visit)
    entries = [entry for entry in await store.read_outbox(100) if entry.chain_id == visit]
    published = [n for entry in entries for n in range(entry.first_sequence, entry.last_sequence + 1)]
    assert published == list(range(1, 24))


async def test_callers_may_append_to_the_operations_chain_what_is_theirs(store: LedgerStore) -> None:
    receipt = await store.append_events("acme", "operations", [NewEvent(kind="hold.placed", payload=b"{}")], "one")
    assert receipt.first_sequence == 2
    assert (await store.check_chain("acme", "operations")).ok


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
