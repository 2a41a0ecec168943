"""A receiver of webhooks on loopback that behaves as told: it speaks real HTTP and can be as rude as it likes."""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Received:
    """One request."""

    headers: dict[str, str]
    body: bytes
    path: str


@dataclass
class Receiver:
    """Answers every request with the next of `answers`, the last of them for ever. An answer is sent as it stands."""

    answers: list[bytes] = field(default_factory=lambda: [answer(200)])
    tls: ssl.SSLContext | None = None
    hold_seconds: float = 0.0
    received: list[Received] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?x=1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.received.append(Received(headers=headers, body=body, path=head[0].split(" ")[1]))
            await asyncio.sleep(self.hold_seconds)
            writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """An HTTP answer."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
