"""People in rooms of a LiveKit: of the double, or of a real server, where LiveKit's own client plays everybody."""

import asyncio
import contextlib
import secrets
from typing import Protocol

from livekit import api, rtc

from media.recordings.livekit_values import ApiKey
from sandbox.livekit import LiveKitDouble

KEY = ApiKey(key="tests", secret=secrets.token_urlsafe(32))
WIDTH, HEIGHT = 160, 90
AUDIO_RATE = 48_000
PICTURE_SECONDS = 0.1


class World(Protocol):
    """A LiveKit with people who do as they are told."""

    url: str

    async def join(self, room: str, identity: str, *, publishes: bool = True) -> None:
        """Come in; with `publishes` show a camera and send a microphone's sound."""

    async def leave(self, room: str, identity: str) -> None:
        """Go."""

    async def close(self, room: str) -> None:
        """End the room."""

    async def clear(self) -> None:
        """Let everybody go."""


class DoubleWorld:
    """The double."""

    def __init__(self, double: LiveKitDouble) -> None:
        self.url = double.url
        self._double = double

    async def join(self, room: str, identity: str, *, publishes: bool = True) -> None:
        self._double.open_room(room).join(identity, publishes=publishes)

    async def leave(self, room: str, identity: str) -> None:
        self._double.open_room(room).leave(identity)

    async def close(self, room: str) -> None:
        self._double.open_room(room).close()

    async def clear(self) -> None:
        pass


class ServerWorld:
    """A real server, and LiveKit's own client for everybody."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: dict[tuple[str, str], rtc.Room] = {}
        self._everybody: list[rtc.Room] = []
        self._filming: list[asyncio.Task[None]] = []

    async def join(self, room: str, identity: str, *, publishes: bool = True) -> None:
        grants = api.VideoGrants(room_join=True, room=room)
        token = api.AccessToken(KEY.key, KEY.secret).with_identity(identity).with_grants(grants).to_jwt()
        client = rtc.Room()
        await client.connect(self.url.replace("http", "ws", 1), token)
        self._clients[room, identity] = client
        self._everybody.append(client)
        if publishes:
            await self._publish(client)

    async def leave(self, room: str, identity: str) -> None:
        await self._clients.pop((room, identity)).disconnect()

    async def close(self, room: str) -> None:
        async with api.LiveKitAPI(self.url, KEY.key, KEY.secret) as client:
            await client.room.delete_room(api.DeleteRoomRequest(room=room))

    async def clear(self) -> None:
        for task in self._filming:
            task.cancel()
        await asyncio.gather(*self._filming, return_exceptions=True)
        for client in self._everybody:
            with contextlib.suppress(Exception):  # whoever was put out has nothing left to end
                await client.disconnect()

    async def _publish(self, client: rtc.Room) -> None:
        pictures, sound = rtc.VideoSource(WIDTH, HEIGHT), rtc.AudioSource(AUDIO_RATE, 1)
        camera = rtc.LocalVideoTrack.create_video_track("camera", pictures)
        microphone = rtc.LocalAudioTrack.create_audio_track("microphone", sound)
        # A track counts as published when its first packet arrives, so filming begins first.
        self._filming.append(asyncio.create_task(film(pictures, sound)))
        as_camera = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)
        as_microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await client.local_participant.publish_track(camera, as_camera)
        await client.local_participant.publish_track(microphone, as_microphone)


async def film(pictures: rtc.VideoSource, sound: rtc.AudioSource) -> None:
    """Grey pictures and silence, until cancelled."""
    picture = rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, bytes([128]) * (WIDTH * HEIGHT * 4))
    silence = rtc.AudioFrame.create(AUDIO_RATE, 1, int(AUDIO_RATE * PICTURE_SECONDS))
    while True:
        pictures.capture_frame(picture)
        await sound.capture_frame(silence)
        await asyncio.sleep(PICTURE_SECONDS)
