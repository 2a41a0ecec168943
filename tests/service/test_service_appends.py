import asyncio
import json
import random

import pytest

from ledger.chain.receipt import ReceiptVerifier
from ledger.client import ClientError, LedgerClient, NewEvent
from tests.service.serving import Service


def door(number: int) -> NewEvent:
    return NewEvent(kind="door.opened", payload={"number": number})


async def numbers(client: LedgerClient, chain_id: str) -> list[int]:
    return [event.content["number"] async for event in client.list_events(chain_id, kinds=["door.opened"])]


async def test_a_session_is_opened_filled_and_closed(client: LedgerClient) -> None:
    chain, opened = await client.open_chain("first-session", {"case": "7"})
    assert (chain.state, chain.event_count, opened.first_sequence) == ("open", 1, 1)
    receipt = await client.append_event("first-session", "door.opened", {"door": 1})
    assert (receipt.first_sequence, receipt.last_sequence, receipt.replayed) == (2, 2, False)
    closed, sealed = await client.close_chain("first-session", {"reason": "done"})
    assert (closed.state, closed.event_count, closed.head) == ("closed", 3, sealed.event_hashes[0])
    events = [event async for event in client.list_events("first-session")]
    assert [event.kind for event in events] == ["chain.opened", "door.opened", "chain.closed"]
    assert [event.hash for event in events] == [*opened.event_hashes, *receipt.event_hashes, *sealed.event_hashes]
    assert json.loads(events[2].payload)["closing"] == {"reason": "done"}


async def test_a_receipt_is_signed_over_the_newest_event_of_its_append(service: Service, client: LedgerClient) -> None:
    await client.open_chain("signed")
    receipt = await client.append_events("signed", [door(1), door(2)])
    stated = ReceiptVerifier(service.receipt_key).verify(receipt.signed_note)
    assert (stated.organisation_id, stated.chain_id, stated.sequence) == ("acme", "signed", 3)
    assert stated.hash == receipt.event_hashes[1]


async def test_the_same_key_with_the_same_events_gets_the_first_answer(client: LedgerClient) -> None:
    await client.open_chain("repeated")
    first = await client.append_events("repeated", [door(1)], idempotency_key="once")
    again = await client.append_events("repeated", [door(1)], idempotency_key="once")
    assert again.replayed
    assert (again.event_hashes, again.signed_note) == (first.event_hashes, first.signed_note)
    assert (await client.get_chain("repeated")).event_count == 2


async def test_the_same_key_with_other_events_is_refused(client: LedgerClient) -> None:
    await client.open_chain("conflicting")
    await client.append_events("conflicting", [door(1)], idempotency_key="once")
    with pytest.raises(ClientError) as caught:
        await client.append_events("conflicting", [door(2)], idempotency_key="once")
    assert caught.value.reason == "IDEMPOTENCY_CONFLICT"


async def test_an_unexpected_sequence_is_refused_with_the_actual_one(client: LedgerClient) -> None:
    await client.open_chain("expected")
    await client.append_events("expected", [door(1)], expected_sequence=2)
    with pytest.raises(ClientError) as caught:
        await client.append_events("expected", [door(2)], expected_sequence=2)
    assert caught.value.reason == "SEQUENCE_MISMATCH"
    assert caught.value.metadata["actual_sequence"] == "3"


async def test_a_thousand_events_are_one_append(client: LedgerClient) -> None:
    await client.open_chain("thousand")
    receipt = await client.append_events("thousand", [door(number) for number in range(1000)])
    assert (receipt.first_sequence, receipt.last_sequence) == (2, 1001)
    assert (await client.check_chain("thousand")).ok


async def test_sealed_members_are_not_on_the_chain_but_in_the_disclosures(client: LedgerClient) -> None:
    await client.open_chain("private")
    await client.append_events(
        "private", [NewEvent(kind="person.named", payload={"name": "Erika", "room": 7}, sealed_members=("name",))]
    )
    [event] = [event async for event in client.list_events("private", kinds=["person.named"])]
    assert b"Erika" not in event.payload
    assert event.content["room"] == 7


async def test_concurrent_callers_of_one_chain_all_get_places_of_their_own(client: LedgerClient) -> None:
    await client.open_chain("crowded")
    receipts = await asyncio.gather(*(client.append_events("crowded", [door(number)]) for number in range(200)))
    assert sorted(receipt.first_sequence for receipt in receipts) == list(range(2, 202))
    assert (await client.check_chain("crowded")).ok


