"""A session that ends while its recordings or clips are still in the making."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from ledger.chain.event import Event
from ledger.chain.merkle import merkle_root
from ledger.chain.processing import MAX_PENDING, PendingItem
from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore
from ledger.store.values import NewEvent
from ledger.timestamps import moment, rfc3339
from tests.store.conftest import Clock

DAY = 86_400
CLIP = PendingItem(type="clip", item_id="c1", since_sequence=2)
RECORDING = PendingItem(type="recording", item_id="r1", since_sequence=3)


def event(kind: str, **payload: Any) -> NewEvent:
    return NewEvent(kind=kind, payload=json.dumps(payload).encode())


BEGINNINGS = (event("clip.requested", clip_id="c1"), event("recording.started", recording_id="r1"))
CLIP_DONE = event("clip.preserved", clip_id="c1")
RECORDING_DONE = event("recording.completed", recording_id="r1")


async def begin(store: LedgerStore, chain_id: str = "visit", events: Sequence[NewEvent] = BEGINNINGS) -> None:
    """A session with a clip and a recording in the making, and an ordinary event behind them."""
    await store.open_chain("acme", chain_id, b"{}")
    await store.append_events("acme", chain_id, [*events, event("door.opened")], "begin")


async def refused(work: object) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        await work  # type: ignore[misc]  # any of the store's calls
    return caught.value


async def events_of(store: LedgerStore, chain_id: str = "visit") -> list[Event]:
    assert (result := await store.check_chain("acme", chain_id)).ok, result.divergence
    return await store.list_events("acme", chain_id, from_sequence=1, limit=1000)


async def kinds_of(store: LedgerStore, chain_id: str = "visit") -> list[str]:
    return [one.kind for one in await events_of(store, chain_id)]


async def notes(store: LedgerStore, chain_id: str) -> list[tuple[str, dict[str, Any]]]:
    told = [(one.kind, json.loads(one.payload)) for one in await events_of(store, "operations")]
    return [(kind, payload) for kind, payload in told if payload["chain_id"] == chain_id][1:]


async def anchored(store: LedgerStore, chain_id: str = "visit") -> list[int]:
    return sorted({anchor.sequence for anchor in await store.list_anchors("acme", chain_id, limit=100)})


async def test_the_end_of_a_session_names_what_is_pending_and_is_anchored_at_once(
    store_with_clock: tuple[LedgerStore, Clock],
) -> None:
    store, clock = store_with_clock
    await begin(store)
    chain, receipt = await store.end_session("acme", "visit", b'{"by":"ann"}', wait_seconds=3600)
    closes_by = moment(clock.now) + timedelta(hours=1)
    pending = [
        {"item_id": "c1", "since_sequence": 2, "type": "clip"},
        {"item_id": "r1", "since_sequence": 3, "type": "recording"},
    ]
    ended, checkpoint = (await events_of(store))[4:]
    assert (ended.kind, json.loads(ended.payload)) == (
        "session.ended",
        {
            "closes_by": rfc3339(closes_by),
            "ending": {"by": "ann"},
            "format": "indelible-session-end/1",
            "pending": pending,
        },
    )
    assert (checkpoint.kind, json.loads(checkpoint.payload)["tree_size"]) == ("chain.checkpointed", 5)
    hashes = [one.hash for one in await events_of(store)]
    assert json.loads(checkpoint.payload)["merkle_root"] == merkle_root(hashes[:5]).hex()
    assert (receipt.first_sequence, receipt.event_hashes, receipt.replayed) == (6, (checkpoint.hash,), False)
    assert (chain.state, chain.ended_at, chain.closes_by) == ("ended", moment(clock.now), closes_by)
    assert chain.pending == (CLIP, RECORDING)
    assert await anchored(store) == [6]
    note = {
        "chain_id": "visit",
        "closes_by": rfc3339(closes_by),
        "event_count": 5,
        "head": ended.hash.hex(),
        "pending": pending,
    }
    assert await notes(store, "visit") == [("ledger.session_ended", note)]


async def test_a_session_with_nothing_pending_is_closed_directly_and_anchored_once(store: LedgerStore) -> None:
    await begin(store)
    await store.append_events("acme", "visit", [CLIP_DONE, event("recording.failed", recording_id="r1")], "done")
    chain, receipt = await store.end_session("acme", "visit")
    ended, closed = (await events_of(store))[-2:]
    assert json.loads(ended.payload)["pending"] == json.loads(closed.payload)["unfinished"] == []
    assert (chain.state, chain.head, receipt.event_hashes) == ("closed", closed.hash, (closed.hash,))
    assert await anchored(store) == [closed.sequence]
    assert [kind for kind, _ in await notes(store, "visit")] == ["ledger.session_ended", "ledger.chain_closed"]
    assert (await notes(store, "visit"))[1][1]["unfinished"] == []


async def test_ending_again_gets_the_first_receipt_also_after_closing(
    store: LedgerStore, other_store: LedgerStore
) -> None:
    await begin(store)
    outcomes = await asyncio.gather(*(one.end_session("acme", "visit") for one in [store, other_store] * 4))
    assert len({receipt.signed_note for _, receipt in outcomes}) == 1
    assert sum(not receipt.replayed for _, receipt in outcomes) == 1
    await other_store.append_events("acme", "visit", [CLIP_DONE, RECORDING_DONE], "done")
    chain, receipt = await store.end_session("acme", "visit", b'{"by":"somebody else"}', wait_seconds=60)
    assert (chain.state, receipt.replayed) == ("closed", True)
    assert receipt.signed_note == outcomes[0][1].signed_note
    assert (await kinds_of(store))[4:] == [
        "session.ended",
        "chain.checkpointed",
        "clip.preserved",
        "recording.completed",
        "chain.closed",
    ]


async def test_what_cannot_be_ended_is_refused_with_the_reason(store: LedgerStore) -> None:
    await store.open_chain("acme", "closed", b"{}")
    await store.close_chain("acme", "closed")
    await store.open_chain("acme", "visit", b"{}")
    assert (await refused(store.end_session("acme", "closed"))).reason is Reason.CHAIN_CLOSED
    assert (await refused(store.end_session("acme", "absent"))).reason is Reason.CHAIN_NOT_FOUND
    assert (await refused(store.end_session("zenith", "visit"))).reason is Reason.CHAIN_NOT_FOUND
    assert (await refused(store.end_session("acme", "operations"))).metadata == {"field": "chain_id"}
    for seconds in (-1, 1, 59, 7 * DAY + 1):
        error = await refused(store.end_session("acme", "visit", wait_seconds=seconds))
        assert (error.reason, error.metadata) == (Reason.INVALID_ARGUMENT, {"field": "wait_seconds"})
    for ending in (b"[]", b'{"a":1,"a":2}', b'{"_sd":[]}', b'{"a":"' + b"x" * 262_140 + b'"}'):
        error = await refused(store.end_session("acme", "visit", ending))
        assert (error.reason, error.metadata["field"][:6]) == (Reason.INVALID_PAYLOAD, "ending")
    assert await kinds_of(store) == ["chain.opened"]


async def test_a_chain_with_something_pending_is_not_closed_before_its_session_is_ended(store: LedgerStore) -> None:
    await begin(store)
    error = await refused(store.close_chain("acme", "visit"))
    assert (error.reason, error.metadata) == (Reason.PROCESSING_PENDING, {"chain_id": "visit", "pending": "2"})
    assert "EndSession" in error.message
    await store.end_session("acme", "visit")
    error = await refused(store.close_chain("acme", "visit"))
    assert error.reason is Reason.PROCESSING_PENDING
    assert "closes by itself" in error.message
    assert (await kinds_of(store))[-1] == "chain.checkpointed"


async def test_appends_go_on_after_a_closing_that_was_refused(store: LedgerStore) -> None:
    await begin(store)
    for number in range(
        8
    ):  # psycopg prepares what is executed five times, and after a rollback forgets all it prepared
        await store.checkpoint_chain("acme", "visit")
        await store.append_events("acme", "visit", [event("door.opened")], f"key-{number}")
    await refused(store.close_chain("acme", "visit"))
    await store.append_events("acme", "visit", [event("door.opened")], "after")


async def test_a_session_is_not_ended_with_more_pending_than_its_end_can_name(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    many = [event("clip.requested", clip_id=f"{n:0128d}") for n in range(MAX_PENDING)]
    await store.append_events("acme", "visit", many, "many")
    await store.append_events("acme", "visit", [event("clip.requested", clip_id="one-more")], "more")
    assert (await refused(store.end_session("acme", "visit"))).reason is Reason.PROCESSING_PENDING
    await store.append_events("acme", "visit", [event("clip.failed", clip_id="one-more")], "less")
    chain, _ = await store.end_session("acme", "visit")
    assert len(chain.pending) == MAX_PENDING


async def test_an_ended_session_refuses_whatever_tells_of_nothing_pending(ended_session: LedgerStore) -> None:
    for number, events in enumerate(
        (
            [event("door.opened")],
            [event("consent.withdrawn", recording_id="r1")],
            [event("recording.started", recording_id="r2")],
            [event("clip.requested", clip_id="c2")],
            [event("clip.preserved", clip_id="r1")],
            [event("clip.preserved", clip_id=["c1"])],
            [event("clip.preserved", recording_id="r1")],
            [event("clip.preserved")],
            [event("clips.counted", clip_id="c1")],
            [event("hold.placed", clip_id="c1")],
            [CLIP_DONE, event("door.opened")],
            [CLIP_DONE, event("clip.accessed", clip_id="c1")],
            [CLIP_DONE, event("clip.requested", clip_id="c1")],
            [NewEvent(kind="clip.preserved", payload=b'{"clip_id":"c1"}', sealed_members=("clip_id",))],
        )
    ):
        error = await refused(ended_session.append_events("acme", "visit", events, f"late-{number}"))
        assert (error.reason, error.metadata) == (Reason.SESSION_ENDED, {"chain_id": "visit"}), events
    assert (await kinds_of(ended_session))[-1] == "chain.checkpointed"


@pytest.fixture
async def ended_session(store: LedgerStore) -> LedgerStore:
    await begin(store)
    await store.end_session("acme", "visit")
    return store


async def test_an_ended_session_takes_everything_about_what_is_pending(ended_session: LedgerStore) -> None:
    store = ended_session
    told = [event("recording.file_stored", recording_id="r1", file=n) for n in range(3)]
    await store.append_events("acme", "visit", [*told, event("clip.requested", clip_id="c1")], "told")
    await store.checkpoint_chain("acme", "visit")
    assert (await store.get_chain("acme", "visit")).pending[0].since_sequence == 10
    assert (await refused(store.append_events("acme", "visit", [event("door.opened")], "no"))).reason == "SESSION_ENDED"


async def test_of_appends_that_come_together_only_the_first_ends_an_item(ended_session: LedgerStore) -> None:
    appends = [ended_session.append_events("acme", "visit", [CLIP_DONE], f"key-{n}") for n in range(8)]
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, LedgerError)]
    assert [error.reason for error in errors] == [Reason.SESSION_ENDED] * 7
    assert (await kinds_of(ended_session))[-1] == "clip.preserved"


async def test_an_append_is_answered_again_after_the_end_and_after_the_closing(ended_session: LedgerStore) -> None:
    store = ended_session
    again = [*BEGINNINGS, event("door.opened")]
    assert (await store.append_events("acme", "visit", again, "begin")).replayed
    first = await store.append_events("acme", "visit", [CLIP_DONE, RECORDING_DONE], "done")
    assert (await store.get_chain("acme", "visit")).state == "closed"
    replayed = await store.append_events("acme", "visit", [CLIP_DONE, RECORDING_DONE], "done")
    assert (replayed.replayed, replayed.signed_note) == (True, first.signed_note)
    assert (await store.append_events("acme", "visit", again, "begin")).replayed


async def test_the_chain_closes_by_itself_with_the_last_result_and_is_anchored_again(
    ended_session: LedgerStore,
) -> None:
    store = ended_session
    await store.append_events("acme", "visit", [CLIP_DONE], "clip")
    chain = await store.get_chain("acme", "visit")
    assert (chain.state, chain.pending) == ("ended", (RECORDING,))
    await store.append_events("acme", "visit", [RECORDING_DONE], "recording")
    closed = (await events_of(store))[-1]
    assert (closed.kind, json.loads(closed.payload)["unfinished"]) == ("chain.closed", [])
    chain = await store.get_chain("acme", "visit")
    assert (chain.state, chain.pending, chain.closed_at) == ("closed", (), moment(closed.occurred_at_us))
    assert chain.ended_at is not None
    assert await anchored(store) == [6, closed.sequence]
    error = await refused(store.append_events("acme", "visit", [RECORDING_DONE], "late"))
    assert error.reason is Reason.CHAIN_CLOSED


async def test_at_the_deadline_the_chain_is_closed_once_and_names_what_is_unfinished(
    store_with_clock: tuple[LedgerStore, Clock], other_store: LedgerStore
) -> None:
    store, clock = store_with_clock
    await begin(store)
    await store.end_session("acme", "visit")
    await store.append_events("acme", "visit", [CLIP_DONE], "clip")
    clock.now += DAY * 1_000_000 - 1
    assert await store.due_closings() == []
    assert (await refused(store.close_chain("acme", "visit"))).reason is Reason.PROCESSING_PENDING
    clock.now += 1
    assert await store.due_closings() == [("acme", "visit")]
    outcomes = await asyncio.gather(*(store.close_chain("acme", "visit") for _ in range(8)))
    assert sum(not receipt.replayed for _, receipt in outcomes) == 1
    unfinished = [{"item_id": "r1", "since_sequence": 3, "type": "recording"}]
    assert json.loads((await events_of(store))[-1].payload)["unfinished"] == unfinished
    assert [payload.get("unfinished") for _, payload in await notes(store, "visit")] == [None, unfinished]
    assert await other_store.due_closings() == []
    late = await refused(other_store.append_events("acme", "visit", [RECORDING_DONE], "late"))
    assert late.reason is Reason.CHAIN_CLOSED


async def test_a_result_after_the_deadline_is_taken_while_the_chain_is_open(
    store_with_clock: tuple[LedgerStore, Clock],
) -> None:
    store, clock = store_with_clock
    await begin(store)
    await store.end_session("acme", "visit")
    clock.now += 2 * DAY * 1_000_000
    await store.append_events("acme", "visit", [CLIP_DONE, RECORDING_DONE], "late")
    assert json.loads((await events_of(store))[-1].payload)["unfinished"] == []


async def test_only_what_a_session_chain_names_plainly_can_be_pending(store: LedgerStore) -> None:
    await store.open_chain("acme", "visit", b"{}")
    no_items = [
        event("clip.requested"),
        event("clip.requested", clip_id=7),
        event("clip.requested", clip_id=""),
        event("clip.requested", clip_id="a b"),
        event("clip.requested", clip_id="a\n"),
        event("clip.requested", clip_id="x" * 129),
        event("clip.requested", recording_id="c1"),
        event("recording.started", about={"recording_id": "r1"}),
        event("recording.begun", recording_id="r1"),
        NewEvent(kind="clip.requested", payload=b'{"clip_id":"c1"}', sealed_members=("clip_id",)),
    ]
    await store.append_events("acme", "visit", no_items, "one")
    await store.append_events("acme", "operations", list(BEGINNINGS), "one")
    assert (await store.get_chain("acme", "visit")).pending == ()
    assert (await store.get_chain("acme", "operations")).pending == ()
    chain, _ = await store.end_session("acme", "visit")
    assert chain.state == "closed"


async def test_what_was_ended_can_begin_again_until_the_session_ends(store: LedgerStore) -> None:
    await begin(store)
    again = [CLIP_DONE, event("clip.requested", clip_id="c1"), event("clip.requested", clip_id="c1")]
    await store.append_events("acme", "visit", again, "again")
    chain, _ = await store.end_session("acme", "visit")
    assert [item.since_sequence for item in chain.pending] == [7, 3]


async def test_chains_are_listed_by_state(ended_session: LedgerStore) -> None:
    store = ended_session
    await store.open_chain("acme", "open", b"{}")
    await store.open_chain("acme", "over", b"{}")
    await store.end_session("acme", "over")
    for state, chain_ids in (("open", ["open", "operations"]), ("ended", ["visit"]), ("closed", ["over"])):
        listed = await store.list_chains("acme", limit=10, state=state)
        assert [(chain.chain_id, chain.state, chain.pending) for chain in listed] == [
            (chain_id, state, ()) for chain_id in chain_ids
        ]


@pytest.mark.parametrize("kind", ["session.ended", "chain.closed", "ledger.session_ended"])
async def test_nobody_but_the_ledger_ends_a_session(store: LedgerStore, kind: str) -> None:
    await store.open_chain("acme", "visit", b"{}")
    for chain_id in ("visit", "operations"):
        error = await refused(store.append_events("acme", chain_id, [event("door.opened"), event(kind)], "one"))
        assert (error.reason, error.metadata) == (Reason.RESERVED_KIND, {"field": "events[1].kind"})
