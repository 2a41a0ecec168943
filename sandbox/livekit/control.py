"""The door by which the demo, and whoever runs `indelible up`, move the rooms: POST /ORDER with a JSON object, GET /.

open_room    room                                 advance     seconds
join         room, identity, name?, attributes?   misbehave   faults, identity?
leave        room, identity                       trouble     faults
reconnect    room, identity, egress_ends?         heal
share_screen, stop_sharing   room, identity       end_egress  egress_id, outcome?
close_room   room                                 send_webhooks_to  urls
"""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from google.protobuf import json_format

from sandbox.doubles import DoubleHandler, DoubleServer
from sandbox.livekit.double import LiveKitDouble
from sandbox.livekit.faults import ApiFaults, EgressFaults, Outcome, Upload

MAX_REQUEST_BYTES = 64 * 1024


class ControlServer(DoubleServer):
    """The door of one double."""

    def __init__(self, double: LiveKitDouble) -> None:
        super().__init__(_Handler)
        self.double = double
        self.orders = _orders(double)


def _orders(double: LiveKitDouble) -> Mapping[str, Callable[..., object]]:
    def in_room(method: str) -> Callable[..., object]:
        return lambda room, **details: getattr(double.open_room(room), method)(**details)

    return {
        "open_room": lambda room: double.open_room(room).name,
        "join": in_room("join"),
        "leave": in_room("leave"),
        "reconnect": in_room("reconnect"),
        "share_screen": in_room("share_screen"),
        "stop_sharing": in_room("stop_sharing"),
        "close_room": in_room("close"),
        "advance": lambda seconds: double.advance(float(seconds)),
        "misbehave": lambda faults, identity=None: double.misbehave(_egress_faults(faults), identity=identity),
        "trouble": lambda faults: double.trouble(ApiFaults(**faults)),
        "heal": double.heal,
        "end_egress": lambda egress_id, outcome=Outcome.COMPLETE: double.end_egress(egress_id, Outcome(outcome)),
        "send_webhooks_to": lambda urls: double.send_webhooks_to(*urls),
    }


def _egress_faults(told: Mapping[str, Any]) -> EgressFaults:
    faults = dict(told)
    for name, read in (("outcome", Outcome), ("upload", Upload), ("lost", frozenset), ("duplicated", frozenset)):
        if name in faults:
            faults[name] = read(faults[name])
    return EgressFaults(**faults)


def _status(double: LiveKitDouble) -> dict[str, object]:
    with double.lock:
        rooms = {
            name: {identity: dict(member.info.attributes) for identity, member in room.members.items()}
            for name, room in double.rooms.items()
        }
    return {
        "rooms": rooms,
        "egress": [json_format.MessageToDict(info) for info in double.egresses()],
        "webhooks": [delivery.event for delivery in double.webhooks()],
        "webhook_statuses": double.webhook_statuses(),
    }


class _Handler(DoubleHandler):
    server: ControlServer
    max_request_bytes = MAX_REQUEST_BYTES

    def answer_get(self) -> None:
        self._say(HTTPStatus.OK, _status(self.server.double))

    def answer_post(self, body: bytes) -> None:
        order = self.server.orders.get(self.path.removeprefix("/"))
        if order is None:
            self._say(HTTPStatus.NOT_FOUND, {"error": "no such order"})
            return
        try:
            answer = order(**json.loads(body))
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            self._say(HTTPStatus.BAD_REQUEST, {"error": f"{type(error).__name__}: {error}"})
        else:
            self._say(HTTPStatus.OK, {"answer": answer})

    def _say(self, status: HTTPStatus, what: dict[str, object]) -> None:
        self.reply(status, json.dumps(what).encode(), media_type="application/json")
