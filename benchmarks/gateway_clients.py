"""The load of `benchmarks.gateway`: `python -m benchmarks.gateway_clients NAME SETTINGS`.

HTTP is spoken over plain sockets, kept open: a client library would cost more than the gateway.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import uvloop
from indelible.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from benchmarks.clients import drive
from benchmarks.payloads import KIND, payload

_FILLED = 500


async def fill(settings: dict[str, Any]) -> dict[str, float]:
    """A chain with events to read."""
    async with grpc.aio.insecure_channel(settings["address"]) as channel:
        stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
        metadata = (("authorization", f"Bearer {settings['token']}"),)
        await stub.OpenChain(ledger_pb2.OpenChainRequest(chain_id=settings["chain"]), metadata=metadata)
        for first in range(0, settings["events"], _FILLED):
            events = [ledger_pb2.NewEvent(kind=KIND, payload=payload(first + n)) for n in range(_FILLED)]
            request = ledger_pb2.AppendEventsRequest(
                chain_id=settings["chain"], events=events, idempotency_key=f"fill-{first}"
            )
            await stub.AppendEvents(request, metadata=metadata)
    return {}


async def grpc_get(settings: dict[str, Any]) -> dict[str, float]:
    """One event for each call."""
    async with grpc.aio.insecure_channel(settings["address"]) as channel:
        stub: Any = ledger_pb2_grpc.LedgerServiceStub(channel)
        metadata = (("authorization", f"Bearer {settings['token']}"),)

        async def once(caller: int, number: int) -> None:
            request = ledger_pb2.ListEventsRequest(
                chain_id=settings["chain"], from_sequence=_place(settings, caller, number), page_size=1
            )
            answer = await stub.ListEvents(request, metadata=metadata)
            if len(answer.events) != 1:
                raise RuntimeError("no event came back")

        return await drive(once, settings)


async def http_get(settings: dict[str, Any]) -> dict[str, float]:
    """The same through the gateway."""
    async with AsyncExitStack() as stack:
        lines = await _lines(stack, settings)

        async def once(caller: int, number: int) -> None:
            path = f"/api/v1/sessions/{settings['chain']}/events/{_place(settings, caller, number)}"
            await lines[caller].ask("GET", path, b"", 200)

        return await drive(once, settings)


async def http_post(settings: dict[str, Any]) -> dict[str, float]:
    """One event appended for each request, on a session for each caller."""
    async with AsyncExitStack() as stack:
        lines = await _lines(stack, settings)
        sessions = [f"{settings['prefix']}-{caller}" for caller in range(settings["callers"])]
        # An operator opens sessions, too.
        for line, session in zip(lines, sessions, strict=True):
            await line.ask("POST", "/api/v1/sessions", json.dumps({"session_id": session}).encode(), 201)

        async def once(caller: int, number: int) -> None:
            event = payload(caller * 100_000 + number)
            body = b'{"events":[{"kind":"%s","payload":%s}]}' % (KIND.encode(), event)
            path = f"/api/v1/sessions/{sessions[caller]}/events"
            await lines[caller].ask("POST", path, body, 201, key=f"{caller}-{number}")

        return await drive(once, settings)


class _Line:
    """One connection that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader = reader
        self._writer = writer
        self._token = token

    async def ask(self, method: str, path: str, body: bytes, expected: int, key: str = "") -> bytes:
        """The body of an answer that must have the `expected` status."""
        extra = f"Idempotency-Key: {key}\r\n" if key else ""
        extra += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {self._token}\r\n{extra}\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        content = await self._reader.readexactly(length)
        status = int(answer[9:12])
        if status != expected:
            raise RuntimeError(f"{method} {path}: {status} {content.decode()}")
        return content

    async def close(self) -> None:
        self._writer.close()


async def _lines(stack: AsyncExitStack, settings: dict[str, Any]) -> list[_Line]:
    host, _, port = settings["address"].rpartition(":")
    lines = []
    for _ in range(settings["callers"]):
        reader, writer = await asyncio.open_connection(host, int(port))
        line = _Line(reader, writer, settings["token"])
        stack.push_async_callback(line.close)
        lines.append(line)
    return lines


def _place(settings: dict[str, Any], caller: int, number: int) -> int:
    """Some event or other of the chain."""
    place: int = (caller * 7_919 + number * 31) % settings["events"] + 1
    return place


LOADS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "fill": fill,
    "grpc_get": grpc_get,
    "http_get": http_get,
    "http_post": http_post,
}

if __name__ == "__main__":
    print(json.dumps(uvloop.run(LOADS[sys.argv[1]](json.loads(sys.argv[2])))))
