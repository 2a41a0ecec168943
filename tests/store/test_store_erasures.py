import asyncio
import json
from typing import Any

import psycopg
import pytest
from psycopg import errors

from ledger.chain.sealed import digest_of, salt_of
from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore
from ledger.store.values import NewEvent
from sandbox.database import Database

SEALED = NewEvent(
    kind="person.seen",
    payload=b'{"name":"Ann","phone":"12","door":"north"}',
    sealed_members=("name", "phone"),
)


@pytest.fixture
async def seen(store: LedgerStore) -> LedgerStore:
    """A chain "visit" whose events 2 and 3 have two sealed members each."""
    await store.open_chain("acme", "visit", b"{}")
    await store.append_events("acme", "visit", [SEALED, SEALED], "seen")
    return store


async def erase(store: LedgerStore, sequence: int = 2, **changes: Any) -> int:
    wanted = {"reason": "asked for by the person", "erased_by": "dpo@acme"} | changes
    erased, receipt = await store.erase_disclosures("acme", "visit", sequence, **wanted)
    assert (receipt is not None) == (erased > 0)
    return erased


async def left(store: LedgerStore) -> list[tuple[int, str]]:
    found = await store.list_disclosures("acme", "visit")
    return sorted((sequence, salt_of(disclosure)[1]) for sequence, disclosure in found)


async def notes(store: LedgerStore) -> list[dict[str, Any]]:
    kinds = ["ledger.disclosures_erased"]
    events = await store.list_events("acme", "operations", from_sequence=1, limit=100, kinds=kinds)
    return [json.loads(event.payload) for event in events]


async def test_what_is_erased_is_gone_and_noted_without_what_it_said(seen: LedgerStore) -> None:
    before = await seen.list_events("acme", "visit", from_sequence=1, limit=9)
    disclosures = [disclosure for sequence, disclosure in await seen.list_disclosures("acme", "visit") if sequence == 2]
    assert await erase(seen) == 2
    assert await left(seen) == [(3, "name"), (3, "phone")]
    assert await notes(seen) == [
        {
            "by": "dpo@acme",
            "chain_id": "visit",
            "digests": sorted(map(digest_of, disclosures)),
            "reason": "asked for by the person",
            "sequence": 2,
        }
    ]
    assert await seen.list_events("acme", "visit", from_sequence=1, limit=9) == before
    assert (await seen.check_chain("acme", "visit")).ok
    assert (await seen.check_chain("acme", "operations")).ok


async def test_a_single_member_can_be_erased(seen: LedgerStore) -> None:
    assert await erase(seen, members=["phone", "unheard-of"]) == 1
    assert await left(seen) == [(2, "name"), (3, "name"), (3, "phone")]
    assert len((await notes(seen))[0]["digests"]) == 1


async def test_erasing_again_finds_nothing_and_notes_nothing(seen: LedgerStore) -> None:
    assert [await erase(seen), await erase(seen), await erase(seen, members=["name"])] == [2, 0, 0]
    assert len(await notes(seen)) == 1


async def test_each_disclosure_is_erased_and_noted_once_however_many_ask(
    seen: LedgerStore, other_store: LedgerStore
) -> None:
    counts = await asyncio.gather(*(erase(asked) for asked in [seen, other_store] * 4))
    assert sorted(counts) == [0] * 7 + [2]
    assert len(await notes(seen)) == 1


async def test_an_append_is_recognised_when_a_part_of_it_was_erased(seen: LedgerStore) -> None:
    await erase(seen, members=["phone"])
    assert (await seen.append_events("acme", "visit", [SEALED, SEALED], "seen")).replayed
    for name, phone, is_same in (("Ann", "99", True), ("Bob", "12", False)):
        payload = json.dumps({"name": name, "phone": phone, "door": "north"}).encode()
        changed = NewEvent(kind=SEALED.kind, payload=payload, sealed_members=SEALED.sealed_members)
        if is_same:
            assert (await seen.append_events("acme", "visit", [changed, SEALED], "seen")).replayed
        else:
            with pytest.raises(LedgerError) as caught:
                await seen.append_events("acme", "visit", [changed, SEALED], "seen")
            assert caught.value.reason == Reason.IDEMPOTENCY_CONFLICT


async def test_another_organisation_erases_nothing(seen: LedgerStore) -> None:
    with pytest.raises(LedgerError) as caught:
        await seen.erase_disclosures("zenith", "visit", 2, reason="mine", erased_by="eve")
    assert caught.value.reason == Reason.CHAIN_NOT_FOUND
    await seen.open_chain("zenith", "visit", b"{}")
    assert await seen.erase_disclosures("zenith", "visit", 2, reason="mine", erased_by="eve") == (0, None)
    assert len(await left(seen)) == 4


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sequence": 0}, "sequence"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": 2**63}, "sequence"),
        ({"members": ["a"] * 33}, "members"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "line\nbreak"}, "reason"),
    ],
)
async def test_an_erasure_that_breaks_a_rule_is_refused(seen: LedgerStore, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(LedgerError) as caught:
        await erase(seen, **changes)
    assert (caught.value.reason, caught.value.metadata["field"]) == (Reason.INVALID_ARGUMENT, field)
    assert len(await left(seen)) == 4


async def test_an_erasure_that_cannot_be_noted_erases_nothing(seen: LedgerStore, database: Database) -> None:
    with psycopg.connect(database.admin_dsn) as administrator:
        administrator.execute(
            """CREATE FUNCTION indelible.refuse_note() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''no''; END';
               CREATE TRIGGER refuse_note BEFORE INSERT ON indelible.events FOR EACH ROW
                 WHEN (NEW.kind = 'ledger.disclosures_erased') EXECUTE FUNCTION indelible.refuse_note()"""
        )
    with pytest.raises(psycopg.Error):
        await erase(seen)
    assert len(await left(seen)) == 4


@pytest.mark.parametrize("role", ["runtime_dsn", "worker_dsn"])
def test_only_the_append_role_may_erase(database: Database, role: str) -> None:
    with psycopg.connect(getattr(database, role)) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("DELETE FROM indelible.disclosures")
