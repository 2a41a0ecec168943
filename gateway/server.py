"""The HTTP server under the gateway: bounded in time and size towards slow and large clients."""

import socket
from contextlib import ExitStack
from typing import Any

from flask import Flask
from waitress.server import create_server  # type: ignore[import-untyped]  # it ships no types

from gateway.connection import Connection
from gateway.door import MAX_DOWNLOADS
from ledger.address import Address

THREADS = MAX_DOWNLOADS + 4
# With integrators, whose requests mostly wait for the services behind the gateway; of each process.
INTEGRATORS_THREADS = MAX_DOWNLOADS + 36
# A thousand events of 4 KiB, or ten of the largest; the services behind the gateway take no more than 16 MiB.
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_CONNECTIONS = 500
# A connection on which nothing moves for this long is closed.
SILENCE_SECONDS = 30
# Room for a token of 8 KiB and what else comes along.
MAX_HEADER_BYTES = 16 * 1024


def bind(address: Address, count: int = 1) -> list[socket.socket]:
    """Sockets at one address, for as many servers, among which the system shares out connections. Raises OSError.

    None of them listens yet.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # The first is there to learn whether somebody else has the address: sockets that share one would not.
    with ExitStack() as closing:
        probe = closing.enter_context(_bound(socket.socket(family, kind, protocol), where, shared=False))
        if count == 1:
            closing.pop_all()
            return [probe]
        where = probe.getsockname()
    with ExitStack() as closing:
        found = [
            closing.enter_context(_bound(socket.socket(family, kind, protocol), where, shared=True))
            for _ in range(count)
        ]
        closing.pop_all()
    return found


def _bound(one: socket.socket, where: Any, *, shared: bool) -> socket.socket:
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(where)
    except BaseException:
        one.close()
        raise
    return one


def make_server(
    app: Flask, bound: socket.socket, trusted_proxy: str | None, *, threads: int = THREADS, max_body_bytes: int = 0
) -> Any:
    """The server of `app`, listening; its `run` serves. Bodies of requests may have `max_body_bytes`."""
    proxy: dict[str, object] = {}
    if trusted_proxy:
        proxy = {
            "trusted_proxy": trusted_proxy,
            "trusted_proxy_headers": "x-forwarded-for",
            "clear_untrusted_proxy_headers": True,
        }
    server = create_server(
        app,
        sockets=[bound],
        threads=threads,
        connection_limit=MAX_CONNECTIONS,
        channel_timeout=SILENCE_SECONDS,
        max_request_header_size=MAX_HEADER_BYTES,
        max_request_body_size=max_body_bytes,
        # select() cannot watch descriptors above 1,023.
        asyncore_use_poll=True,
        ident=None,
        **proxy,
    )
    server.channel_class = Connection
    return server


def serve_until_stopped(server: Any) -> None:
    """Serve until SystemExit or KeyboardInterrupt is raised here, then finish what is under way."""
    try:
        server.run()
    finally:
        server.close()
