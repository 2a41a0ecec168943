import asyncio

import psycopg
import pytest

from ledger.errors import Reason
from ledger.store import LedgerStore
from ledger.store.values import NewEvent
from sandbox.database import Database
from tests.store.appends.events import EVENT, OTHER, SEALED, payloads, refused


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
