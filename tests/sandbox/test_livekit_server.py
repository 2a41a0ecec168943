"""Rooms, joins, leaves and signed reports through our port: with the double, and with a real LiveKit if there is one.

The real one is used when a program `livekit-server` is on the PATH; participants are then those of LiveKit's own
client, with sound and pictures. It needs no Redis for this, and so it cannot record: that is the double's alone.
"""

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from livekit import rtc

from media.errors import MediaError, Reason
from media.recordings.livekit import LiveKit
from media.recordings.livekit_values import (
    ApiKey,
    EgressStorage,
    LiveKitSettings,
    TrackSource,
    WebhookEvent,
    WebhookKind,
)
from media.recordings.livekit_webhook import read_webhook
from sandbox.livekit import LiveKitDouble, ReportReceiver
from sandbox.processes import LOOPBACK, Process, accepts_connections, free_port
from tests.sandbox.livekit_worlds import AUDIO_RATE, HEIGHT, KEY, WIDTH, DoubleWorld, ServerWorld, World, film

SERVER = shutil.which("livekit-server")
WITHOUT_SERVER = "there is no livekit-server on the PATH; the double alone is tested"
STORAGE = EgressStorage(bucket="unused", region="us-east-1")
READY_SECONDS = 90.0
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.05


@pytest.fixture(scope="module")
def receiver() -> Iterator[ReportReceiver]:
    with ReportReceiver() as running:
        yield running


@pytest.fixture(scope="module")
def double(receiver: ReportReceiver) -> Iterator[LiveKitDouble]:
    with LiveKitDouble(keys={KEY.key: KEY.secret}) as running:
        running.send_webhooks_to(f"{receiver.url}/reports")
        yield running


