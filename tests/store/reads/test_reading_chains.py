import asyncio
import json
from contextlib import aclosing

import pytest

from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore, follow
from ledger.store.values import NewEvent


def events(count: int, *, first: int = 0, kind: str = "door.opened", size: int = 1) -> list[NewEvent]:
    return [
        NewEvent(kind=kind, payload=json.dumps({"door": number, "pad": "x" * size}).encode())
        for number in range(first, first + count)
    ]


async def test_a_chain_shows_its_newest_event_and_what_it_is_about(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b'{ "site": "north" }')
    receipt = await store.append_events("acme", "gate", events(3), "one")
    chain = await store.get_chain("acme", "gate")
    assert (chain.event_count, chain.head) == (4, receipt.event_hashes[-1])
    assert (chain.state, chain.closed_at, chain.type) == ("open", None, "session")
    assert (chain.organisation_name, chain.subject) == ("Acme Security", '{"site":"north"}')


async def test_a_closed_chain_says_when_it_was_closed(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    closed, receipt = await store.close_chain("acme", "gate")
    chain = await store.get_chain("acme", "gate")
    assert chain == closed
    assert chain.state == "closed"
    assert chain.closed_at is not None
    assert chain.closed_at.timestamp() == pytest.approx(receipt.occurred_at_us / 1_000_000, abs=1e-5)


async def test_a_chain_of_another_organisation_does_not_exist(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    for read in (
        store.get_chain("zenith", "gate"),
        store.list_events("zenith", "gate", from_sequence=1, limit=10),
        store.list_anchors("zenith", "gate", limit=10, after=None),
        store.stored_anchors("zenith", "gate"),
        store.list_disclosures("zenith", "gate"),
        store.check_chain("zenith", "gate"),
    ):
        with pytest.raises(LedgerError) as refused:
            await read
        assert refused.value.reason == Reason.CHAIN_NOT_FOUND
    with pytest.raises(LedgerError) as refused:
        async with aclosing(store.stream_events("zenith", "gate", from_sequence=1, follow=False)) as stream:
            await anext(stream)
    assert refused.value.reason == Reason.CHAIN_NOT_FOUND
    assert await store.list_chains("zenith", limit=10, after=None, state=None) == []


@pytest.mark.parametrize("organisation", ["", "' OR true --", "acme\x1f", "%", "*"])
async def test_no_spelling_of_an_organisation_opens_anothers_chains(store: LedgerStore, organisation: str) -> None:
    await store.open_chain("acme", "gate", b"{}")
    assert await store.list_chains(organisation, limit=10, after=None, state=None) == []


async def test_chains_are_listed_page_by_page_without_gap_or_repetition(store: LedgerStore) -> None:
    names = [f"c{number}" for number in (10, 9, 2, 1)] + ["a-b", "a0", "ab"]
    for name in names:
        await store.open_chain("acme", name, b"{}")
    listed: list[str] = []
    after: str | None = None
    while page := await store.list_chains("acme", limit=3, after=after, state=None):
        assert len(page) <= 3
        listed += [chain.chain_id for chain in page]
        after = listed[-1]
    assert listed == sorted([*names, "operations"])


async def test_chains_are_listed_by_state(store: LedgerStore) -> None:
    for name in ("one", "two", "three"):
        await store.open_chain("acme", name, b"{}")
    await store.close_chain("acme", "two")
    closed = await store.list_chains("acme", limit=10, after=None, state="closed")
    still_open = await store.list_chains("acme", limit=10, after=None, state="open")
    assert [chain.chain_id for chain in closed] == ["two"]
    assert [chain.chain_id for chain in still_open] == ["one", "operations", "three"]


async def test_events_are_read_from_a_sequence_on_and_by_kind(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    await store.append_events("acme", "gate", [*events(2), *events(2, kind="door.shut"), *events(2)], "one")
    page = await store.list_events("acme", "gate", from_sequence=3, limit=2)
    assert [event.sequence for event in page] == [3, 4]
    shut = await store.list_events("acme", "gate", from_sequence=1, limit=10, kinds=["door.shut", "x.y"])
    assert [(event.sequence, event.kind) for event in shut] == [(4, "door.shut"), (5, "door.shut")]
    assert await store.list_events("acme", "gate", from_sequence=8, limit=10) == []


@pytest.mark.parametrize("chain_id", ["", "\x00", "gate\x00", "Gate", "gäte", "\ud800", "x" * 100_000, "../gate"])
async def test_an_id_that_no_chain_can_have_is_an_unknown_chain(store: LedgerStore, chain_id: str) -> None:
    with pytest.raises(LedgerError) as refused:
        await store.get_chain("acme", chain_id)
    assert refused.value.reason == Reason.CHAIN_NOT_FOUND


async def test_a_kind_that_no_event_can_have_matches_none(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    for kind in ("", "\x00", "chain", "Chain.opened", "chain.opened\n", "\ud800"):
        assert await store.list_events("acme", "gate", from_sequence=1, limit=10, kinds=[kind]) == []
    found = await store.list_events("acme", "gate", from_sequence=1, limit=10, kinds=["\x00", "chain.opened"])
    assert len(found) == 1


async def test_a_sequence_beyond_every_event_finds_none(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    for beyond in (2, 2**48, 2**63, 2**64 - 1):
        assert await store.list_events("acme", "gate", from_sequence=beyond, limit=10) == []
        batches = [batch async for batch in store.stream_events("acme", "gate", from_sequence=beyond, follow=False)]
        assert batches == []


async def test_a_stream_gives_every_event_once_in_batches_of_bounded_size(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    for number in range(6):
        await store.append_events("acme", "gate", events(10, size=100_000), f"key {number}")
    sequences: list[int] = []
    async for batch in store.stream_events("acme", "gate", from_sequence=1, follow=False):
        assert sum(len(event.payload) for event in batch) < 1_048_576 + 110_000
        sequences += [event.sequence for event in batch]
    assert sequences == list(range(1, 62))


async def test_a_stream_that_does_not_follow_ends_where_the_chain_stood(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    await store.append_events("acme", "gate", events(3, size=600_000 // 3), "one")
    sequences: list[int] = []
    async for batch in store.stream_events("acme", "gate", from_sequence=1, follow=False):
        sequences += [event.sequence for event in batch]
        await store.append_events("acme", "gate", events(1), f"meanwhile {len(sequences)}")
    assert sequences == [1, 2, 3, 4]


async def test_a_follower_sees_a_commit_of_the_same_process_at_once(
    store: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever waits for the next look waits for ever.
    monkeypatch.setattr(follow.stream_events, "__kwdefaults__", {"poll_seconds": 3600.0})
    await store.open_chain("acme", "gate", b"{}")
    async with aclosing(store.stream_events("acme", "gate", from_sequence=2, follow=True)) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        # Let the follower find nothing and go to sleep; it then wakes for the commit, not by polling.
        await asyncio.sleep(0.15)
        receipt = await store.append_events("acme", "gate", events(1), "one")
        batch = await asyncio.wait_for(waiting, 60)
        assert [event.hash for event in batch] == list(receipt.event_hashes)


async def test_a_follower_sees_the_commits_of_another_process(store: LedgerStore, other_store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    async with aclosing(store.stream_events("acme", "gate", from_sequence=2, follow=True)) as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        receipt = await other_store.append_events("acme", "gate", events(2), "one")
        batch = await asyncio.wait_for(waiting, 60)
        assert [event.hash for event in batch] == list(receipt.event_hashes)


async def test_following_ends_with_the_event_that_closes_the_chain(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")

    async def follow() -> list[str]:
        return [
            event.kind
            async for batch in store.stream_events("acme", "gate", from_sequence=1, follow=True)
            for event in batch
        ]

    following = asyncio.create_task(follow())
    await store.append_events("acme", "gate", events(1), "one")
    await store.close_chain("acme", "gate")
    assert await asyncio.wait_for(following, 60) == ["chain.opened", "door.opened", "chain.closed"]


async def test_many_followers_hold_no_connection_while_they_wait(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")

    async def first_batch() -> int:
        async with aclosing(store.stream_events("acme", "gate", from_sequence=2, follow=True)) as stream:
            return len(await anext(stream))

    followers = [asyncio.create_task(first_batch()) for _ in range(60)]
    await asyncio.sleep(0.2)
    assert (await asyncio.wait_for(store.get_chain("acme", "gate"), 60)).event_count == 1
    await store.append_events("acme", "gate", events(1), "one")
    assert await asyncio.wait_for(asyncio.gather(*followers), 60) == [1] * 60


async def test_disclosures_of_sealed_members_are_listed_with_their_event(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    sealed = NewEvent(kind="person.seen", payload=b'{"name":"Ann","door":1}', sealed_members=("name",))
    await store.append_events("acme", "gate", [*events(1), sealed], "one")
    disclosures = await store.list_disclosures("acme", "gate")
    assert [sequence for sequence, _ in disclosures] == [3]
    stored = await store.list_events("acme", "gate", from_sequence=3, limit=1)
    assert "Ann" not in stored[0].payload
