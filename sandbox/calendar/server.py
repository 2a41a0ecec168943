"""The HTTP side: a port for each calendar and each explorer, and one by which tests and the demo move the world."""

import json
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from sandbox.calendar.faults import CalendarFaults
from sandbox.calendar.world import World
from sandbox.doubles import DoubleHandler, DoubleServer

MAX_REQUEST_BYTES = 4096
OVERSIZE_BYTES = 1024 * 1024
_TIMESTAMP = re.compile(r"/timestamp/([0-9a-f]{2,512})")
_BLOCK_AT = re.compile(r"/block-height/([0-9]{1,9})")
_HEADER = re.compile(r"/block/([0-9a-f]{64})/header")

Answer = tuple[HTTPStatus, bytes]
_NOT_FOUND: Answer = (HTTPStatus.NOT_FOUND, b"Not found")


class Desk(Protocol):
    """Answers GET and POST; `faults` is what it does wrong at the moment."""

    @property
    def faults(self) -> CalendarFaults:
        """What it does wrong."""

    def get(self, path: str) -> Answer:
        """Answer a GET."""

    def post(self, path: str, body: bytes) -> Answer:
        """Answer a POST."""


class Server(DoubleServer):
    """One port."""

    def __init__(self, make_desk: Callable[[str], Desk]) -> None:
        super().__init__(_Handler)
        self.desk = make_desk(self.url)


class CalendarDesk:
    """The interface of a calendar: POST /digest, GET /timestamp/HEX."""

    def __init__(self, world: World, number: int, url: str) -> None:
        self._world = world
        self._calendar = world.calendars[number]
        self._url = url

    @property
    def faults(self) -> CalendarFaults:
        """What the calendar does wrong."""
        return self._calendar.faults

    def get(self, path: str) -> Answer:
        """The path from a promise to its block."""
        found = _TIMESTAMP.fullmatch(path)
        if found is None or len(found[1]) % 2:
            return _NOT_FOUND
        with self._world.lock:
            answer = self._calendar.timestamp(bytes.fromhex(found[1]))
        return (HTTPStatus.NOT_FOUND, b"Pending confirmation in Bitcoin blockchain") if answer is None else _ok(answer)

    def post(self, path: str, body: bytes) -> Answer:
        """Take a digest."""
        if path != "/digest" or not 0 < len(body) <= 64:  # noqa: PLR2004  # as real calendars
            return HTTPStatus.BAD_REQUEST, b"digest too long"
        with self._world.lock:
            return _ok(self._calendar.submit(body, self._url))


class ExplorerDesk:
    """What is needed of an explorer's interface: the tip, a block's hash by its height, and its header."""

    def __init__(self, world: World, number: int, _url: str) -> None:
        self._world = world
        self._number = number

    @property
    def faults(self) -> CalendarFaults:
        """What the explorer does wrong."""
        return self._world.explorers[self._number]

    def get(self, path: str) -> Answer:
        """Answer from the chain."""
        with self._world.lock:
            chain = self._world.chain
            if path == "/blocks/tip/height":
                return _ok(str(chain.tip).encode())
            if found := _BLOCK_AT.fullmatch(path):
                block = chain.block(int(found[1]) - (1 if self.faults.wrong_block else 0))
                return _NOT_FOUND if block is None else _ok(block.hash[::-1].hex().encode())
            if found := _HEADER.fullmatch(path):
                headers = [block.header for block in chain.blocks if block.hash[::-1].hex() == found[1]]
                return _ok(headers[0].hex().encode()) if headers else _NOT_FOUND
        return _NOT_FOUND

    def post(self, path: str, body: bytes) -> Answer:  # noqa: ARG002  # nothing can be posted
        """Nothing."""
        return _NOT_FOUND


class ControlDesk:
    """POST /mine, /faults, /forget, /heal: move the world. GET /status: what it looks like; /headers: a header file."""

    faults = CalendarFaults()

    def __init__(self, world: World, _url: str) -> None:
        self._world = world

    def get(self, path: str) -> Answer:
        """The world's state, as far as tests and the demo ask for it."""
        with self._world.lock:
            if path == "/headers":
                blocks = self._world.chain.blocks
                return _ok("".join(f"{block.height} {block.header.hex()}\n" for block in blocks).encode())
            if path == "/status":
                submitted = [[digest.hex() for digest in calendar.submitted] for calendar in self._world.calendars]
                return _ok(json.dumps({"height": self._world.chain.tip, "submitted": submitted}).encode())
        return _NOT_FOUND

    def post(self, path: str, body: bytes) -> Answer:
        """Move the world."""
        order = json.loads(body)
        match path:
            case "/mine":
                for _ in range(order["count"]):
                    self._world.mine()
            case "/forget":
                with self._world.lock:
                    for number in order["calendars"]:
                        self._world.calendars[number].forget()
            case "/faults":
                self._set_faults(CalendarFaults(**order["faults"]), order["calendars"], order["explorers"])
            case "/heal":
                every = range(len(self._world.calendars)), range(len(self._world.explorers))
                self._set_faults(CalendarFaults(), *map(list, every))
            case _:
                return _NOT_FOUND
        return _ok(b"{}")

    def _set_faults(self, faults: CalendarFaults, calendars: list[int], explorers: list[int]) -> None:
        with self._world.lock:
            for number in calendars:
                self._world.calendars[number].faults = faults
            for number in explorers:
                self._world.explorers[number] = faults


class _Handler(DoubleHandler):
    server: Server
    max_request_bytes = MAX_REQUEST_BYTES

    def answer_get(self) -> None:
        self._serve(lambda: self.server.desk.get(self.path))

    def answer_post(self, body: bytes) -> None:
        self._serve(lambda: self.server.desk.post(self.path, body))

    def _serve(self, answer: Callable[[], Answer]) -> None:
        faults = self.server.desk.faults
        time.sleep(faults.slow_seconds)
        if faults.down:
            self.hang_up()
        elif faults.status:
            self._reply((HTTPStatus(faults.status), b"no"))
        elif faults.garbage:
            self._reply((HTTPStatus.OK, b"\xf0\x00<html>\xff\xff"))
        elif faults.oversize:
            self._reply((HTTPStatus.OK, b"\x08" * OVERSIZE_BYTES))
        else:
            self._reply(answer(), cut=faults.truncated)

    def _reply(self, answer: Answer, *, cut: bool = False) -> None:
        status, body = answer
        moved = status in {HTTPStatus.FOUND, HTTPStatus.MOVED_PERMANENTLY}
        headers = {"Location": "/elsewhere"} if moved else None
        self.reply(status, body, media_type="application/octet-stream", cut=cut, headers=headers)


def _ok(body: bytes) -> Answer:
    return HTTPStatus.OK, body
