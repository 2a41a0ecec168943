import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore
from ledger.store.values import NewEvent
from ledger.verify_links import LinkKeys, make_token, open_link


async def test_a_verify_link_pins_the_head_of_its_moment_and_is_noted(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    head = (await store.get_chain("acme", "gate")).head
    expires_at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    link = await store.create_verify_link("acme", "gate", expires_at, "ann@acme")
    await store.append_events("acme", "gate", [NewEvent(kind="door.opened", payload=b"{}")], "one")
    found = await store.find_verify_link("acme", link.link_id)
    assert found == link
    assert (found.head, found.head_sequence, found.expires_at, found.revoked_at) == (head, 1, expires_at, None)
    noted = await store.list_events(
        "acme", "operations", from_sequence=1, limit=9, kinds=["ledger.verify_link_created"]
    )
    assert [json.loads(event.payload) for event in noted] == [
        {
            "by": "ann@acme",
            "chain_id": "gate",
            "expires_at": "2030-01-02T03:04:05.000000Z",
            "head": head.hex(),
            "head_sequence": 1,
            "link_id": link.link_id,
        }
    ]


async def test_a_revoked_link_says_when_and_stays_revoked(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    link = await store.create_verify_link("acme", "gate", datetime.now(UTC) + timedelta(days=1), "ann")
    revoked_at = await store.revoke_verify_link("acme", link.link_id, "bob")
    assert await store.revoke_verify_link("acme", link.link_id, "carol") == revoked_at
    assert (await store.find_verify_link("acme", link.link_id)).revoked_at == revoked_at
    noted = await store.list_events(
        "acme", "operations", from_sequence=1, limit=9, kinds=["ledger.verify_link_revoked"]
    )
    assert [json.loads(event.payload)["by"] for event in noted] == ["bob"]


async def test_a_token_opens_its_link_until_it_is_revoked(store: LedgerStore, other_store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    keys = LinkKeys(current="one", secrets={"one": bytes(32)})
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    link = await store.create_verify_link("acme", "gate", expires_at, "ann")
    token = make_token(link, keys)
    assert await open_link(other_store, token, keys, now=datetime.now(UTC)) == link
    with pytest.raises(LedgerError) as refused:
        await open_link(other_store, token, keys, now=expires_at)
    assert refused.value.reason == Reason.LINK_EXPIRED
    await store.revoke_verify_link("acme", link.link_id, "bob")
    with pytest.raises(LedgerError) as refused:
        await open_link(other_store, token, keys, now=datetime.now(UTC))
    assert refused.value.reason == Reason.LINK_REVOKED


async def test_a_genuine_token_for_another_organisations_link_opens_nothing(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    keys = LinkKeys(current="one", secrets={"one": bytes(32)})
    link = await store.create_verify_link("acme", "gate", datetime.now(UTC) + timedelta(days=1), "ann")
    token = make_token(replace(link, organisation_id="zenith"), keys)
    with pytest.raises(LedgerError) as refused:
        await open_link(store, token, keys, now=datetime.now(UTC))
    assert refused.value.reason == Reason.LINK_UNKNOWN


@pytest.mark.parametrize("link_id", ["", "nonsense", "0" * 500, "'; DROP TABLE x", str(uuid.UUID(int=7, version=4))])
async def test_a_link_that_does_not_exist_is_unknown(store: LedgerStore, link_id: str) -> None:
    for attempt in (store.find_verify_link("acme", link_id), store.revoke_verify_link("acme", link_id, "bob")):
        with pytest.raises(LedgerError) as refused:
            await attempt
        assert refused.value.reason == Reason.LINK_UNKNOWN


async def test_a_link_of_another_organisation_is_unknown(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    link = await store.create_verify_link("acme", "gate", datetime.now(UTC) + timedelta(days=1), "ann")
    for attempt in (
        store.find_verify_link("zenith", link.link_id),
        store.revoke_verify_link("zenith", link.link_id, "mallory"),
    ):
        with pytest.raises(LedgerError) as refused:
            await attempt
        assert refused.value.reason == Reason.LINK_UNKNOWN
    assert (await store.find_verify_link("acme", link.link_id)).revoked_at is None


async def test_the_outbox_holds_every_committed_event_until_it_is_published(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    new = [NewEvent(kind="door.opened", payload=b'{"n":%d}' % number) for number in range(3)]
    await store.append_events("acme", "gate", new, "one")
    entries = [entry for entry in await store.read_outbox(100) if entry.chain_id == "gate"]
    assert [(entry.organisation_id, entry.first_sequence, entry.last_sequence) for entry in entries] == [
        ("acme", 1, 1),
        ("acme", 2, 4),
    ]
    last = entries[-1]
    events = await store.read_events_for_relay(last.chain_key, last.first_sequence, last.last_sequence)
    assert events == await store.list_events("acme", "gate", from_sequence=2, limit=10)
    await store.delete_outbox([entry.outbox_id for entry in entries])
    await store.delete_outbox([entry.outbox_id for entry in entries])
    assert [entry for entry in await store.read_outbox(100) if entry.chain_id == "gate"] == []


async def test_the_outbox_is_read_in_the_order_of_each_chain(store: LedgerStore) -> None:
    for name in ("one", "two"):
        await store.open_chain("acme", name, b"{}")
    for number in range(10):
        for name in ("one", "two"):
            await store.append_events("acme", name, [NewEvent(kind="door.opened", payload=b"{}")], f"key {number}")
    entries = await store.read_outbox(7)
    assert len(entries) == 7
    everything = await store.read_outbox(1_000)
    assert everything[:7] == entries
    for name in ("one", "two"):
        sequences = [entry.first_sequence for entry in everything if entry.chain_id == name]
        assert sequences == list(range(1, 12))
