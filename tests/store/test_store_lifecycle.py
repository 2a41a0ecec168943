import asyncio
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ledger.chain.merkle import merkle_root
from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore
from ledger.store.values import AnchorJob, Evidence, NewEvent, Receipt
from sandbox.database import Database
from tests.store.conftest import TARGETS

EVENT = NewEvent(kind="door.opened", payload=b'{"door":"north"}')


async def refused(work: object) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        await work  # type: ignore[misc]  # any of the store's calls
    return caught.value


async def operations(store: LedgerStore, organisation_id: str = "acme") -> list[tuple[str, dict[str, object]]]:
    events = await store.list_events(organisation_id, "operations", from_sequence=2, limit=1000)
    return [(event.kind, json.loads(event.payload)) for event in events]


async def test_opening_binds_the_chain_to_its_name_and_organisation(store: LedgerStore) -> None:
    chain, receipt = await store.open_chain("acme", "visit", b'{"case": "A-17"}')
    (event,) = await store.list_events("acme", "visit", from_sequence=1, limit=10)
    assert json.loads(event.payload) == {
        "chain_id": "visit",
        "chain_type": "session",
        "format": "indelible-chain/1",
        "organisation": {"id": "acme", "name": "Acme Security"},
        "subject": {"case": "A-17"},
    }
    assert (chain.head, chain.event_count, chain.state) == (event.hash, 1, "open")
    assert (receipt.first_sequence, receipt.event_hashes, receipt.replayed) == (1, (event.hash,), False)
    assert chain == await store.get_chain("acme", "visit")


async def test_opening_is_noted_on_the_operations_chain(store: LedgerStore) -> None:
    chain, _ = await store.open_chain("acme", "visit", b"{}")
    note = {"chain_id": "visit", "chain_type": "session", "head": chain.head.hex()}
    assert await operations(store) == [("ledger.chain_opened", note)]
    assert (await store.check_chain("acme", "operations")).ok


async def test_opening_again_about_the_same_gets_the_first_answer(store: LedgerStore, other_store: LedgerStore) -> None:
    chain, receipt = await store.open_chain("acme", "visit", b'{"a":1,"b":2}')
    await store.append_events("acme", "visit", [EVENT], "one")
    for writer in (store, other_store):
        again, replayed = await writer.open_chain("acme", "visit", b'{"b":2, "a":1.0}')
        assert again == chain
        assert (replayed.replayed, replayed.signed_note) == (True, receipt.signed_note)
    assert len(await operations(store)) == 1


async def test_opening_again_about_something_else_is_refused(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b'{"a":1}')
    assert (await refused(store.open_chain("acme", "visit", b"{}"))).reason == Reason.CHAIN_EXISTS


async def test_one_chain_opened_by_many_at_once_is_opened_once(store: LedgerStore, other_store: LedgerStore) -> None:
    outcomes = await asyncio.gather(*(s.open_chain("acme", "visit", b"{}") for s in [store, other_store] * 8))
    assert len({receipt.signed_note for _, receipt in outcomes}) == 1
    assert sum(not receipt.replayed for _, receipt in outcomes) == 1
    assert len(await operations(store)) == 1


async def test_many_chains_opened_at_once_share_one_operations_chain(
    store: LedgerStore, other_store: LedgerStore
) -> None:
    await asyncio.gather(*(s.open_chain("acme", f"v{n}", b"{}") for n, s in enumerate([store, other_store] * 8)))
    notes = await operations(other_store)
    assert {note["chain_id"] for _, note in notes} == {f"v{n}" for n in range(16)}
    assert (await store.check_chain("acme", "operations")).ok


async def test_organisations_may_use_the_same_chain_id(store: LedgerStore) -> None:
    acme, _ = await store.open_chain("acme", "visit", b"{}")
    zenith, _ = await store.open_chain("zenith", "visit", b"{}")
    assert acme.head != zenith.head
    assert len(await operations(store, "zenith")) == 1


@pytest.mark.parametrize(
    ("organisation_id", "chain_id", "subject", "reason"),
    [
        ("nobody", "visit", b"{}", Reason.ORGANISATION_UNKNOWN),
        ("acme", "operations", b"{}", Reason.INVALID_ARGUMENT),
        ("acme", "-visit", b"{}", Reason.INVALID_ARGUMENT),
        ("acme", "v" * 65, b"{}", Reason.INVALID_ARGUMENT),
        ("acme", "visit\n", b"{}", Reason.INVALID_ARGUMENT),
        ("acme", "visit", b"[]", Reason.INVALID_PAYLOAD),
        ("acme", "visit", b'{"a":1,"a":2}', Reason.INVALID_PAYLOAD),
        ("acme", "visit", b'{"a":' * 32 + b"1" + b"}" * 32, Reason.INVALID_PAYLOAD),
        ("acme", "visit", b'{"a":"' + b"x" * 262_136 + b'"}', Reason.INVALID_PAYLOAD),
    ],
)
async def test_an_opening_that_breaks_a_rule_is_refused(
    store: LedgerStore, organisation_id: str, chain_id: str, subject: bytes, reason: Reason
) -> None:
    assert (await refused(store.open_chain(organisation_id, chain_id, subject))).reason == reason
    assert [chain for chain in await store.list_chains("acme", limit=10) if chain.type == "session"] == []


