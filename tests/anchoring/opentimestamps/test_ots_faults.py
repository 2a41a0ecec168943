"""Calendars and explorers that misbehave: nothing is lost, nothing wrong is believed, the others go on."""

from typing import Any

import pytest

from ledger.anchoring.opentimestamps.news import MAX_LEAVES_TAKEN
from ledger.anchoring.port import InProgress, UnavailableError
from sandbox.calendar import CalendarFaults
from tests.anchoring.opentimestamps.ots_under_test import Anchoring, State, last_round_of, new_head, proof_in, round_of
from verifier.opentimestamps.proof import BITCOIN_TAG, parse_proof

EVERYBODY = [0, 1, 2]
# The others are busy at most for as long as the first of these times.
SLOW_PATIENCE_SECONDS = 6.0
SLOW = CalendarFaults(slow_seconds=SLOW_PATIENCE_SECONDS + 4)
NO_ANSWER = [
    CalendarFaults(down=True),
    SLOW,
    CalendarFaults(status=404),
    CalendarFaults(status=429),
    CalendarFaults(status=500),
    CalendarFaults(status=302),
    CalendarFaults(garbage=True),
    CalendarFaults(oversize=True),
    CalendarFaults(truncated=True),
    CalendarFaults(other_address=True),
]
BROKEN_PROMISES = [
    CalendarFaults(wrong_digest=True),
    CalendarFaults(never_upgrades=True),
    CalendarFaults(forgets=True),
    CalendarFaults(wrong_block=True),
    CalendarFaults(many_blocks=True),
    CalendarFaults(long_path=True),
]


def patience(faults: CalendarFaults) -> float:
    return SLOW_PATIENCE_SECONDS if faults is SLOW else 20.0


def naming(faults: CalendarFaults) -> str:
    return "-".join(f"{name}={getattr(faults, name)}" for name in faults.__slots__ if getattr(faults, name))


def promises_in(state: State) -> int:
    return len(parse_proof(proof_in(state)).attestations)


@pytest.mark.parametrize("faults", NO_ANSWER, ids=naming)
async def test_a_calendar_that_gives_no_promise_is_named_and_the_others_suffice(
    anchoring: Anchoring, faults: CalendarFaults
) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(faults, calendars=[1])
    async with anchoring.backend(timeout_seconds=patience(faults)) as backend:
        state = await round_of(backend, head)
        assert "2 of 3 calendars" in state["progress"]
        assert anchoring.sandbox.calendars[1].removeprefix("http://") in state["progress"]
        await anchoring.mine()
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).ok


@pytest.mark.parametrize("faults", NO_ANSWER, ids=naming)
async def test_calendars_that_all_give_no_promise_leave_the_job_as_it_was(
    anchoring: Anchoring, faults: CalendarFaults
) -> None:
    anchoring.sandbox.misbehave(faults, calendars=EVERYBODY)
    # Where all are slow there is nobody whom it would be wrong to miss; what others say must be what is refused.
    async with anchoring.backend(timeout_seconds=1.0 if faults is SLOW else patience(faults)) as backend:
        with pytest.raises(UnavailableError, match="no calendar took it"):
            await backend.anchor(new_head(), None)


@pytest.mark.parametrize("faults", BROKEN_PROMISES, ids=naming)
async def test_a_calendar_that_breaks_its_promise_does_not_hold_up_the_others(
    anchoring: Anchoring, faults: CalendarFaults
) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(faults, calendars=[0])
    async with anchoring.backend(timeout_seconds=patience(faults)) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).ok


@pytest.mark.parametrize("faults", BROKEN_PROMISES, ids=naming)
async def test_calendars_that_all_break_their_promises_leave_a_proof_that_is_pending(
    anchoring: Anchoring, faults: CalendarFaults
) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(faults, calendars=EVERYBODY)
    async with anchoring.backend(timeout_seconds=patience(faults)) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        anchoring.pass_time(hours=1)
        state = await round_of(backend, head, state)
        assert anchoring.check(proof_in(state), head).status == "pending"


@pytest.mark.parametrize("faults", NO_ANSWER[:9], ids=naming)
async def test_calendars_that_fail_after_their_promise_keep_it_when_they_are_back(
    anchoring: Anchoring, faults: CalendarFaults
) -> None:
    head = new_head()
    async with anchoring.backend(timeout_seconds=patience(faults)) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        anchoring.sandbox.misbehave(faults, calendars=EVERYBODY)
        proof = proof_in(state)
        state = await round_of(backend, head, state)
        assert proof_in(state) == proof
        anchoring.sandbox.heal()
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).ok


async def test_a_false_path_is_never_believed_and_never_exported(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        anchoring.sandbox.misbehave(CalendarFaults(wrong_block=True), calendars=EVERYBODY)
        state = await round_of(backend, head, state)
        assert "which says otherwise" in state["progress"]
        assert all(leaf.tag != BITCOIN_TAG for leaf in parse_proof(proof_in(state)).attestations)
        anchoring.sandbox.heal()
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).ok


async def test_a_path_that_no_verifier_would_read_is_left_out_and_named(anchoring: Anchoring) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(CalendarFaults(long_path=True), calendars=EVERYBODY)
    async with anchoring.backend() as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        proof = proof_in(state)
        state = await round_of(backend, head, state)
    assert proof_in(state) == proof
    assert "its answer is of no use: it has more than 256 branches, or 256 steps in a row" in state["progress"]