async def test_a_stream_applies_appends_in_the_order_they_were_sent(client: LedgerClient) -> None:
    """Whatever some of them cost: large ones, ones that are not canonical, ones of a chain that is not yet known."""
    await client.open_chain("ordered")
    padding = "x" * 100_000
    async with client.append_stream() as stream:
        promises = []
        for number in range(150):
            odd = b'{"padding" : "%s", "number" : %d}' % (padding.encode(), number)
            event = NewEvent(kind="door.opened", payload=odd) if number % 5 == 0 else door(number)
            promises.append(await stream.send("ordered", [event]))
        receipts = await asyncio.gather(*promises)
    assert [receipt.first_sequence for receipt in receipts] == list(range(2, 152))
    assert await numbers(client, "ordered") == list(range(150))


async def test_a_refused_append_does_not_end_the_stream(client: LedgerClient) -> None:
    await client.open_chain("bumpy")
    outcomes = []
    async with client.append_stream() as stream:
        promises = []
        for number in range(60):
            payload = b'{"number":1,"number":2}' if number % 3 == 1 else b'{"number":%d}' % number
            chain_id = "absent" if number % 3 == 2 else "bumpy"
            promises.append(await stream.send(chain_id, [NewEvent(kind="door.opened", payload=payload)]))
        for promise in promises:
            try:
                outcomes.append((await promise).chain_id)
            except ClientError as error:
                outcomes.append(error.reason)
    assert outcomes == ["bumpy", "INVALID_PAYLOAD", "CHAIN_NOT_FOUND"] * 20
    assert await numbers(client, "bumpy") == list(range(0, 60, 3))


async def test_a_stream_carries_more_than_may_be_in_flight(client: LedgerClient) -> None:
    await client.open_chain("long")
    async with client.append_stream() as stream:
        promises = [await stream.send("long", [door(number)] * 3) for number in range(300)]
    receipts = await asyncio.gather(*promises)
    assert receipts[-1].last_sequence == 901
    assert (await client.check_chain("long")).event_count == 901


async def test_a_follower_gets_every_event_once_until_the_chain_closes(client: LedgerClient) -> None:
    await client.open_chain("followed")
    await client.append_events("followed", [door(number) for number in range(50)])

    async def follow() -> list[int]:
        return [event.sequence async for event in client.stream_events("followed", follow=True)]

    followers = [asyncio.create_task(follow()) for _ in range(3)]
    for _ in range(20):
        await client.append_events("followed", [door(1)] * random.randint(1, 5))
        await asyncio.sleep(0.01)
    closed, _ = await client.close_chain("followed")
    for follower in followers:
        assert await asyncio.wait_for(follower, 60) == list(range(1, closed.event_count + 1))


async def test_a_stream_of_events_starts_where_it_is_told(client: LedgerClient) -> None:
    await client.open_chain("partly")
    await client.append_events("partly", [door(number) for number in range(10)])
    assert [event.sequence async for event in client.stream_events("partly", from_sequence=9)] == [9, 10, 11]
    assert [event.sequence async for event in client.stream_events("partly", from_sequence=99)] == []


async def test_a_client_that_goes_away_leaves_the_service_as_it_was(service: Service, client: LedgerClient) -> None:
    await client.open_chain("abandoned")
    async with service.client() as leaving:
        followers = [
            asyncio.create_task(anext(leaving.stream_events("abandoned", from_sequence=2, follow=True)))
            for _ in range(20)
        ]
        appends = [asyncio.create_task(leaving.append_events("abandoned", [door(1)])) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in (*followers, *appends):
            task.cancel()
    assert (await client.check_chain("abandoned")).ok
    assert service.is_healthy()


async def test_the_operations_chain_tells_of_openings_closings_and_links(client: LedgerClient) -> None:
    await client.open_chain("noted")
    await client.close_chain("noted")
    link = await client.create_verify_link("noted")
    await client.revoke_verify_link(link.link_id)
    told = [
        (event.kind, event.content["chain_id"])
        async for event in client.list_events("operations")
        if event.content.get("chain_id") == "noted"
    ]
    assert told == [
        ("ledger.chain_opened", "noted"),
        ("ledger.chain_closed", "noted"),
        ("ledger.verify_link_created", "noted"),
        ("ledger.verify_link_revoked", "noted"),
    ]