@pytest.fixture(scope="module")
def server_url(receiver: ReportReceiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server on the loopback interface. JSON is YAML, too."""
    if SERVER is None:
        pytest.skip(WITHOUT_SERVER)
    directory = tmp_path_factory.mktemp("livekit-server")
    port = free_port()
    configuration = {
        "port": port,
        "bind_addresses": [LOOPBACK],
        "rtc": {
            "tcp_port": free_port(),
            "udp_port": free_port(),
            "use_external_ip": False,
            "node_ip": LOOPBACK,
            "enable_loopback_candidate": True,
        },
        "keys": {KEY.key: KEY.secret},
        "webhook": {"api_key": KEY.key, "urls": [f"{receiver.url}/reports"]},
    }
    file = directory / "livekit.yaml"
    file.write_text(json.dumps(configuration))
    server = Process("LiveKit", [Path(SERVER), "--dev", "--config", file], log=directory / "log")
    try:
        server.wait_ready(lambda: accepts_connections(port), seconds=READY_SECONDS)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.stop()


@pytest.fixture(
    params=["double", pytest.param("server", marks=pytest.mark.skipif(SERVER is None, reason=WITHOUT_SERVER))]
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "double":
        yield DoubleWorld(request.getfixturevalue("double"))
        return
    real = ServerWorld(request.getfixturevalue("server_url"))
    yield real
    await real.clear()


@pytest.fixture
async def livekit(world: World) -> AsyncIterator[LiveKit]:
    async with LiveKit(LiveKitSettings(url=world.url, keys=(KEY,), storage=STORAGE)) as opened:
        yield opened


@pytest.fixture
def room() -> str:
    return f"example:{secrets.token_hex(6)}"


async def identities(livekit: LiveKit, room: str) -> list[str]:
    return sorted(participant.identity for participant in await livekit.list_participants(room))


async def until_here(livekit: LiveKit, room: str, *expected: str) -> None:
    """Wait until just these are in the room."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while await identities(livekit, room) != sorted(expected):
        assert time.monotonic() < deadline, await identities(livekit, room)
        await asyncio.sleep(LOOK_SECONDS)


async def until_reported(
    receiver: ReportReceiver, room: str, holds: Callable[[list[WebhookEvent]], bool]
) -> list[WebhookEvent]:
    """The reports about a room, verified, as soon as they are as expected."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        events = [read_webhook(body, authorization, keys=[KEY]) for body, authorization, _ in list(receiver.taken)]
        ours = [event for event in events if event.room == room]
        if holds(ours):
            return ours
        assert time.monotonic() < deadline, [(event.name, event.participant) for event in ours]
        await asyncio.sleep(LOOK_SECONDS)


def kinds(events: list[WebhookEvent]) -> list[WebhookKind]:
    return [event.kind for event in events]


async def test_who_joins_is_listed_with_what_they_publish_and_who_left_is_not(
    world: World, livekit: LiveKit, room: str
) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    await world.join(room, "operator")
    await world.join(room, "field-1", publishes=False)
    await until_here(livekit, room, "field-1", "operator")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        listed = {participant.identity: participant for participant in await livekit.list_participants(room)}
        if len(listed["operator"].tracks) == 2:
            break
        assert time.monotonic() < deadline
        await asyncio.sleep(LOOK_SECONDS)
    assert {track.source for track in listed["operator"].tracks} == {TrackSource.CAMERA, TrackSource.MICROPHONE}
    assert {track.source for track in listed["operator"].tracks if track.is_video} == {TrackSource.CAMERA}
    assert listed["field-1"].tracks == ()
    for participant in listed.values():
        assert participant.is_person
        assert participant.sid.startswith("PA_")
        assert participant.joined_at is not None
        assert began <= participant.joined_at <= datetime.now(UTC) + timedelta(seconds=1)
    await world.leave(room, "field-1")
    await until_here(livekit, room, "operator")


async def test_attributes_that_we_set_are_there_and_the_others_stay(world: World, livekit: LiveKit, room: str) -> None:
    await world.join(room, "field-1", publishes=False)
    await until_here(livekit, room, "field-1")
    await livekit.set_attributes(room, "field-1", {"indelible.recording": "yes", "indelible.tile": "1"})
    await livekit.set_attributes(room, "field-1", {"indelible.recording": "no"})
    (participant,) = await livekit.list_participants(room)
    assert dict(participant.attributes) == {"indelible.recording": "no", "indelible.tile": "1"}


async def test_a_session_is_reported_signed_and_in_order(
    world: World, livekit: LiveKit, receiver: ReportReceiver, room: str
) -> None:
    await world.join(room, "operator")
    await until_reported(receiver, room, lambda events: kinds(events).count(WebhookKind.TRACK_PUBLISHED) == 2)
    await world.leave(room, "operator")
    await until_reported(receiver, room, lambda events: WebhookKind.PARTICIPANT_LEFT in kinds(events))
    await world.close(room)
    events = await until_reported(receiver, room, lambda events: WebhookKind.ROOM_FINISHED in kinds(events))
    assert await identities(livekit, room) == []
    told = kinds(events)
    # A real server keeps the order of each room and each participant, and none between them.
    assert told.index(WebhookKind.ROOM_STARTED) < told.index(WebhookKind.ROOM_FINISHED)
    assert told.index(WebhookKind.PARTICIPANT_JOINED) < told.index(WebhookKind.PARTICIPANT_LEFT)
    assert len({event.event_id for event in events}) == len(events)
    assert len({event.room_sid for event in events}) == 1
    assert {event.participant.identity for event in events if event.participant} == {"operator"}
    assert {event.track.source for event in events if event.kind is WebhookKind.TRACK_PUBLISHED and event.track} == {
        TrackSource.CAMERA,
        TrackSource.MICROPHONE,
    }


async def test_a_report_is_refused_with_another_key_or_another_body(
    world: World, receiver: ReportReceiver, room: str
) -> None:
    await world.join(room, "operator", publishes=False)
    await until_reported(receiver, room, lambda events: WebhookKind.PARTICIPANT_JOINED in kinds(events))
    body, authorization, content_type = receiver.taken[-1]
    assert content_type == "application/webhook+json"
    for spoiled, keys in ((body + b" ", [KEY]), (body, [ApiKey(key=KEY.key, secret=secrets.token_urlsafe(32))])):
        with pytest.raises(MediaError) as refused:
            read_webhook(spoiled, authorization, keys=keys)
        assert refused.value.reason is Reason.WEBHOOK_REFUSED


async def test_who_comes_back_under_the_same_identity_has_another_sid(
    world: World, livekit: LiveKit, receiver: ReportReceiver, room: str
) -> None:
    await world.join(room, "field-1", publishes=False)
    await until_here(livekit, room, "field-1")
    (first,) = await livekit.list_participants(room)
    await world.join(room, "field-1", publishes=False)
    await until_reported(
        receiver,
        room,
        lambda events: (
            kinds(events).count(WebhookKind.PARTICIPANT_JOINED) == 2 and WebhookKind.PARTICIPANT_LEFT in kinds(events)
        ),
    )
    (second,) = await livekit.list_participants(room)
    assert (first.identity, second.identity) == ("field-1", "field-1")
    assert first.sid != second.sid


async def test_eight_can_be_in_a_room(world: World, livekit: LiveKit, room: str) -> None:
    everybody = [f"field-{number}" for number in range(8)]
    for identity in everybody:
        await world.join(room, identity, publishes=False)
    await until_here(livekit, room, *everybody)


async def test_nobody_without_the_secret_learns_who_is_in_a_room(world: World, room: str) -> None:
    await world.join(room, "operator", publishes=False)
    stranger = ApiKey(key=KEY.key, secret=secrets.token_urlsafe(32))
    async with LiveKit(LiveKitSettings(url=world.url, keys=(stranger,), storage=STORAGE)) as livekit:
        with pytest.raises(MediaError) as refused:
            await livekit.list_participants(room)
    assert refused.value.reason is Reason.LIVEKIT_REFUSED


async def test_who_is_not_there_is_refused_or_missing(livekit: LiveKit, room: str) -> None:
    assert await livekit.list_participants(room) == ()
    with pytest.raises(MediaError) as refused:
        await livekit.set_attributes(room, "nobody", {"a": "b"})
    # A real server may find nobody to ask about a room that does not exist.
    assert refused.value.metadata.get("code", "unavailable") in {"not_found", "unavailable"}


async def test_livekits_own_client_makes_tracks_and_says_when_there_is_no_server() -> None:
    world = ServerWorld(f"http://{LOOPBACK}:{free_port()}")
    filming = asyncio.create_task(film(rtc.VideoSource(WIDTH, HEIGHT), rtc.AudioSource(AUDIO_RATE, 1)))
    with pytest.raises(rtc.ConnectError):
        await world.join("room", "operator")
    assert not filming.done()
    filming.cancel()
    await asyncio.gather(filming, return_exceptions=True)
    await world.clear()
