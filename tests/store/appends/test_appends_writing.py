import asyncio
import json

from ledger.chain.receipt import ReceiptSigner, ReceiptVerifier
from ledger.errors import Reason
from ledger.store import LedgerStore
from ledger.store.values import NewEvent, Receipt
from sandbox.database import Database
from tests.store.appends.events import EVENT, OTHER, SEALED, payloads, refused
from tests.store.conftest import Clock, open_store


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


async def test_sealed_members_are_hashed_as_digests_and_kept_beside_the_chain(store: LedgerStore, visit: str) -> None:
    receipt = await store.append_events("acme", visit, [EVENT, SEALED], "one")
    sealed = json.loads((await payloads(store, visit))[1])
    assert sealed["door"] == "north"
    assert len(sealed["_sd"]) == 1
    assert "name" not in sealed
    assert [sequence for sequence, _ in await store.list_disclosures("acme", visit)] == [receipt.first_sequence + 1]
    assert (await store.check_chain("acme", visit)).ok


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
