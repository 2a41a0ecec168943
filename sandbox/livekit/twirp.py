"""The HTTP side: Twirp calls with protobuf (or its JSON form), tokens checked as LiveKit checks them."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jwt
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from livekit.api import TokenVerifier, VideoGrants
from livekit.protocol import egress as wire_egress
from livekit.protocol import room as wire_room
from livekit.protocol.models import ParticipantInfo, Room, TokenPagination

from sandbox.doubles import DoubleHandler, DoubleServer
from sandbox.livekit.egress import Request
from sandbox.livekit.rooms import LiveKitRoom
from sandbox.livekit.world import RoomState

if TYPE_CHECKING:
    from sandbox.livekit.double import LiveKitDouble
    from sandbox.livekit.faults import ApiFaults

MAX_REQUEST_BYTES = 1024 * 1024
OVERSIZE_BYTES = 16 * 1024 * 1024
_PREFIX = "/twirp/livekit."
_JSON, _PROTOBUF = "application/json", "application/protobuf"

NOT_FOUND, PRECONDITION, INVALID = "not_found", "failed_precondition", "invalid_argument"
_STATUSES: Mapping[str, HTTPStatus] = MappingProxyType(
    {
        NOT_FOUND: HTTPStatus.NOT_FOUND,
        PRECONDITION: HTTPStatus.PRECONDITION_FAILED,
        INVALID: HTTPStatus.BAD_REQUEST,
        "malformed": HTTPStatus.BAD_REQUEST,
        "unauthenticated": HTTPStatus.UNAUTHORIZED,
        "bad_route": HTTPStatus.NOT_FOUND,
        "unimplemented": HTTPStatus.NOT_IMPLEMENTED,
    }
)


class TwirpError(Exception):
    """A call that is refused: a code of Twirp's, and words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TwirpServer(DoubleServer):
    """LiveKit's port."""

    def __init__(self, double: "LiveKitDouble") -> None:
        super().__init__(_Handler)
        self.double = double
        self.methods = {**_room_methods(double), **_egress_methods(double)}


# What a call takes, what its token must permit, and what it does.
_Method = tuple[type[Message], Callable[[VideoGrants, Any], bool], Callable[[Any], Message]]


def _room_methods(double: "LiveKitDouble") -> dict[str, _Method]:
    """RoomService. A room's administration needs the grant for that very room."""

    def administers(grants: VideoGrants, request: Any) -> bool:
        return bool(grants.room_admin) and grants.room == request.room

    def create(request: wire_room.CreateRoomRequest) -> Room:
        double.open_room(request.name)
        return double.rooms[request.name].info

    def list_rooms(request: wire_room.ListRoomsRequest) -> wire_room.ListRoomsResponse:
        rooms = [room.info for name, room in double.rooms.items() if not request.names or name in request.names]
        return wire_room.ListRoomsResponse(rooms=rooms)

    def delete(request: wire_room.DeleteRoomRequest) -> wire_room.DeleteRoomResponse:
        LiveKitRoom(double, _room(double, request.room)).close()
        return wire_room.DeleteRoomResponse()

    def list_participants(request: wire_room.ListParticipantsRequest) -> wire_room.ListParticipantsResponse:
        room = double.rooms.get(request.room)
        members = room.members.values() if room else ()
        return wire_room.ListParticipantsResponse(participants=[member.info for member in members])

    def get(request: wire_room.RoomParticipantIdentity) -> ParticipantInfo:
        return _participant(double, request.room, request.identity)

    def remove(request: wire_room.RoomParticipantIdentity) -> wire_room.RemoveParticipantResponse:
        _participant(double, request.room, request.identity)
        LiveKitRoom(double, double.rooms[request.room]).leave(request.identity)
        return wire_room.RemoveParticipantResponse()

    def update(request: wire_room.UpdateParticipantRequest) -> ParticipantInfo:
        participant = _participant(double, request.room, request.identity)
        participant.metadata = request.metadata or participant.metadata
        participant.name = request.name or participant.name
        double.rooms[request.room].set_attributes(request.identity, request.attributes)
        return participant

    return {
        "RoomService/CreateRoom": (wire_room.CreateRoomRequest, lambda may, _: bool(may.room_create), create),
        "RoomService/ListRooms": (wire_room.ListRoomsRequest, lambda may, _: bool(may.room_list), list_rooms),
        "RoomService/DeleteRoom": (wire_room.DeleteRoomRequest, lambda may, _: bool(may.room_create), delete),
        "RoomService/ListParticipants": (wire_room.ListParticipantsRequest, administers, list_participants),
        "RoomService/GetParticipant": (wire_room.RoomParticipantIdentity, administers, get),
        "RoomService/RemoveParticipant": (wire_room.RoomParticipantIdentity, administers, remove),
        "RoomService/UpdateParticipant": (wire_room.UpdateParticipantRequest, administers, update),
    }


