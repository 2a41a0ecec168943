"""Our side of LiveKit against its double, over HTTP; and what comes out when LiveKit does not behave."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from livekit.protocol.egress import ParticipantEgressRequest
from livekit.protocol.models import ParticipantInfo

from media.errors import MediaError, Reason
from media.recordings import livekit as port
from media.recordings.livekit import LiveKit
from media.recordings.livekit_values import (
    ApiKey,
    EgressKind,
    EgressStatus,
    EgressStorage,
    LiveKitSettings,
    ParticipantKind,
    TrackSource,
)
from sandbox.livekit import ApiFaults, EgressFaults, LiveKitDouble, LiveKitRoom, Outcome
from sandbox.processes import free_port

STORAGE = EgressStorage(
    bucket="raw", region="eu-central-1", endpoint_url="http://127.0.0.1:9", access_key="AK", secret_key="SECRET-OF-S3"
)
# Ample for a busy machine; the tests of slowness take the short one.
TIMEOUT_SECONDS, SHORT_SECONDS = 60.0, 3.0


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "PAUSE_SECONDS", 0.001)


@pytest.fixture
def double() -> Iterator[LiveKitDouble]:
    with LiveKitDouble() as running:
        yield running


@pytest.fixture
def room(double: LiveKitDouble) -> LiveKitRoom:
    return double.open_room("room")


@pytest.fixture
async def livekit(double: LiveKitDouble) -> AsyncIterator[LiveKit]:
    async with LiveKit(settings_of(double)) as opened:
        yield opened


def settings_of(
    double: LiveKitDouble, *, url: str = "", secret: str = "", seconds: float = TIMEOUT_SECONDS
) -> LiveKitSettings:
    key = ApiKey(key=double.api_key, secret=secret or double.api_secret)
    return LiveKitSettings(url=url or double.url, keys=(key,), storage=STORAGE, timeout_seconds=seconds)


def calls(double: LiveKitDouble, method: str) -> int:
    return double.calls().count(method)


async def test_everybody_in_a_room_is_listed_with_what_they_show(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom
) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    sid = room.join("operator", name="Olga", attributes={"a": "b"})
    room.join("phone", kind=ParticipantInfo.SIP, publishes=False)
    room.join("helper", kind=ParticipantInfo.AGENT, publishes=False)
    room.join("EG_1", kind=ParticipantInfo.EGRESS, publishes=False)
    room.share_screen("operator")
    operator, phone, helper = await livekit.list_participants("room")
    assert (operator.identity, operator.sid, operator.name, operator.attributes) == (
        "operator",
        sid,
        "Olga",
        {"a": "b"},
    )
    assert [(track.source, track.is_video) for track in operator.tracks] == [
        (TrackSource.CAMERA, True),
        (TrackSource.MICROPHONE, False),
        (TrackSource.SCREEN_SHARE, True),
    ]
    assert operator.joined_at is not None
    assert before <= operator.joined_at <= datetime.now(UTC)
    assert (operator.shares_screen, phone.shares_screen) == (True, False)
    assert [(one.kind, one.is_person) for one in (operator, phone, helper)] == [
        (ParticipantKind.STANDARD, True),
        (ParticipantKind.SIP, True),
        (ParticipantKind.AGENT, False),
    ]
    assert await livekit.list_participants("another") == ()


async def test_attributes_are_set_and_the_others_stay(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom
) -> None:
    room.join("field-1", attributes={"language": "de"})
    await livekit.set_attributes("room", "field-1", {"indelible.recording": "yes"})
    assert double.attributes("room", "field-1") == {"language": "de", "indelible.recording": "yes"}


async def test_an_egress_is_started_watched_and_stopped(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom
) -> None:
    room.join("field-1")
    started = await livekit.start_participant_egress("room", "field-1", key="o/raw/1-1.mp4", screen_share=True)
    whole = await livekit.start_room_composite(
        "room", key="o/raw/room.mp4", layout_url="http://layout.invalid/", layout="tiles-0-2"
    )
    assert (started.status, started.kind, started.identity, started.screen_share, started.keys, started.room) == (
        EgressStatus.STARTING,
        EgressKind.PARTICIPANT,
        "field-1",
        True,
        ("o/raw/1-1.mp4",),
        "room",
    )
    assert (whole.kind, whole.identity, whole.keys) == (EgressKind.ROOM_COMPOSITE, "", ("o/raw/room.mp4",))
    active = await livekit.list_active_egress("room")
    assert [one.egress_id for one in active] == [started.egress_id, whole.egress_id]
    assert all(one.status is EgressStatus.ACTIVE and one.is_active and not one.has_ended for one in active)
    stopping = await livekit.stop_egress(started.egress_id)
    assert stopping is not None
    assert stopping.status is EgressStatus.ENDING
    double.wait_until_ended(started.egress_id)
    found = await livekit.get_egress([started.egress_id, "EG_unknown", whole.egress_id])
    assert found.keys() == {started.egress_id, whole.egress_id}
    # Nothing listens where the double should have uploaded to.
    assert found[started.egress_id].status is EgressStatus.FAILED
    assert found[started.egress_id].has_ended
    assert [one.egress_id for one in await livekit.list_active_egress("room")] == [whole.egress_id]
    assert await livekit.list_active_egress("another") == ()


async def test_livekit_is_told_where_to_upload_and_shows_the_secret_to_nobody(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom
) -> None:
    room.join("field-1")
    await livekit.start_participant_egress("room", "field-1", key="k.mp4")
    await livekit.start_room_composite("room", key="room.mp4", layout_url="http://layout.invalid/", layout="tiles-0")
    one, whole = (run.request for run in double.egress.values())
    for request in (one, whole):
        (output,) = request.file_outputs
        upload = output.s3
        assert (upload.bucket, upload.region, upload.endpoint) == ("raw", "eu-central-1", "http://127.0.0.1:9")
        assert (upload.access_key, upload.secret, upload.force_path_style) == ("AK", "SECRET-OF-S3", True)
        assert output.disable_manifest
    assert not isinstance(whole, ParticipantEgressRequest)
    # The fields that LiveKit calls deprecated stay empty.
    assert (whole.custom_base_url, whole.layout) == ("http://layout.invalid/", "tiles-0")
    assert whole.WhichOneof("output") is None
    assert "SECRET-OF-S3" not in repr(settings_of(double))
    assert double.api_secret not in repr(settings_of(double))


async def test_the_start_of_a_file_is_told_apart_from_the_start_of_its_egress(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom
) -> None:
    room.join("field-1")
    started = await livekit.start_participant_egress("room", "field-1", key="k.mp4")
    double.advance(2)
    stopped = await livekit.stop_egress(started.egress_id)
    assert stopped is not None
    (file,) = stopped.files
    assert file.started_at is not None
    assert file.ended_at is not None
    assert stopped.started_at is not None
    assert file.started_at - stopped.started_at == timedelta(milliseconds=40)
    assert file.duration_us == pytest.approx((file.ended_at - file.started_at) / timedelta(microseconds=1), abs=1)
    assert file.duration_us > 1_900_000


async def test_a_stop_can_be_repeated(double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom) -> None:
    room.join("field-1")
    started = await livekit.start_participant_egress("room", "field-1", key="k.mp4")
    double.end_egress(started.egress_id, Outcome.ABORTED)
    double.wait_until_ended(started.egress_id)
    for _ in range(2):
        stopped = await livekit.stop_egress(started.egress_id)
        assert stopped is not None
        assert stopped.status is EgressStatus.ABORTED
    assert await livekit.stop_egress("EG_unknown") is None


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.LIMIT_REACHED, EgressStatus.FAILED),  # nobody takes the upload here
        (Outcome.FAILED, EgressStatus.FAILED),
        (Outcome.ABORTED, EgressStatus.ABORTED),
    ],
)
async def test_how_an_egress_ended_is_told(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom, outcome: Outcome, status: EgressStatus
) -> None:
    double.misbehave(EgressFaults(outcome=outcome))
    room.join("field-1")
    started = await livekit.start_participant_egress("room", "field-1", key="k.mp4")
    await livekit.stop_egress(started.egress_id)
    double.wait_until_ended(started.egress_id)
    (found,) = (await livekit.get_egress([started.egress_id])).values()
    assert (found.status, found.error_code >= 400, bool(found.error)) == (status, True, True)


async def test_all_pages_of_a_long_list_are_read() -> None:
    with LiveKitDouble(page_size=2) as double:
        room = double.open_room("room")
        room.join("field-1")
        async with LiveKit(settings_of(double)) as livekit:
            started = [await livekit.start_participant_egress("room", "field-1", key=f"{n}.mp4") for n in range(5)]
            listed = await livekit.list_active_egress("room")
    assert [one.egress_id for one in listed] == [one.egress_id for one in started]


async def test_a_list_that_never_ends_is_given_up(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port, "MAX_PAGES", 2)
    double.page_size = 1
    room.join("field-1")
    for number in range(3):
        await livekit.start_participant_egress("room", "field-1", key=f"{number}.mp4")
    with pytest.raises(MediaError, match="does not end"):
        await livekit.list_active_egress("room")


@pytest.mark.parametrize(
    "faults",
    [
        ApiFaults(status=503, times=2),
        ApiFaults(status=500, times=2),
        ApiFaults(status=429, times=2),
        ApiFaults(hang_up=True, times=2),
        ApiFaults(garbage=True, times=2),
        ApiFaults(answer_lost=True, times=2),
    ],
)
async def test_what_can_be_repeated_is_repeated(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom, faults: ApiFaults
) -> None:
    room.join("field-1")
    double.trouble(faults)
    assert len(await livekit.list_participants("room")) == 1
    assert calls(double, "ListParticipants") == 3
    double.trouble(faults)
    await livekit.set_attributes("room", "field-1", {"a": "b"})
    assert double.attributes("room", "field-1") == {"a": "b"}


@pytest.mark.parametrize(
    "faults",
    [
        ApiFaults(status=503),
        ApiFaults(status=429),
        ApiFaults(status=302),
        ApiFaults(status=307),
        ApiFaults(hang_up=True),
        ApiFaults(garbage=True),
        ApiFaults(oversize=True),
    ],
)
async def test_a_livekit_that_does_not_answer_well_is_unavailable_and_a_start_is_tried_once(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom, faults: ApiFaults
) -> None:
    room.join("field-1")
    double.trouble(faults)
    with pytest.raises(MediaError) as refused:
        await livekit.start_participant_egress("room", "field-1", key="k.mp4")
    assert refused.value.reason is Reason.LIVEKIT_UNAVAILABLE
    assert refused.value.metadata["started"] == "unknown"
    assert calls(double, "StartParticipantEgress") == 1
    with pytest.raises(MediaError) as refused:
        await livekit.list_active_egress("room")
    assert refused.value.reason is Reason.LIVEKIT_UNAVAILABLE
    assert "started" not in refused.value.metadata
    assert calls(double, "ListEgress") == port.ATTEMPTS
    assert double.calls() == ["StartParticipantEgress", *["ListEgress"] * port.ATTEMPTS]


async def test_a_start_whose_answer_is_lost_is_found_by_its_key(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom
) -> None:
    room.join("field-1")
    double.trouble(ApiFaults(answer_lost=True, times=1))
    with pytest.raises(MediaError) as refused:
        await livekit.start_participant_egress("room", "field-1", key="o/raw/1-1.mp4")
    assert refused.value.metadata == {"started": "unknown"}
    (running,) = await livekit.list_active_egress("room")
    assert running.keys == ("o/raw/1-1.mp4",)


async def test_a_start_that_never_reached_livekit_says_so(double: LiveKitDouble) -> None:
    async with LiveKit(settings_of(double, url=f"http://127.0.0.1:{free_port()}")) as livekit:
        with pytest.raises(MediaError) as refused:
            await livekit.start_participant_egress("room", "field-1", key="k.mp4")
        assert refused.value.metadata == {"started": "no"}
        with pytest.raises(MediaError):
            await livekit.list_participants("room")


async def test_a_silent_livekit_costs_as_long_as_was_agreed_and_may_have_started_all_the_same(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom
) -> None:
    room.join("field-1")
    double.trouble(ApiFaults(slow_seconds=120))
    began = time.monotonic()
    async with LiveKit(settings_of(double, seconds=SHORT_SECONDS)) as impatient:
        with pytest.raises(MediaError, match="in time") as refused:
            await impatient.start_participant_egress("room", "field-1", key="k.mp4")
        assert refused.value.metadata == {"started": "unknown"}
        with pytest.raises(MediaError, match="in time"):
            await impatient.list_active_egress("room")
    assert time.monotonic() - began < 60
    assert double.calls() == ["StartParticipantEgress", *["ListEgress"] * port.ATTEMPTS]
    double.heal()
    (running,) = await livekit.list_active_egress("room")
    assert running.keys == ("k.mp4",)


async def test_a_refusal_is_not_repeated_and_tells_neither_key_nor_token(
    double: LiveKitDouble, room: LiveKitRoom
) -> None:
    room.join("field-1")
    with structlog.testing.capture_logs() as logs:
        async with LiveKit(settings_of(double, secret="w" * 40)) as livekit:
            with pytest.raises(MediaError) as refused:
                await livekit.list_participants("room")
        async with LiveKit(settings_of(double)) as livekit:
            double.trouble(ApiFaults(status=503))
            with pytest.raises(MediaError) as unavailable:
                await livekit.list_participants("room")
    assert refused.value.reason is Reason.LIVEKIT_REFUSED
    assert calls(double, "ListParticipants") == 1 + port.ATTEMPTS
    for told in (
        *(f"{one.value} {one.value.metadata} {one.value.__cause__}" for one in (refused, unavailable)),
        str(logs),
    ):
        assert "eyJ" not in told
        assert "wwww" not in told
        assert double.api_secret not in told
    assert len(logs) == port.ATTEMPTS - 1


@pytest.mark.parametrize(
    ("room_name", "identity", "code"), [("nowhere", "field-1", "not_found"), ("room", "", "invalid_argument")]
)
async def test_what_livekit_does_not_know_is_refused_with_its_word(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom, room_name: str, identity: str, code: str
) -> None:
    with pytest.raises(MediaError) as refused:
        await livekit.start_participant_egress(room_name, identity, key="k.mp4")
    assert (refused.value.reason, refused.value.metadata) == (Reason.LIVEKIT_REFUSED, {"code": code})
    with pytest.raises(MediaError) as refused:
        await livekit.set_attributes(room_name, "nobody", {"a": "b"})
    assert refused.value.metadata == {"code": "not_found"}


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"[]",
        b"5",
        b'"text"',
        b"null",
        b"{",
        b'{"code": []}',
        b'{"code": {}, "meta": 5}',
        b"[" * 100_000,
    ],
)
async def test_an_error_in_words_that_are_none_is_an_error_all_the_same(
    double: LiveKitDouble, livekit: LiveKit, words: bytes
) -> None:
    for status, reason in ((500, Reason.LIVEKIT_UNAVAILABLE), (403, Reason.LIVEKIT_REFUSED)):
        double.trouble(ApiFaults(status=status, words=words, times=1))
        with pytest.raises(MediaError) as refused:
            await livekit.start_participant_egress("room", "field-1", key="k.mp4")
        assert refused.value.reason in {reason, Reason.LIVEKIT_UNAVAILABLE}
        assert refused.value.metadata.get("code", "unknown") == "unknown"


async def test_a_participant_whose_name_cannot_be_stored_is_an_error_and_not_a_crash(
    double: LiveKitDouble, livekit: LiveKit, room: LiveKitRoom
) -> None:
    room.join("evil\nidentity")
    with pytest.raises(MediaError, match="identity has characters that cannot be printed"):
        await livekit.list_participants("room")


def test_a_livekit_without_a_key_is_refused() -> None:
    settings = LiveKitSettings(url="http://127.0.0.1", keys=(), storage=STORAGE)

    async def make() -> None:
        LiveKit(settings)

    with pytest.raises(ValueError, match="at least one API key"):
        asyncio.run(make())
