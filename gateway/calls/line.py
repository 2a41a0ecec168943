"""The gateway's connections to the services behind it, shared by every thread that serves.

These are gRPC's own blocking channels: a call waits in the thread that asked. The asyncio client on a thread of its own
that `ledger.client` offers to programs takes four changes of threads a call, which made requests cost a third more.
"""

import random
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import grpc

from ledger.address import Address
from ledger.client import ClientTls
from ledger.client.channel import OPTIONS, Metadata
from ledger.client.errors import ClientError, from_rpc_error

Answer = TypeVar("Answer")

# Nobody in front of a browser or an integration waits longer for one call.
CALL_SECONDS = 10.0
# Before the one repetition: a service that was restarted, or is busy, may be there again.
PAUSE_SECONDS = (0.1, 0.3)
# What took this long to fail is not repeated: whoever asked has waited nearly as long as for a call that is given up.
REPEATED_WITHIN_SECONDS = 7.0
# As the services allow: reading stored files back, and writing a whole bundle.
LONG_CALL_SECONDS = 1_800.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Whom a call speaks for: a token that the services believe, and the request that it serves.

    Without a token a call speaks for nobody: what it carries is permission enough.
    """

    token: str | None
    request_id: str

    @property
    def metadata(self) -> Metadata:
        """The headers of a call."""
        about = ("x-request-id", self.request_id)
        return (about,) if self.token is None else (("authorization", f"Bearer {self.token}"), about)


class Line:
    """The connections. `close`, or leaving the context, ends them and what runs on them."""

    def __init__(self) -> None:
        self._channels: list[grpc.Channel] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, address: str, *, tls: ClientTls | None, service: str) -> "Wire":
        """A connection; nothing is sent yet. `service` is what errors call the other side.

        Raises ValueError for an address that is not HOST:PORT, or that lies beyond this machine without TLS.
        """
        if tls is not None:
            credentials = grpc.ssl_channel_credentials(tls.certificate_authority, tls.key, tls.certificate)
            channel = grpc.secure_channel(address, credentials, options=OPTIONS)
        elif Address.parse(address).is_loopback:
            channel = grpc.insecure_channel(address, options=OPTIONS)
        else:
            raise ValueError(f"{address} is not on this machine: a token may only be sent there over TLS")
        self._channels.append(channel)
        return Wire(channel, f"{service} at {address}")

    def close(self) -> None:
        """End everything; calling it again is harmless."""
        for channel in self._channels:
            channel.close()


class Wire:
    """One connection to one service, for any number of threads."""

    def __init__(self, channel: grpc.Channel, name: str) -> None:
        self.channel = channel
        self._name = name

    def call(
        self, method: Callable[..., Any], request: Any, identity: Identity, *, retry: bool = True, long: bool = False
    ) -> Any:
        """The answer of a unary method. `retry`: doing it twice does no harm. Raises ClientError."""
        seconds = LONG_CALL_SECONDS if long else CALL_SECONDS
        if retry:
            return twice(lambda: self.once(method, request, identity, seconds))
        return self.once(method, request, identity, seconds)

    def once(self, method: Callable[..., Any], request: Any, identity: Identity, seconds: float = CALL_SECONDS) -> Any:
        """The answer of a unary method that is not repeated. Raises ClientError."""
        try:
            return method(request, timeout=seconds, metadata=identity.metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._name) from None

    def stream(self, method: Callable[..., Any], request: Any, identity: Identity) -> Iterator[bytes]:
        """The pieces of a file. The first has arrived on return, so that a refusal is raised here: ClientError.

        An error further on is raised where the pieces are taken.
        """
        pieces = self._chunks(method, request, identity)
        return _Begun(next(pieces, b""), pieces)

    def _chunks(self, method: Callable[..., Any], request: Any, identity: Identity) -> Generator[bytes, None, None]:
        call = method(request, timeout=LONG_CALL_SECONDS, metadata=identity.metadata)
        try:
            for message in call:
                yield message.data
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._name) from None
        finally:
            call.cancel()


def twice(attempt: Callable[[], Answer]) -> Answer:
    """What `attempt` gives, once more if it fails with what may pass. Raises ClientError.

    It is repeated once after a moment and no more: a service that is away must not hold every thread there is.
    """
    began = time.monotonic()
    try:
        return attempt()
    except ClientError as error:
        if not error.retryable or time.monotonic() - began > REPEATED_WITHIN_SECONDS:
            raise
    time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311 - spreads load, guards nothing
    return attempt()


class _Begun(Iterator[bytes]):
    """A file whose first piece has arrived; closing it ends the call, also when nothing was taken."""

    def __init__(self, first: bytes, rest: Generator[bytes, None, None]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    def __next__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._rest)

    def close(self) -> None:
        """Called by whoever does not want more."""
        self._rest.close()
