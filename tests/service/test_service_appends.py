from ledger.client import LedgerClient


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
