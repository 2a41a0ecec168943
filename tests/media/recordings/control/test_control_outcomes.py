"""Egress fault matrix: however an egress ends, and whatever is reported of it, nothing is lost or recorded twice, and
the chain tells the truth. `Session.check` says what that is.
"""

import asyncio
import dataclasses

import pytest

from media.errors import Reason
from media.recordings import joining
from sandbox.livekit import ApiFaults, EgressFaults, Outcome
from tests.media.recordings.control.studio import Session, Studio, reason_of
from tests.media.recordings.control.test_control_consent import recorded

ENDED = frozenset({"egress_ended"})
EVERYTHING = frozenset({"egress_started", "egress_updated", "egress_ended"})
REPORTS = {
    "reported": EgressFaults(),
    "the end is not reported": EgressFaults(lost=ENDED),
    "nothing is reported": EgressFaults(lost=EVERYTHING),
    "everything is reported twice": EgressFaults(duplicated=EVERYTHING),
    "the end is reported first": EgressFaults(out_of_order=True),
    "a forger reports too": EgressFaults(forged=True),
    "an old report is replayed": EgressFaults(replayed=True),
}
OUTCOMES = {
    Outcome.COMPLETE: "COMPLETE",
    Outcome.LIMIT_REACHED: "CUT_BY_LIMIT",
    Outcome.FAILED: "FAILED",
    Outcome.ABORTED: "ABORTED",
    Outcome.NEVER_ENDS: "NEVER_FINISHED",
}


def with_outcome(faults: EgressFaults, outcome: Outcome) -> EgressFaults:
    return dataclasses.replace(faults, outcome=outcome)


# Every outcome with every report and with none, and every way of reporting with two outcomes.
MATRIX = [
    (outcome, reported)
    for reported in REPORTS
    for outcome in OUTCOMES
    if reported in {"reported", "nothing is reported"} or outcome in {Outcome.COMPLETE, Outcome.FAILED}
]


@pytest.mark.parametrize(("outcome", "reported"), MATRIX)
async def test_every_outcome_of_a_stop_is_told_however_it_is_reported(
    studio: Studio, outcome: Outcome, reported: str
) -> None:
    studio.double.misbehave(with_outcome(REPORTS[reported], outcome), identity="bob")
    session = await recorded(studio, "ann", "bob")
    await studio.take_reports()
    await session.stop(await session.recording())
    if outcome is Outcome.NEVER_ENDS:
        await session.until(lambda one: len(one.open_stays) == 1)
        studio.later(studio.control.limits.finish)
    recording = await session.waiting()
    assert {stay.participant: stay.outcome for stay in recording.stays} == {"ann": "COMPLETE", "bob": OUTCOMES[outcome]}
    # What is reported after that changes nothing.
    await studio.take_reports()
    assert await session.recording() == recording
    await session.check()


@pytest.mark.parametrize("reports", [REPORTS["reported"], REPORTS["nothing is reported"]], ids=["reported", "not"])
@pytest.mark.parametrize("outcome", [Outcome.COMPLETE, Outcome.LIMIT_REACHED, Outcome.FAILED, Outcome.ABORTED])
async def test_an_egress_that_ends_by_itself_is_told_and_the_recording_goes_on(
    studio: Studio, outcome: Outcome, reports: EgressFaults
) -> None:
    studio.double.misbehave(with_outcome(reports, outcome), identity="bob")
    session = await recorded(studio, "ann", "bob")
    (bob,) = (await session.recording()).stays_of("bob")
    assert bob.egress_id is not None
    studio.double.end_egress(bob.egress_id, outcome)
    studio.double.wait_until_ended(bob.egress_id)
    recording = await session.until(lambda one: one.stays_of("bob")[0].outcome is not None)
    assert recording.stays_of("bob")[0].outcome == OUTCOMES[outcome]
    if outcome in {Outcome.FAILED, Outcome.ABORTED}:
        # One that fails is not begun anew without a pause.
        assert len(recording.stays_of("bob")) == 1
        studio.later(15)
    recording = await session.until(lambda one: len(one.stays_of("bob")) == 2)
    assert session.recorded() == ["ann", "bob"]
    await session.stop(recording)
    await session.waiting()
    await session.check()


