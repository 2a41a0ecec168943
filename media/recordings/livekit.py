"""Our side of LiveKit: who is in a room, and starting, watching and stopping recordings.

The official library carries the calls. What it leaves to its users is done here:

- Starting twice records twice, so a start is tried once and never repeated; the library's own repetition is off. When
  no answer came, it may have been started all the same: whoever started lists what is active, and finds it by its key.
- Reading, setting attributes and stopping can be repeated, and are, ATTEMPTS times.
- An answer is bounded in time and size, and a redirection is not followed: it would carry the token elsewhere.
- What is refused comes out as MediaError and says neither keys nor tokens, which LiveKit's own texts may contain.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Self, TypeVar

import aiohttp
import structlog
from google.protobuf.message import DecodeError
from livekit.api import LiveKitAPI, ServerError
from livekit.protocol.egress import (
    EgressInfo,
    EncodedFileOutput,
    EncodedFileType,
    ListEgressRequest,
    ListEgressResponse,
    ParticipantEgressRequest,
    RoomCompositeEgressRequest,
    S3Upload,
    StopEgressRequest,
)
from livekit.protocol.models import ParticipantInfo, TokenPagination
from livekit.protocol.room import ListParticipantsRequest, UpdateParticipantRequest

from media.errors import MediaError, Reason
from media.recordings.livekit_reading import read_egress, read_participant
from media.recordings.livekit_values import Egress, EgressStorage, LiveKitSettings, Participant

ATTEMPTS = 3
PAUSE_SECONDS = 0.2  # before the second attempt; doubled each time
# A room of hundreds of participants has some 500 KB.
MAX_ANSWER_BYTES = 8 * 1024 * 1024
# At LiveKit's own page size this is more than a room can have.
MAX_PAGES = 100

_HTTP_TOO_MANY = 429
_HTTP_SERVER_ERROR = 500
_REDIRECTIONS = range(300, 400)
_PASSING = frozenset({"canceled", "deadline_exceeded", "resource_exhausted", "unavailable"})

_Answer = TypeVar("_Answer")

_log = structlog.stdlib.get_logger("livekit")


class LiveKit:
    """One LiveKit server. Make it inside a running event loop, and close it."""

    def __init__(self, settings: LiveKitSettings) -> None:
        """Raises ValueError without a key."""
        if not settings.keys:
            raise ValueError("LiveKit needs at least one API key")
        self._storage = settings.storage
        self._timeout_seconds = settings.timeout_seconds
        self._session = aiohttp.ClientSession(
            response_class=_BoundedResponse,
            middlewares=(_refuse_redirections,),
        )
        signing = settings.keys[0]
        self._api = LiveKitAPI(settings.url, signing.key, signing.secret, session=self._session, failover=False)

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    async def list_participants(self, room: str) -> tuple[Participant, ...]:
        """Who is in the room, without LiveKit's own recorders; nobody when there is no such room. Raises MediaError."""
        request = ListParticipantsRequest(room=room)
        answer = await self._repeatedly(lambda: self._api.room.list_participants(request))
        here = (one for one in answer.participants if one.state != ParticipantInfo.DISCONNECTED)
        return _readable(lambda: tuple(read_participant(one) for one in here if one.kind != ParticipantInfo.EGRESS))

    async def set_attributes(self, room: str, identity: str, attributes: Mapping[str, str]) -> None:
        """Set these attributes of a participant, and leave the others. Raises MediaError (`code`: `not_found`)."""
        request = UpdateParticipantRequest(room=room, identity=identity, attributes=attributes)
        await self._repeatedly(lambda: self._api.room.update_participant(request))

    async def list_active_egress(self, room: str) -> tuple[Egress, ...]:
        """What is being recorded in the room, or about to be, or being finished. Raises MediaError."""
        request = ListEgressRequest(room_name=room, active=True)
        found: list[Egress] = []
        for _ in range(MAX_PAGES):
            answer = await self._repeatedly(lambda: self._api.egress.list_egress(request))
            found += _egresses(answer)
            if not answer.next_page_token.token:
                # An older server does not know the filter, and answers what has ended, too.
                return tuple(egress for egress in found if egress.is_active)
            request.page_token.CopyFrom(TokenPagination(token=answer.next_page_token.token))
        raise _unavailable("LiveKit's list of recordings does not end.")

    async def get_egress(self, egress_ids: Collection[str]) -> dict[str, Egress]:
        """These recordings as they stand, by id, without those that LiveKit has forgotten. Raises MediaError."""
        found: dict[str, Egress] = {}
        for egress_id in egress_ids:
            egress = await self._one_egress(egress_id)
            if egress is not None:
                found[egress_id] = egress
        return found

    async def start_participant_egress(
        self, room: str, identity: str, *, key: str, screen_share: bool = False
    ) -> Egress:
        """Begin to record one participant into `key`; with `screen_share` their screen instead of their camera.

        Starting again records twice. Raises MediaError; LIVEKIT_UNAVAILABLE says in `started` whether it may run.
        """
        request = ParticipantEgressRequest(
            room_name=room, identity=identity, screen_share=screen_share, file_outputs=[self._file(key)]
        )
        return await self._once(lambda: self._api.egress.start_participant_egress(request))

    async def start_room_composite(self, room: str, *, key: str, layout_url: str, layout: str) -> Egress:
        """Begin to record the whole room into `key`, as the page at `layout_url` shows it when it is told `layout`.

        Starting again records twice. Raises as for a participant.
        """
        request = RoomCompositeEgressRequest(
            room_name=room, custom_base_url=layout_url, layout=layout, file_outputs=[self._file(key)]
        )
        return await self._once(lambda: self._api.egress.start_room_composite_egress(request))

    async def stop_egress(self, egress_id: str) -> Egress | None:
        """End a recording; one that has ended is answered as it ended, and one unknown to LiveKit as None.

        Raises MediaError.
        """
        request = StopEgressRequest(egress_id=egress_id)
        try:
            answer = await self._repeatedly(lambda: self._api.egress.stop_egress(request))
        except MediaError as error:
            if error.metadata.get("code") == "not_found":
                return None
            if error.metadata.get("code") != "failed_precondition":
                raise
            return await self._one_egress(egress_id)
        return _readable(lambda: read_egress(answer))

    async def _one_egress(self, egress_id: str) -> Egress | None:
        request = ListEgressRequest(egress_id=egress_id)
        try:
            answer = await self._repeatedly(lambda: self._api.egress.list_egress(request))
        except MediaError as error:
            if error.metadata.get("code") == "not_found":
                return None
            raise
        return next((egress for egress in _egresses(answer) if egress.egress_id == egress_id), None)

    async def _repeatedly(self, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Make a call that may be repeated, up to ATTEMPTS times. Raises MediaError."""
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._translated(call)
            except MediaError as error:
                if error.reason is not Reason.LIVEKIT_UNAVAILABLE:
                    raise
                _log.warning("livekit is asked again", attempt=attempt, error=error.message)
            await asyncio.sleep(PAUSE_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        return await self._translated(call)

    async def _once(self, call: Callable[[], Awaitable[EgressInfo]]) -> Egress:
        """Start an egress. Raises MediaError; when it is not known whether it was started, `started` says so."""
        try:
            answer = await self._translated(call)
            return _readable(lambda: read_egress(answer))
        except MediaError as error:
            if error.reason is not Reason.LIVEKIT_UNAVAILABLE:
                raise
            started = "no" if isinstance(error.__cause__, aiohttp.ClientConnectorError) else "unknown"
            raise MediaError(error.reason, error.message, {**error.metadata, "started": started}) from error

    async def _translated(self, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        try:
            # The library switches off whatever time-out its session has.
            async with asyncio.timeout(self._timeout_seconds):
                return await call()
        except ServerError as error:
            raise _refusal(error) from None
        except TimeoutError:
            raise _unavailable("LiveKit did not answer in time.") from None
        except aiohttp.ClientError as error:
            raise _unavailable(f"LiveKit could not be asked ({type(error).__name__}).") from error
        except (DecodeError, ValueError, AttributeError, TypeError) as error:
            # The last two: the library takes any JSON beside an HTTP error for an object of texts.
            raise _unavailable("LiveKit's answer cannot be read.") from error

    def _file(self, key: str) -> EncodedFileOutput:
        # The manifest would be one more object, of which nobody disposes.
        return EncodedFileOutput(
            file_type=EncodedFileType.MP4, filepath=key, disable_manifest=True, s3=_upload_to(self._storage)
        )


def _upload_to(storage: EgressStorage) -> S3Upload:
    return S3Upload(
        access_key=storage.access_key or "",
        secret=storage.secret_key or "",
        region=storage.region,
        endpoint=storage.endpoint_url or "",
        bucket=storage.bucket,
        # Only Amazon's own endpoint is sure to have a host name for each bucket.
        force_path_style=storage.endpoint_url is not None,
    )


def _refusal(error: ServerError) -> MediaError:
    """What LiveKit said. Its own text is left out: it repeats a token that it does not believe."""
    code = _word(error.code)
    passing = error.status >= _HTTP_SERVER_ERROR or error.status == _HTTP_TOO_MANY or code in _PASSING
    reason = Reason.LIVEKIT_UNAVAILABLE if passing else Reason.LIVEKIT_REFUSED
    return MediaError(reason, f"LiveKit refused this: {code} (HTTP status {error.status}).", {"code": code})


def _egresses(answer: ListEgressResponse) -> list[Egress]:
    return _readable(lambda: [read_egress(item) for item in answer.items])


def _readable(read: Callable[[], _Answer]) -> _Answer:
    try:
        return read()
    except ValueError as error:
        raise _unavailable(f"LiveKit's answer cannot be read: {error}.") from error


def _unavailable(message: str) -> MediaError:
    return MediaError(Reason.LIVEKIT_UNAVAILABLE, message)


def _word(code: object) -> str:
    """A code of Twirp's, which is a word; whatever else an answer has in its place is not repeated."""
    text = str(code)
    return text if len(text) <= 32 and text.replace("_", "").isalpha() and text.isascii() else "unknown"  # noqa: PLR2004 - longer than any


class _TooLargeError(aiohttp.ClientError):
    """The answer has more than MAX_ANSWER_BYTES."""


class _RedirectedError(aiohttp.ClientError):
    """The answer sends us elsewhere."""


class _BoundedResponse(aiohttp.ClientResponse):
    """An answer of at most MAX_ANSWER_BYTES; the library reads all that comes."""

    async def read(self) -> bytes:
        """The body. Raises _TooLargeError."""
        if self._body is None:
            body = bytearray()
            async for chunk in self.content.iter_any():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    self.close()
                    raise _TooLargeError(f"more than {MAX_ANSWER_BYTES} bytes")
            self._body = bytes(body)
        return self._body


async def _refuse_redirections(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    response = await handler(request)
    if response.status in _REDIRECTIONS:
        response.close()
        raise _RedirectedError(f"HTTP status {response.status}")
    return response
