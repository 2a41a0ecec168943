"""A recording is started once, for those who are there, and follows who comes and goes."""

import asyncio
import dataclasses
from pathlib import Path

import pytest

from media.errors import Reason
from media.ledgers import Ledgers
from sandbox.livekit import ApiFaults, LiveKitDouble
from sandbox.processes import free_port
from tests.media.recordings.control.studio import Studio, reason_of, relay_all
from tests.media.recordings.control.test_control_consent import recorded
from tests.service.serving import FOREIGN_ORGANISATION

FIELD_USERS = ("bob", "cem", "dan", "eve", "fay", "gil")


async def test_starting_at_the_same_time_in_many_processes_records_once(studio: Studio) -> None:
    session = await studio.session("ann", "bob")
    await session.consents("ann", "bob")
    started = await asyncio.gather(
        *(session.start(control=studio.another_process(), composite="ROOM") for _ in range(5))
    )
    assert len({recording.recording_id for recording in started}) == 1
    assert session.recorded() == ["", "ann", "bob"]
    assert len(session.egresses()) == 3
    assert (await session.kinds()).count("recording.started") == 1
    await session.stop(started[0])
    await session.waiting()
    await session.check()


async def test_starting_again_gives_what_runs_and_stopping_again_is_harmless(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob")
    assert session.created
    first = await session.recording()
    again = await session.start()
    assert (again.recording_id, session.created) == (first.recording_id, False)
    for _ in range(2):
        stopped = await session.stop(first, "the visit is over")
    assert stopped.stop_reason == "the visit is over"
    assert session.recorded() == []
    await session.waiting()
    second = await session.start()
    assert (second.recording_id != first.recording_id, session.created) == (True, True)
    assert session.recorded() == ["ann", "bob"]
    await session.stop(second)
    await session.waiting()
    await session.check()


async def test_who_comes_late_gets_an_egress_of_their_own_and_the_composite_goes_on(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob", composite="ROOM")
    before = {egress.egress_id for egress in session.egresses()}
    session.room.join("cem", name="bob")
    await studio.take_reports()
    await studio.look()
    # Who has not been asked is neither recorded nor shown.
    assert session.recorded() == ["", "ann", "bob"]
    assert studio.double.attributes(session.room.name, "cem") == {"indelible.recording": "no"}
    await session.consent("cem")
    assert session.recorded() == ["", "ann", "bob", "cem"]
    assert studio.double.attributes(session.room.name, "cem") == {"indelible.recording": "yes", "indelible.tile": "2"}
    assert len({egress.egress_id for egress in session.egresses()} - before) == 1
    recording = await session.stop(await session.recording())
    assert [(one.participant, one.tile) for one in recording.members] == [("ann", 0), ("bob", 1), ("cem", 2)]
    await session.waiting()
    await session.check()


async def test_who_consented_before_coming_is_recorded_as_soon_as_they_come(studio: Studio) -> None:
    session = await studio.session("ann")
    await session.consents("ann", "bob")
    await session.start()
    assert session.recorded() == ["ann"]
    session.room.join("bob")
    await studio.look()
    assert session.recorded() == ["ann", "bob"]


@pytest.mark.parametrize("what", ["egress goes on", "egress ends"])
async def test_a_reconnect_of_the_same_identity_does_not_record_twice(studio: Studio, what: str) -> None:
    egress_ends = what == "egress ends"
    session = await recorded(studio, "ann", "bob", "cem")
    session.room.reconnect("bob", egress_ends=egress_ends)
    recording = await session.until(
        lambda one: len(one.stays_of("bob")) == (2 if egress_ends else 1) and len(one.open_stays) == 3
    )
    for _ in range(3):
        await studio.take_reports()
        await studio.look()
    assert session.recorded() == ["ann", "bob", "cem"]
    assert {stay.tile for stay in recording.stays_of("bob")} == {1}
    assert [stay.number for stay in recording.stays_of("bob")] == ([1, 2] if egress_ends else [1])
    await session.stop(recording)
    await session.waiting()
    await session.check()


async def test_an_eighth_participant_is_refused_with_a_reason_and_the_seven_go_on(studio: Studio) -> None:
    session = await recorded(studio, "ann", *FIELD_USERS)
    assert session.recorded() == ["ann", *FIELD_USERS]
    session.room.join("hal")
    await session.consent("hal")
    for _ in range(2):
        await studio.look()
    assert session.recorded() == ["ann", *FIELD_USERS]
    refused = [content for kind, content in await session.events() if kind == "recording.participant_refused"]
    assert [(one["participant"], one["reason"]) for one in refused] == [("hal", "RECORDING_FULL")]
    recording = await session.recording()
    assert recording.remarks == ("hal is not recorded: a recording has 7 tiles, and all are taken",)
    # A place that was somebody's stays theirs.
    session.room.leave("gil")
    await session.until(lambda one: len(one.open_stays) == 6)
    assert "hal" not in session.recorded()
    await session.stop(recording)
    await session.waiting()
    await session.check()


async def test_a_recording_of_eight_is_not_begun(studio: Studio) -> None:
    session = await studio.session("ann", *FIELD_USERS, "hal")
    await session.consents("ann", *FIELD_USERS, "hal")
    assert await reason_of(session.start()) is Reason.TOO_MANY_PARTICIPANTS
    assert session.egresses() == []


async def test_a_room_belongs_to_the_organisation_that_its_name_begins_with(studio: Studio) -> None:
    theirs = await studio.session("ann", organisation=FOREIGN_ORGANISATION)
    session = await studio.session("ann")
    await session.consents("ann")
    for room in (theirs.room.name, "session", "acme", "acme-2:session", "ACME:session"):
        session.room = studio.double.open_room(room)
        assert await reason_of(session.start()) is Reason.ROOM_NOT_FOUND
    session.room = studio.double.open_room("acme:empty-room")
    assert await reason_of(session.start()) is Reason.ROOM_NOT_FOUND
    assert theirs.egresses() == []


async def test_a_room_is_not_recorded_for_two_sessions_at_once(studio: Studio) -> None:
    session = await recorded(studio, "ann")
    other = await studio.session()
    other.room = session.room
    await other.consents("ann")
    assert await reason_of(other.start()) is Reason.ROOM_BUSY
    assert session.recorded() == ["ann"]
    await session.stop(await session.recording())
    await other.start()
    assert other.recorded() == ["ann"]


async def test_two_organisations_with_the_same_names_do_not_touch_each_other(studio: Studio) -> None:
    mine = await studio.session("ann", "bob", name="the-same")
    theirs = await studio.session("ann", "bob", organisation=FOREIGN_ORGANISATION, name="the-same")
    for session in (mine, theirs):
        await session.consent("ann", key="a")
        await session.consent("bob", key="b")
        await session.start()
    assert (await mine.recording()).recording_id != (await theirs.recording()).recording_id
    await theirs.consent("bob", "WITHDRAWN", key="c")
    assert (mine.recorded(), theirs.recorded()) == (["ann", "bob"], ["ann"])
    assert "consent.withdrawn" not in await mine.kinds()
    their_recording = await theirs.recording()
    assert await reason_of(mine.stop(their_recording)) is Reason.RECORDING_NOT_FOUND
    assert theirs.recorded() == ["ann"]
    for session in (mine, theirs):
        await session.stop(await session.recording())
        await session.waiting()
        await session.check()


@pytest.mark.parametrize("end", ["close", "end", "unknown"])
async def test_a_session_that_is_over_or_never_was_is_not_recorded(studio: Studio, end: str) -> None:
    session = await studio.session("ann")
    await session.consents("ann")
    async with studio.ledger() as client:
        if end == "close":
            await client.close_chain(session.chain_id)
        elif end == "end":
            await client.end_session(session.chain_id)
    expected = Reason.SESSION_ENDED
    if end == "unknown":
        session.chain_id, expected = "never-opened", Reason.CHAIN_NOT_FOUND
    assert await reason_of(session.start()) is expected
    assert session.egresses() == []


async def test_a_session_that_ends_stops_its_recording_and_closes_when_that_is_told(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob")
    async with studio.ledger() as client:
        chain, _ = await client.end_session(session.chain_id)
        recording = await session.recording()
        assert [(item.type, item.item_id) for item in chain.pending] == [("recording", str(recording.recording_id))]
        stopped = await session.waiting()
        assert stopped.stop_reason == "the session ended"
        # What was begun before is told on the session's chain; a consent that comes later, on the operations chain.
        await session.consent("ann", "WITHDRAWN")
        await relay_all(studio.control)
        kinds = await session.kinds()
        assert kinds.count("recording.participant_ended") == 2
        assert "consent.withdrawn" not in kinds
        assert ("consent.withdrawn", session.chain_id) in {
            (kind, content.get("session_chain_id")) for kind, content in await session.events("operations")
        }
        assert (await client.get_chain(session.chain_id)).state == "ended"
    await session.check()


async def test_nothing_is_recorded_while_the_ledger_is_away(studio: Studio, tokens: Path) -> None:
    session = await studio.session("ann")
    await session.consents("ann")
    away = Ledgers(f"127.0.0.1:{free_port()}", None, tokens)
    control = dataclasses.replace(
        studio.control, ledgers=away, limits=dataclasses.replace(studio.control.limits, ledger=0.5)
    )
    try:
        # A consent and a withdrawal are taken all the same; a start is not.
        await session.consent("bob", control=control)
        await session.consent("bob", "WITHDRAWN", control=control)
        assert await reason_of(session.start(control=control)) is Reason.LEDGER_UNAVAILABLE
    finally:
        await away.close()
    assert session.egresses() == []
    assert await session.recordings() == []
    assert await session.kinds() == ["consent.given", "consent.given", "consent.withdrawn"]


async def test_a_consent_that_the_sessions_chain_refused_is_no_consent(studio: Studio, tokens: Path) -> None:
    session = await studio.session("ann")
    away = Ledgers(f"127.0.0.1:{free_port()}", None, tokens)
    limits = dataclasses.replace(studio.control.limits, ledger=0.5)
    session.chain_id = f"opened-later-{session.chain_id}"
    try:
        await session.consent("ann", control=dataclasses.replace(studio.control, ledgers=away, limits=limits))
    finally:
        await away.close()
    await relay_all(studio.control)
    async with studio.ledger() as client:
        await client.open_chain(session.chain_id, {})
    assert await reason_of(session.start()) is Reason.CONSENT_MISSING
    told = [(kind, content["session_chain_id"]) for kind, content in await session.events("operations")]
    assert ("consent.given", session.chain_id) in told
    await session.consent("ann")
    await session.start()
    assert session.recorded() == ["ann"]


async def test_a_ledger_that_goes_away_between_the_check_and_the_start_stops_what_did_not_begin(
    studio: Studio, tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await studio.session("ann")
    await session.consents("ann")
    begin = studio.control.records.recordings.begin
    away = Ledgers(f"127.0.0.1:{free_port()}", None, tokens)
    reached = studio.control.ledgers
    studio.limited(ledger=4)

    async def begin_then_lose(*given: object, **more: object) -> object:
        recording = await begin(*given, **more)  # type: ignore[arg-type]  # as they came
        monkeypatch.setattr(reached, "of", away.of)
        return recording

    monkeypatch.setattr(studio.control.records.recordings, "begin", begin_then_lose)
    assert await reason_of(session.start()) is Reason.LEDGER_UNAVAILABLE
    monkeypatch.undo()
    await away.close()
    assert session.egresses() == []
    await session.waiting()
    assert await session.kinds() == ["consent.given", "recording.started", "recording.stopped"]


TROUBLES = {
    "LiveKit is away": ApiFaults(hang_up=True),
    "LiveKit is overloaded": ApiFaults(status=503),
    "LiveKit answers nonsense": ApiFaults(garbage=True),
    "starting an egress fails": ApiFaults(method="StartParticipantEgress", status=503),
    "starting an egress is refused": ApiFaults(
        method="StartParticipantEgress", status=403, words=b'{"code": "permission_denied", "msg": "no"}'
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_a_livekit_that_does_not_record_makes_a_clear_refusal_and_no_recording_later(
    studio: Studio, trouble: ApiFaults
) -> None:
    session = await studio.session("ann", "bob")
    await session.consents("ann", "bob")
    studio.double.trouble(trouble)
    assert await reason_of(session.start()) is Reason.LIVEKIT_UNAVAILABLE
    studio.double.heal()
    studio.later(studio.control.limits.unsure)
    await studio.look()
    assert session.egresses() == []
    assert all(one.state == "WAITING" for one in await session.recordings())
    await session.check()
    # And the next start is a new one.
    await session.start()
    assert session.recorded() == ["ann", "bob"]


@pytest.mark.parametrize("way", ["answer_lost", "slow"])
async def test_an_egress_that_was_started_although_no_answer_came_is_found_and_not_started_again(
    studio: Studio, double: LiveKitDouble, way: str
) -> None:
    session = await studio.session("ann", "bob")
    await session.consents("ann", "bob")
    faults = ApiFaults(
        method="StartParticipantEgress", times=1, answer_lost=way == "answer_lost", slow_seconds=6 * (way == "slow")
    )
    double.trouble(faults)
    async with studio.impatient(3):
        recording = await session.start()
    recording = await session.until(lambda one: all(stay.egress_id for stay in one.stays))
    assert session.recorded() == ["ann", "bob"]
    assert len(session.egresses()) == 2
    await session.stop(recording)
    await session.waiting()
    await session.check()


async def test_a_start_that_livekit_carried_out_after_it_was_given_up_is_stopped(
    studio: Studio, double: LiveKitDouble
) -> None:
    session = await studio.session("ann")
    await session.consents("ann")
    double.trouble(ApiFaults(method="StartParticipantEgress", times=1, slow_seconds=6))
    async with studio.impatient(3):
        assert await reason_of(session.start()) is Reason.LIVEKIT_UNAVAILABLE
    await session.until(lambda one: one.state == "WAITING")
    await studio.take_reports()
    assert session.recorded() == []


async def test_one_participant_that_livekit_does_not_record_keeps_the_others_from_nothing(studio: Studio) -> None:
    session = await studio.session("ann", "bob")
    await session.consents("ann", "bob")
    refusal = b'{"code": "not_found", "msg": "participant does not exist"}'
    studio.double.trouble(ApiFaults(method="StartParticipantEgress", times=1, status=404, words=refusal))
    recording = await session.start()
    recording = await session.until(lambda one: len([stay for stay in one.stays if stay.egress_id]) == 2)
    assert recording.remarks[0].startswith("LiveKit did not begin to record ann")
    assert session.recorded() == ["ann", "bob"]
    await session.stop(recording)
    await session.waiting()
    await session.check()