async def test_a_calendar_that_gives_very_much_gets_no_more_room_in_the_proof_than_others(anchoring: Anchoring) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(CalendarFaults(greedy=True), calendars=[0])
    anchoring.sandbox.misbehave(CalendarFaults(never_upgrades=True), calendars=[1, 2])
    async with anchoring.backend(attestations=3) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        state = await round_of(backend, head, state)
        assert 3 <= promises_in(state) <= 2 + MAX_LEAVES_TAKEN
    assert anchoring.check(proof_in(state), head).ok


async def test_calendars_lost_for_ever_give_way_to_the_rest_and_to_new_ones(anchoring: Anchoring) -> None:
    head = new_head()
    first_two = anchoring.sandbox.calendars[:2]
    async with anchoring.backend(calendars=first_two) as backend:
        state = await round_of(backend, head)
    anchoring.sandbox.misbehave(CalendarFaults(down=True), calendars=[0, 1])
    async with anchoring.backend() as backend:
        state = await round_of(backend, head, state)
        assert promises_in(state) == 3
        await anchoring.mine()
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).ok


async def test_a_calendar_that_forgot_is_given_the_head_again_after_days(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend(calendars=anchoring.sandbox.calendars[:1], minimum_calendars=1) as backend:
        state = await round_of(backend, head)
        anchoring.sandbox.forget([0])
        await anchoring.mine()
        anchoring.pass_time(days=2)
        state = await round_of(backend, head, state)
        assert promises_in(state) == 1
        anchoring.pass_time(days=2)
        state = await round_of(backend, head, state)
        assert promises_in(state) == 2
        await anchoring.mine()
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).ok


async def test_a_calendar_that_never_delivers_does_not_make_the_proof_grow_without_end(anchoring: Anchoring) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(CalendarFaults(never_upgrades=True), calendars=EVERYBODY)
    async with anchoring.backend() as backend:
        state: State | None = None
        for _ in range(6):
            state = await round_of(backend, head, state)
            anchoring.pass_time(days=4)
    assert state is not None
    assert promises_in(state) == 9


async def test_with_too_few_promises_the_missing_calendars_are_asked_again_soon_and_then_less_often(
    anchoring: Anchoring,
) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(CalendarFaults(down=True), calendars=[1, 2])
    pauses: list[float] = []
    state: Any = None
    async with anchoring.backend() as backend:
        for _ in range(9):
            outcome = await backend.anchor(head, state)
            assert isinstance(outcome, InProgress)
            state = outcome.state
            pauses.append((outcome.again_at - anchoring.now).total_seconds())
        assert "at least 2 calendars are wanted" in state["progress"]
        anchoring.sandbox.heal()
        state = await round_of(backend, head, state)
    assert 30 <= pauses[0] <= 33
    assert 60 <= pauses[1] <= 66
    assert 3600 <= pauses[8] <= 3960
    assert promises_in(state) == 3


@pytest.mark.parametrize("faults", [*NO_ANSWER[:9], CalendarFaults(wrong_block=True)], ids=naming)
async def test_one_explorer_that_fails_or_lies_is_outvoted(anchoring: Anchoring, faults: CalendarFaults) -> None:
    head = new_head()
    async with anchoring.backend(timeout_seconds=patience(faults)) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        anchoring.sandbox.misbehave(faults, explorers=[1])
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).ok


@pytest.mark.parametrize(
    "faults", [CalendarFaults(down=True), CalendarFaults(garbage=True), CalendarFaults(oversize=True)], ids=naming
)
async def test_the_word_of_a_single_explorer_never_counts(anchoring: Anchoring, faults: CalendarFaults) -> None:
    head = new_head()
    async with anchoring.backend(timeout_seconds=patience(faults)) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        anchoring.sandbox.misbehave(faults, explorers=[0, 2])
        state = await round_of(backend, head, state)
        assert "nothing you trust shows yet" in state["progress"]
        anchoring.sandbox.misbehave(CalendarFaults(), explorers=[0])
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).ok


async def test_one_that_lies_beside_one_that_is_down_confirms_nothing(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        state = await round_of(backend, head)
        await anchoring.mine(2)
        anchoring.sandbox.misbehave(CalendarFaults(wrong_block=True), explorers=[0])
        anchoring.sandbox.misbehave(CalendarFaults(down=True), explorers=[1])
        state = await round_of(backend, head, state)
        assert "nothing you trust shows yet" in state["progress"]


async def test_a_block_that_was_replaced_after_it_counted_is_dropped_and_the_head_handed_in_anew(
    anchoring: Anchoring, tmp_path: Any
) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(CalendarFaults(never_upgrades=True), calendars=[1, 2])
    async with anchoring.backend(attestations=2) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        state = await round_of(backend, head, state)
    # Another worker, whose operator has another block at that height in his file.
    await anchoring.mine()
    *_, before, newest = anchoring.sandbox.headers().splitlines()
    file = tmp_path / "headers.txt"
    file.write_text(f"{before.split()[0]} {newest.split()[1]}\n")
    async with anchoring.backend(headers=file, header_urls=()) as backend:
        state = await round_of(backend, head, state)
    assert all(leaf.tag != BITCOIN_TAG for leaf in parse_proof(proof_in(state)).attestations)
    assert promises_in(state) == 3
