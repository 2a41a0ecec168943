"""Only LiveKit's own reports are believed, each once, and none is needed."""

import dataclasses

import pytest
from google.protobuf import json_format
from livekit.protocol.webhook import WebhookEvent

from media.errors import Reason
from sandbox.livekit import Delivery
from sandbox.livekit.webhooks import sign
from tests.media.recordings.control.studio import Session, Studio
from tests.media.recordings.control.test_control_consent import recorded


async def end_of(studio: Studio, session: Session) -> Delivery:
    """A genuine report that the egress of the only participant has ended, not taken yet."""
    (stay,) = (await session.recording()).stays
    assert stay.egress_id is not None
    await studio.take_reports()
    studio.double.end_egress(stay.egress_id)
    studio.double.wait_until_ended(stay.egress_id)
    report = studio.double.wait_for_webhook("egress_ended", egress_id=stay.egress_id)
    studio.taken = len(studio.double.webhooks())
    return report


def spoiled(studio: Studio, report: Delivery, how: str) -> Delivery:
    event = json_format.Parse(report.body, WebhookEvent())
    key, secret = studio.double.api_key, studio.double.api_secret
    if how == "signed by a stranger":
        return sign(event, key, "somebody else's secret, long enough")
    if how == "signed with another key's name":
        return sign(event, "other", secret)
    if how == "of long ago":
        event.created_at -= 3600
        return sign(event, key, secret)
    if how == "from the future":
        event.created_at += 3600
        return sign(event, key, secret)
    bodies = {
        "changed": report.body.replace(b"EGRESS_COMPLETE", b"EGRESS_ABORTED"),
        "too large": report.body + b" " * 1024 * 1024,
        "no JSON": b"\xff\xfe",
        "empty": b"",
    }
    if how in bodies:
        return dataclasses.replace(report, body=bodies[how])
    headers = {
        "without a signature": "",
        "with nonsense": "Bearer nonsense",
        "with half of it": report.authorization[:40],
    }
    return dataclasses.replace(report, authorization=headers[how])


@pytest.mark.parametrize(
    "how",
    [
        *("signed by a stranger", "signed with another key's name", "of long ago", "from the future", "changed"),
        *("too large", "no JSON", "empty", "without a signature", "with nonsense", "with half of it"),
    ],
)
async def test_a_report_that_livekit_did_not_send_now_is_refused_and_has_no_effect(studio: Studio, how: str) -> None:
    session = await recorded(studio, "ann")
    report = await end_of(studio, session)
    before = await session.recording()
    assert await studio.take(spoiled(studio, report, how)) is Reason.WEBHOOK_REFUSED
    assert await session.recording() == before
    # The genuine one is still believed.
    assert await studio.take(report) is True
    assert (await session.recording()).stays[0].outcome == "COMPLETE"


async def test_a_report_that_comes_again_is_known_and_has_no_effect(studio: Studio) -> None:
    session = await recorded(studio, "ann")
    report = await end_of(studio, session)
    assert [await studio.take(report) for _ in range(3)] == [True, False, False]
    assert (await session.kinds()).count("recording.participant_ended") == 1


async def test_reports_about_what_is_not_ours_have_no_effect(studio: Studio) -> None:
    room = studio.double.open_room("somebody-elses")
    room.join("x")
    await studio.control.livekit.start_participant_egress("somebody-elses", "x", key="elsewhere/x.mp4")
    assert set(await studio.take_reports()) == {True}
    room.close()
    assert set(await studio.take_reports()) <= {True}


async def test_a_report_that_a_room_of_the_same_name_ended_before_stops_nothing(studio: Studio) -> None:
    session = await recorded(studio, "ann")
    await studio.take_reports()
    recording = await session.recording()
    studio.double.report(
        WebhookEvent(
            event="room_finished",
            id="EV_before",
            room={"name": session.room.name, "sid": "RM_before"},
            created_at=recording.started_at // 1_000_000 - 5,
        )
    )
    assert await studio.take_reports() == [True]
    assert (await session.recording()).state == "RECORDING"


async def test_a_report_makes_the_recording_due_for_a_look_at_once(studio: Studio) -> None:
    session = await recorded(studio, "ann")
    await session.consent("bob")
    await session.attend(await session.recording())
    due = studio.control.records.attendance.due
    recording_id = (await session.recording()).recording_id
    await studio.control.records.attendance.look_again(recording_id, in_seconds=60)
    assert recording_id not in await due(1000)
    session.room.join("bob")
    await studio.take_reports()
    assert recording_id in await due(1000)