def _egress_methods(double: "LiveKitDouble") -> dict[str, _Method]:
    """Egress. One grant is enough for all of it."""

    def records(grants: VideoGrants, _request: Message) -> bool:
        return bool(grants.room_record)

    def of_participant(request: wire_egress.ParticipantEgressRequest) -> wire_egress.EgressInfo:
        if not request.identity:
            raise TwirpError(INVALID, "identity cannot be empty")
        return double.start_egress(_recordable(double, request), request, request.identity)

    def of_room(request: wire_egress.RoomCompositeEgressRequest) -> wire_egress.EgressInfo:
        return double.start_egress(_recordable(double, request), request, "")

    def list_egress(request: wire_egress.ListEgressRequest) -> wire_egress.ListEgressResponse:
        if request.egress_id:
            if request.egress_id not in double.egress:
                raise TwirpError(NOT_FOUND, "egress does not exist")
            return wire_egress.ListEgressResponse(items=[double.egress[request.egress_id].info])
        runs = [
            run
            for run in double.egress.values()
            if request.room_name in {"", run.info.room_name} and (run.is_active or not request.active)
        ]
        return _page([run.info for run in runs], request, double.page_size)

    def stop(request: wire_egress.StopEgressRequest) -> wire_egress.EgressInfo:
        return double.stop_egress(request.egress_id)

    return {
        "Egress/StartParticipantEgress": (wire_egress.ParticipantEgressRequest, records, of_participant),
        "Egress/StartRoomCompositeEgress": (wire_egress.RoomCompositeEgressRequest, records, of_room),
        "Egress/ListEgress": (wire_egress.ListEgressRequest, records, list_egress),
        "Egress/StopEgress": (wire_egress.StopEgressRequest, records, stop),
    }


def _page(
    infos: list[wire_egress.EgressInfo], request: wire_egress.ListEgressRequest, size: int
) -> wire_egress.ListEgressResponse:
    if not size:
        return wire_egress.ListEgressResponse(items=infos)
    first = int(request.page_token.token or 0)
    answer = wire_egress.ListEgressResponse(items=infos[first : first + size])
    if first + size < len(infos):
        answer.next_page_token.CopyFrom(TokenPagination(token=str(first + size)))
    return answer


def _room(double: "LiveKitDouble", name: str) -> RoomState:
    if name not in double.rooms:
        raise TwirpError(NOT_FOUND, "requested room does not exist")
    return double.rooms[name]


def _participant(double: "LiveKitDouble", room: str, identity: str) -> ParticipantInfo:
    state = double.rooms.get(room)
    if state is None or identity not in state.members:
        raise TwirpError(NOT_FOUND, "participant does not exist")
    return state.members[identity].info


def _recordable(double: "LiveKitDouble", request: Request) -> RoomState:
    if len(request.file_outputs) != 1:
        raise TwirpError(INVALID, "request must include exactly one file output")
    return _room(double, request.room_name)


