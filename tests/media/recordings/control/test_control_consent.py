"""Nobody is recorded who has not consented, and nobody longer than they consent."""

from typing import Any

import pytest

from media.errors import Reason
from sandbox.livekit import ApiFaults, Outcome
from tests.media.recordings.control.studio import Session, Studio, reason_of

REFUSALS = {
    "nobody was asked": [],
    "the operator was not asked": [("bob", "GIVEN", "FIELD")],
    "the field user was not asked": [("ann", "GIVEN", "OPERATOR")],
    "the field user only saw the banner": [("ann", "GIVEN", "OPERATOR"), ("bob", "BANNER_SHOWN", "FIELD")],
    "the field user refused": [("ann", "GIVEN", "OPERATOR"), ("bob", "REFUSED", "FIELD")],
    "the field user withdrew": [("ann", "GIVEN", "OPERATOR"), ("bob", "GIVEN", "FIELD"), ("bob", "WITHDRAWN", "FIELD")],
    "the operator withdrew": [
        ("ann", "GIVEN", "OPERATOR"),
        ("bob", "GIVEN", "FIELD"),
        ("ann", "WITHDRAWN", "OPERATOR"),
    ],
    "the operator consented as a field user": [("ann", "GIVEN", "FIELD"), ("bob", "GIVEN", "FIELD")],
    "the field user consented as the operator": [("ann", "GIVEN", "OPERATOR"), ("bob", "GIVEN", "OPERATOR")],
    "somebody else consented": [("ann", "GIVEN", "OPERATOR"), ("Bob", "GIVEN", "FIELD")],
}


@pytest.mark.parametrize("acts", REFUSALS.values(), ids=REFUSALS)
async def test_nothing_is_recorded_unless_everybody_present_has_consented(
    studio: Studio, acts: list[tuple[str, str, str]]
) -> None:
    session = await studio.session("ann", "bob")
    for who, act, role in acts:
        await session.consent(who, act, role=role)
    assert await reason_of(session.start()) is Reason.CONSENT_MISSING
    await studio.look()
    assert session.egresses() == []
    assert await session.recordings() == []
    assert await session.kinds() == [f"consent.{act.lower()}" for _, act, _ in acts]


async def test_a_consent_after_a_refusal_counts(studio: Studio) -> None:
    session = await studio.session("ann", "bob")
    await session.consents("ann")
    await session.consent("bob", "REFUSED")
    await session.consent("bob")
    await session.start()
    assert session.recorded() == ["ann", "bob"]


async def test_the_consents_and_the_start_are_on_the_chain_before_anything_is_recorded(studio: Studio) -> None:
    session = await studio.session("ann", "bob")
    await session.consent("bob", "BANNER_SHOWN")
    await session.consents("ann", "bob")
    recording = await session.start()
    told = await session.events()
    assert [kind for kind, _ in told[:4]] == [
        "consent.banner_shown",
        "consent.given",
        "consent.given",
        "recording.started",
    ]
    assert [kind for kind, _ in told[4:]] == ["recording.participant_started"] * 2
    started = told[3][1]
    assert started["participants"] == [
        {"participant": "ann", "role": "operator", "tile": 0, "consent_id": told[1][1]["consent_id"]},
        {"participant": "bob", "role": "field", "tile": 1, "consent_id": told[2][1]["consent_id"]},
    ]
    assert recording.state == "RECORDING"