async def test_a_composite_that_is_cut_by_a_limit_is_followed_by_another(studio: Studio) -> None:
    session = await recorded(studio, "ann", composite="ROOM")
    (composite,) = (await session.recording()).stays_of(None)
    assert composite.egress_id is not None
    studio.double.end_egress(composite.egress_id, Outcome.LIMIT_REACHED)
    recording = await session.until(lambda one: len(one.stays_of(None)) == 2)
    assert [stay.outcome for stay in recording.stays_of(None)] == ["CUT_BY_LIMIT", None]
    assert session.recorded() == ["", "ann"]
    await session.stop(recording)
    await session.waiting()
    await session.check()


async def test_a_room_that_is_filmed_again_keeps_the_tiles_of_those_who_left(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob", "cem", composite="ROOM")
    session.room.leave("bob")
    (composite,) = (await session.recording()).stays_of(None)
    assert composite.egress_id is not None
    studio.double.end_egress(composite.egress_id, Outcome.LIMIT_REACHED)
    await session.until(lambda one: len(one.stays_of(None)) == 2)
    filmed = [one.room_composite for one in session.egresses() if one.WhichOneof("request") == "room_composite"]
    assert [one.layout for one in filmed] == ["tiles-0-1-2"] * 2


async def test_who_comes_and_goes_without_end_is_told_to_be_recorded_no_more(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "MAX_STAYS", 2)
    session = await recorded(studio, "ann", "bob")
    session.room.leave("bob")
    await session.until(lambda one: len(one.open_stays) == 1)
    session.room.join("bob")
    await session.until(lambda one: len(one.open_stays) == 2)
    session.room.leave("bob")
    await session.until(lambda one: len(one.open_stays) == 1)
    session.room.join("bob")
    recording = await session.until(lambda one: bool(one.remarks))
    assert recording.remarks == ("bob was recorded 2 times, and is recorded no more",)
    assert session.recorded() == ["ann"]


async def test_an_egress_that_ends_after_it_was_given_up_is_told_as_late(studio: Studio) -> None:
    studio.double.misbehave(EgressFaults(outcome=Outcome.NEVER_ENDS), identity="bob")
    session = await recorded(studio, "ann", "bob")
    (bob,) = (await session.recording()).stays_of("bob")
    await session.stop(await session.recording())
    studio.later(studio.control.limits.finish)
    recording = await session.waiting()
    assert recording.stays_of("bob")[0].outcome == "NEVER_FINISHED"
    assert bob.egress_id is not None
    run = studio.double.egress[bob.egress_id]
    run.ordered_to_end = False
    studio.double.end_egress(bob.egress_id, Outcome.COMPLETE)
    studio.double.wait_until_ended(bob.egress_id)
    for _ in range(2):
        studio.taken = 0
        await studio.take_reports()
    late = [content for kind, content in await session.events() if kind == "recording.late_result"]
    assert [(one["egress_id"], one["outcome"]) for one in late] == [(bob.egress_id, "complete")]
    assert (await session.recording()).stays_of("bob")[0].outcome == "NEVER_FINISHED"
    await session.check()


async def test_an_egress_that_livekit_has_forgotten_is_given_up(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob")
    (bob,) = (await session.recording()).stays_of("bob")
    assert bob.egress_id is not None
    with studio.double.lock:
        lost = studio.double.egress.pop(bob.egress_id)
    await studio.look()
    assert (await session.recording()).stays_of("bob")[0].is_open
    studio.later(studio.control.limits.unsure)
    recording = await session.until(lambda one: not one.stays_of("bob")[0].is_open)
    assert (recording.stays_of("bob")[0].outcome, recording.stays_of("bob")[0].error) == (
        "NEVER_FINISHED",
        "LiveKit does not know it any more",
    )
    with studio.double.lock:
        studio.double.egress[bob.egress_id] = lost


async def test_an_egress_that_runs_twice_is_stopped_once(studio: Studio) -> None:
    """LiveKit listed the first too late: we asked again for the same file."""
    session = await recorded(studio, "ann")
    (ann,) = (await session.recording()).stays
    await studio.control.livekit.start_participant_egress(session.room.name, "ann", key=ann.raw_key)
    assert session.recorded() == ["ann", "ann"]
    await studio.look()
    assert session.recorded() == ["ann"]
    recording = await session.recording()
    assert recording.stays[0].egress_id == ann.egress_id
    assert "twice" in recording.remarks[0]


async def test_an_egress_that_goes_on_although_it_was_stopped_is_stopped_again(studio: Studio) -> None:
    studio.double.misbehave(EgressFaults(outcome=Outcome.NEVER_ENDS), identity="bob")
    session = await recorded(studio, "ann", "bob")
    await session.consent("bob", "WITHDRAWN")
    (bob,) = (await session.recording()).stays_of("bob")
    assert bob.egress_id is not None
    with studio.double.lock:  # as if LiveKit had been restarted from what it knew before
        run = studio.double.egress[bob.egress_id]
        run.activate()
        run.ordered_to_end = False
    assert session.recorded() == ["ann", "bob"]
    await studio.look()
    assert session.recorded() == ["ann"]


async def test_everybody_leaving_ends_the_recording_after_a_while(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob")
    session.room.leave("ann")
    session.room.leave("bob")
    await session.until(lambda one: not one.open_stays and one.empty_since is not None)
    assert (await session.recording()).state == "RECORDING"
    session.room.join("ann")
    await session.until(lambda one: len(one.open_stays) == 1 and one.empty_since is None)
    session.room.leave("ann")
    await session.until(lambda one: one.empty_since is not None)
    studio.later(studio.control.limits.empty)
    recording = await session.waiting()
    assert recording.stop_reason == "everybody left the room"
    await session.check()


@pytest.mark.parametrize("is_reported", [True, False], ids=["reported", "not reported"])
async def test_a_room_that_ends_ends_its_recording(studio: Studio, is_reported: bool) -> None:  # noqa: FBT001 - pytest's
    session = await recorded(studio, "ann", "bob")
    session.room.close()
    if not is_reported:
        studio.taken = len(studio.double.webhooks())
        await session.until(lambda one: one.empty_since is not None)
        studio.later(studio.control.limits.empty)
    recording = await session.waiting()
    assert recording.stop_reason == ("the room ended" if is_reported else "everybody left the room")
    await session.check()


async def test_a_recording_has_a_longest_time(studio: Studio) -> None:
    session = await recorded(studio, "ann")
    studio.later(studio.control.limits.longest)
    recording = await session.waiting()
    assert recording.stop_reason == "the longest time for a recording was reached"
    await session.check()


async def test_a_livekit_that_never_comes_back_does_not_keep_the_files_from_being_processed(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob")
    studio.double.trouble(ApiFaults(status=503))
    assert await reason_of(session.stop(await session.recording())) is Reason.LIVEKIT_UNAVAILABLE
    await studio.look()
    assert (await session.recording()).state == "STOPPING"
    studio.later(studio.control.limits.finish)
    await studio.look()
    recording = await session.recording()
    assert (recording.state, {stay.outcome for stay in recording.stays}) == ("WAITING", {"NEVER_FINISHED"})
    # When it does come back, and still records, its own report has it stopped.
    studio.double.heal()
    studio.taken = 0
    await studio.take_reports()
    assert session.recorded() == []


@pytest.mark.parametrize("who", ["ann", "bob"])
async def test_a_withdrawal_while_the_start_is_under_way_wins(studio: Studio, who: str) -> None:
    for seconds in (0.0, 0.05, 0.2):
        session = await studio.session("ann", "bob")
        await session.consents("ann", "bob")
        studio.double.trouble(ApiFaults(method="StartParticipantEgress", times=2, slow_seconds=0.1))
        starting = asyncio.create_task(session.start(control=studio.another_process()))
        await asyncio.sleep(seconds)
        await session.consent(who, "WITHDRAWN")
        # From the answer on, not one egress of theirs.
        _nobody(session, who)
        await asyncio.gather(starting, return_exceptions=True)
        await studio.look()
        _nobody(session, who)
        for recording in await session.recordings():
            await session.stop(recording)
            await session.waiting()
        await session.check()


def _nobody(session: Session, who: str) -> None:
    assert who not in session.recorded()
    assert who != "ann" or session.recorded() == []