async def test_a_checkpoint_commits_to_every_event_before_it(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    for number in range(3):
        await store.append_events("acme", "visit", [EVENT] * 5, f"{number}")
        receipt = await store.checkpoint_chain("acme", "visit")
        *events, checkpoint = await store.list_events("acme", "visit", from_sequence=1, limit=100)
        assert checkpoint.kind == "chain.checkpointed"
        assert json.loads(checkpoint.payload) == {
            "tree_size": len(events),
            "merkle_root": merkle_root([event.hash for event in events]).hex(),
        }
        assert receipt.event_hashes == (checkpoint.hash,)
    assert (await store.check_chain("acme", "visit")).ok


async def test_a_checkpoint_asks_every_authority_for_an_anchor_of_its_hash(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    receipt = await store.checkpoint_chain("acme", "visit")
    anchors = await store.list_anchors("acme", "visit", limit=10)
    assert [(a.sequence, a.digest, a.state) for a in anchors] == [(2, receipt.event_hashes[0], "pending")] * 2
    assert [(a.backend, a.authority) for a in anchors] == [(t.backend, t.authority) for t in TARGETS]


async def test_a_chain_with_nothing_new_gets_its_newest_checkpoint_again(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    first, *others = [await store.checkpoint_chain("acme", "visit") for _ in range(3)]
    assert [receipt.replayed for receipt in (first, *others)] == [False, True, True]
    assert {receipt.signed_note for receipt in others} == {first.signed_note}
    assert len(await store.list_anchors("acme", "visit", limit=10)) == 2


async def test_the_operations_chain_is_checkpointed_like_any_other(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    receipt = await store.checkpoint_chain("acme", "operations")
    assert receipt.first_sequence == 3
    assert len(await store.list_anchors("acme", "operations", limit=10)) == 2


async def test_checkpoints_are_right_while_another_process_appends(
    store: LedgerStore, other_store: LedgerStore
) -> None:
    await store.open_chain("acme", "visit", b"{}")

    async def write() -> None:
        for number in range(40):
            await other_store.append_events("acme", "visit", [EVENT] * 3, f"{number}")

    async def checkpoint() -> None:
        for _ in range(20):
            await store.checkpoint_chain("acme", "visit")

    await asyncio.gather(write(), checkpoint())
    assert (await store.check_chain("acme", "visit")).ok


async def test_closing_seals_the_chain_and_is_noted_and_anchored_at_once(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    await store.append_events("acme", "visit", [EVENT], "one")
    chain, receipt = await store.close_chain("acme", "visit", b'{"by": "ann"}')
    closing = (await store.list_events("acme", "visit", from_sequence=3, limit=10))[0]
    assert (closing.kind, json.loads(closing.payload)["closing"]) == ("chain.closed", {"by": "ann"})
    assert (chain.state, chain.head, chain.event_count) == ("closed", closing.hash, 3)
    assert receipt.event_hashes == (closing.hash,)
    note = {"chain_id": "visit", "head": closing.hash.hex(), "event_count": 3}
    assert (await operations(store))[-1] == ("ledger.chain_closed", note)
    assert [anchor.digest for anchor in await store.list_anchors("acme", "visit", limit=10)] == [closing.hash] * 2
    assert (await store.check_chain("acme", "visit")).ok


async def test_closing_a_closed_chain_gets_the_first_answer(store: LedgerStore, other_store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    outcomes = await asyncio.gather(*(s.close_chain("acme", "visit") for s in [store, other_store] * 4))
    assert len({receipt.signed_note for _, receipt in outcomes}) == 1
    assert sum(not receipt.replayed for _, receipt in outcomes) == 1
    assert [kind for kind, _ in await operations(store)] == ["ledger.chain_opened", "ledger.chain_closed"]
    assert (await store.checkpoint_chain("acme", "visit")).signed_note == outcomes[0][1].signed_note


async def test_nothing_is_appended_to_a_closed_chain(store: LedgerStore, other_store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    outcomes = await asyncio.gather(
        *(store.append_events("acme", "visit", [EVENT], f"{n}") for n in range(20)),
        other_store.close_chain("acme", "visit"),
        *(other_store.append_events("acme", "visit", [EVENT], f"late {n}") for n in range(20)),
        return_exceptions=True,
    )
    appended = sum(isinstance(outcome, Receipt) for outcome in outcomes)
    reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, LedgerError)}
    assert reasons <= {Reason.CHAIN_CLOSED}
    chain = await store.get_chain("acme", "visit")
    assert (chain.state, chain.event_count) == ("closed", appended + 2)
    assert (await refused(store.append_events("acme", "visit", [EVENT], "x"))).reason == Reason.CHAIN_CLOSED
    assert (await store.check_chain("acme", "visit")).ok


async def test_the_operations_chain_is_never_closed(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    assert (await refused(store.close_chain("acme", "operations"))).reason == Reason.INVALID_ARGUMENT


async def test_a_closing_that_breaks_a_rule_is_refused(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    assert (await refused(store.close_chain("acme", "visit", b"[1]"))).reason == Reason.INVALID_PAYLOAD
    too_deep = b'{"a":' * 32 + b"1" + b"}" * 32
    assert (await refused(store.close_chain("acme", "visit", too_deep))).reason == Reason.INVALID_PAYLOAD
    assert (await refused(store.close_chain("acme", "none"))).reason == Reason.CHAIN_NOT_FOUND
    assert (await refused(store.close_chain("zenith", "visit"))).reason == Reason.CHAIN_NOT_FOUND
    assert (await store.get_chain("acme", "visit")).state == "open"


async def test_a_closing_that_fails_halfway_leaves_nothing(store: LedgerStore, database: Database) -> None:
    await store.open_chain("acme", "visit", b"{}")
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("ALTER TABLE indelible.anchor_jobs ADD CHECK (backend <> 'rfc3161')")
    with pytest.raises(psycopg.errors.CheckViolation):
        await store.close_chain("acme", "visit")
    assert (await store.get_chain("acme", "visit")).event_count == 1
    assert [kind for kind, _ in await operations(store)] == ["ledger.chain_opened"]


async def leased_job(store: LedgerStore) -> AnchorJob:
    await store.open_chain("acme", "visit", b"{}")
    await store.close_chain("acme", "visit")
    (job,) = await store.lease_anchor_jobs(owner="worker", lease=timedelta(minutes=1), limit=1, authorities=TARGETS[:1])
    return job


async def test_an_obtained_anchor_is_stored_and_noted_once_whoever_brings_it(
    store: LedgerStore, other_store: LedgerStore
) -> None:
    job = await leased_job(store)
    outcomes = await asyncio.gather(
        *(
            writer.complete_anchor_job(
                job,
                request=b"question",
                response=b"answer",
                anchored_at=datetime(2026, 1, 2, tzinfo=UTC),
                evidence=[Evidence(kind="crl", der=b"crl")],
            )
            for writer in [store, other_store] * 3
        )
    )
    assert sorted(outcomes) == [False] * 5 + [True]
    (anchor,) = await store.stored_anchors("acme", "visit")
    assert (anchor.response, anchor.evidence) == (b"answer", (Evidence(kind="crl", der=b"crl"),))
    notes = [note for kind, note in await operations(store) if kind == "ledger.anchor_obtained"]
    assert [note["digest"] for note in notes] == [job.digest.hex()]
    assert (await store.pending_anchor_counts()) == {TARGETS[1]: 1}


async def test_a_verify_link_pins_the_head_and_is_noted(store: LedgerStore) -> None:
    chain, _ = await store.open_chain("acme", "visit", b"{}")
    expires_at = datetime.now(UTC) + timedelta(days=90)
    link = await store.create_verify_link("acme", "visit", expires_at, "ann")
    assert (link.head, link.head_sequence) == (chain.head, 1)
    assert await store.find_verify_link("acme", link.link_id) == link
    kind, note = (await operations(store))[-1]
    assert (kind, note["link_id"], note["by"]) == ("ledger.verify_link_created", link.link_id, "ann")


async def test_a_verify_link_is_revoked_once_however_often_it_is_asked(
    store: LedgerStore, other_store: LedgerStore
) -> None:
    await store.open_chain("acme", "visit", b"{}")
    link = await store.create_verify_link("acme", "visit", datetime.now(UTC) + timedelta(days=1), "ann")
    times = await asyncio.gather(*(s.revoke_verify_link("acme", link.link_id, "bob") for s in [store, other_store] * 4))
    assert len(set(times)) == 1
    assert (await store.find_verify_link("acme", link.link_id)).revoked_at == times[0]
    assert [kind for kind, _ in await operations(store)].count("ledger.verify_link_revoked") == 1


async def test_another_organisation_has_no_hold_on_a_chain_or_its_links(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    soon = datetime.now(UTC) + timedelta(days=1)
    link = await store.create_verify_link("acme", "visit", soon, "ann")
    assert (await refused(store.create_verify_link("zenith", "visit", soon, "eve"))).reason == Reason.CHAIN_NOT_FOUND
    assert (await refused(store.revoke_verify_link("zenith", link.link_id, "eve"))).reason == Reason.LINK_UNKNOWN
    assert (await refused(store.checkpoint_chain("zenith", "visit"))).reason == Reason.CHAIN_NOT_FOUND