async def test_the_withdrawal_of_a_field_user_stops_their_recording_before_it_is_answered(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob", "cem")
    recording = await session.recording()
    assert await session.consent("bob", "WITHDRAWN") == (recording.recording_id,)
    assert session.recorded() == ["ann", "cem"]
    await studio.look()
    assert session.recorded() == ["ann", "cem"]
    await session.stop(recording)
    await session.waiting()
    await session.check()


async def test_the_withdrawal_of_the_operator_stops_the_whole_recording_before_it_is_answered(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob")
    recording = await session.recording()
    assert await session.consent("ann", "WITHDRAWN") == (recording.recording_id,)
    assert session.recorded() == []
    stopped = await session.waiting()
    assert stopped.stop_reason == "consent withdrawn by the operator"
    await session.check()


async def test_who_consents_again_is_recorded_again_in_the_same_tile(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob", "cem")
    await session.consent("bob", "WITHDRAWN")
    await session.until(lambda one: not any(stay.state == "STOPPING" for stay in one.stays))
    await session.consent("bob")
    recording = await session.until(lambda one: len(one.stays_of("bob")) == 2)
    assert session.recorded() == ["ann", "bob", "cem"]
    assert {stay.tile for stay in recording.stays_of("bob")} == {1}
    await session.stop(recording)
    await session.waiting()
    await session.check()


@pytest.mark.parametrize("act", ["REFUSED", "WITHDRAWN"])
async def test_the_composite_of_the_room_goes_on_without_whoever_withdrew(studio: Studio, act: str) -> None:
    session = await recorded(studio, "ann", "bob", composite="ROOM")
    assert session.recorded() == ["", "ann", "bob"]
    assert studio.double.attributes(session.room.name, "bob") == {"indelible.recording": "yes", "indelible.tile": "1"}
    await session.consent("bob", act)
    assert session.recorded() == ["", "ann"]
    assert studio.double.attributes(session.room.name, "bob")["indelible.recording"] == "no"
    assert studio.double.attributes(session.room.name, "ann")["indelible.recording"] == "yes"


async def test_the_composite_is_stopped_when_it_cannot_be_told_to_drop_somebody(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob", composite="ROOM")
    studio.double.trouble(ApiFaults(method="UpdateParticipant", status=503))
    await session.consent("bob", "WITHDRAWN")
    assert session.recorded() == ["ann"]
    studio.double.heal()
    recording = await session.until(lambda one: len(one.stays_of(None)) == 2)
    # Once it can be told, the room is filmed again, without them.
    assert session.recorded() == ["", "ann"]
    await session.stop(recording)
    await session.waiting()
    await session.check()


@pytest.mark.parametrize("composite", ["FROM_FILES", "ROOM"])
async def test_a_stranger_whom_nobody_can_list_keeps_nobody_recorded(studio: Studio, composite: str) -> None:
    session = await recorded(studio, "ann", "bob", "cem", composite=composite)
    session.room.join("a name\nof two lines")
    if composite == "FROM_FILES":
        await session.consent("bob", "WITHDRAWN")
    else:
        # Whom the page shows is in that list.
        assert await reason_of(session.consent("bob", "WITHDRAWN")) is Reason.LIVEKIT_UNAVAILABLE
        assert studio.double.attributes(session.room.name, "bob")["indelible.recording"] == "no"
    assert set(session.recorded()) - {""} == {"ann", "cem"}
    await session.stop(await session.recording())
    assert session.recorded() == []
    await session.waiting(reports=False)
    await session.check()


async def test_a_withdrawal_that_livekit_does_not_carry_out_is_on_record_and_is_carried_out_later(
    studio: Studio,
) -> None:
    session = await recorded(studio, "ann", "bob")
    studio.double.trouble(ApiFaults(method="StopEgress", status=503))
    assert await reason_of(session.consent("bob", "WITHDRAWN", key="w-1")) is Reason.LIVEKIT_UNAVAILABLE
    assert session.recorded() == ["ann", "bob"]
    assert "consent.withdrawn" in await session.kinds()
    studio.double.heal()
    recording = await session.recording()
    assert await session.consent("bob", "WITHDRAWN", key="w-1") == (recording.recording_id,)
    assert session.recorded() == ["ann"]
    assert (await session.kinds()).count("consent.withdrawn") == 1


async def test_an_egress_that_cannot_be_stopped_and_ended_by_itself_is_told_without_a_report(studio: Studio) -> None:
    session = await recorded(studio, "ann", "bob")
    (bob,) = (await session.recording()).stays_of("bob")
    assert bob.egress_id is not None
    studio.double.trouble(ApiFaults(method="StopEgress", status=503))
    assert await reason_of(session.consent("bob", "WITHDRAWN")) is Reason.LIVEKIT_UNAVAILABLE
    studio.double.end_egress(bob.egress_id, Outcome.COMPLETE)
    studio.double.wait_until_ended(bob.egress_id)
    await studio.look()
    assert (await session.recording()).stays_of("bob")[0].outcome == "COMPLETE"


async def test_a_consent_is_noted_once_however_often_it_is_sent(studio: Studio) -> None:
    session = await studio.session("ann")
    for _ in range(3):
        await session.consent("ann", key="once")
    assert await session.kinds() == ["consent.given"]
    assert await reason_of(session.consent("ann", "REFUSED", key="once")) is Reason.IDEMPOTENCY_CONFLICT
    other = await studio.session("ann")
    await other.consent("ann", "REFUSED", key="once")
    assert await other.kinds() == ["consent.refused"]


async def test_there_is_no_consent_to_a_session_that_does_not_exist(studio: Studio) -> None:
    session = await studio.session("ann")
    session.chain_id = "no-such-session"
    assert await reason_of(session.consent("ann")) is Reason.CHAIN_NOT_FOUND


async def recorded(studio: Studio, *people: str, **options: Any) -> Session:
    session = await studio.session(*people)
    await session.consents(*people)
    await session.start(**options)
    return session