class _Handler(DoubleHandler):
    server: TwirpServer
    max_request_bytes = MAX_REQUEST_BYTES

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        """As the other doubles, but a request of no bytes is one in which every field has its default."""
        if self.headers.get("Content-Length", "").strip() == "0":
            self.answer_post(b"")
        else:
            super().do_POST()

    def answer_get(self) -> None:
        self.reply(HTTPStatus.OK, b"OK", media_type="text/plain")

    def answer_post(self, body: bytes) -> None:
        name = self.path.removeprefix(_PREFIX)
        faults = self.server.double.trouble_of(name.partition("/")[2])
        if self._is_spoiled(faults):
            return
        media_type = self.headers.get("Content-Type", "")
        try:
            grants = self._grants()
            status, answer = HTTPStatus.OK, self._carry_out(name, body, media_type, grants)
        except _NoTokenError as refusal:
            # LiveKit's door answers in plain words, and repeats the token; only what lies behind it speaks Twirp.
            self.reply(HTTPStatus.UNAUTHORIZED, str(refusal).encode(), media_type="text/plain")
            return
        except TwirpError as refusal:
            status, media_type = _STATUSES[refusal.code], _JSON
            answer = json.dumps({"code": refusal.code, "msg": refusal.message}).encode()
        time.sleep(faults.slow_seconds)
        if faults.answer_lost:
            self.hang_up()
        else:
            self.reply(status, answer, media_type=media_type)

    def _is_spoiled(self, faults: "ApiFaults") -> bool:
        if faults.hang_up:
            self.hang_up()
        elif faults.status:
            self.reply(HTTPStatus(faults.status), faults.words, media_type=_JSON, headers={"Location": "/elsewhere"})
        elif faults.garbage:
            self.reply(HTTPStatus.OK, b"\xff\xff<html>", media_type=_PROTOBUF)
        elif faults.oversize:
            with contextlib.suppress(OSError):
                self.reply(HTTPStatus.OK, bytes(OVERSIZE_BYTES), media_type=_PROTOBUF)
        else:
            return False
        return True

    def _grants(self) -> VideoGrants:
        """What the token permits; nothing without one. Raises _NoTokenError for one that is not valid."""
        header = self.headers.get("Authorization", "")
        if not header:
            return VideoGrants()
        if not header.startswith("Bearer "):
            raise _NoTokenError("invalid authorization header. Must start with Bearer ")
        token = header.removeprefix("Bearer ")
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
            secret = self.server.double.keys.get(issuer) if isinstance(issuer, str) else None
            if secret is None:
                raise _NoTokenError(f"invalid API key: {issuer}")
            return TokenVerifier(issuer, secret).verify(token).video or VideoGrants()
        except jwt.PyJWTError as error:
            raise _NoTokenError(f"invalid token: {token}, error: {error}") from error

    def _carry_out(self, name: str, body: bytes, media_type: str, grants: VideoGrants) -> bytes:
        method = self.server.methods.get(name)
        if method is None:
            raise TwirpError("bad_route", f"no handler for path {self.path!r}")
        request_type, permitted, carry_out = method
        request = request_type()
        try:
            if media_type == _JSON:
                json_format.Parse(body, request, ignore_unknown_fields=True)
            elif media_type == _PROTOBUF:
                request.ParseFromString(body)
            else:
                raise TwirpError("bad_route", f"unexpected Content-Type: {media_type!r}")
        except (DecodeError, json_format.ParseError) as error:
            raise TwirpError("malformed", "the request cannot be decoded") from error
        if not permitted(grants, request):
            raise TwirpError("unauthenticated", "permissions denied")
        with self.server.double.lock:
            answer = carry_out(request)
            if media_type == _JSON:
                return json_format.MessageToJson(answer, indent=None).encode()
            return answer.SerializeToString()


class _NoTokenError(Exception):
    """The token is none that could permit anything."""
