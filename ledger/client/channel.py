"""The connection of a client: address, encryption, token, deadlines and retries."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from cryptography.x509 import load_pem_x509_certificates

from ledger.address import Address
from ledger.client.errors import from_rpc_error

Answer = TypeVar("Answer")
# Headers of one call: names and values.
Metadata = tuple[tuple[str, str], ...]

DEFAULT_TIMEOUT_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0
# As the service's own limit: whole pages and batches fit.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A silent network is noticed within a minute and a half, also while a stream has nothing to say.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Retries are ours: gRPC's own know nothing of idempotency keys.
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientTls:
    """PEM bytes: the CA to trust (None: the public ones), and, for mutual TLS, this client's certificate and key."""

    certificate_authority: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a certificate authority that is none: gRPC would only say that nobody answers."""
        if self.certificate_authority is not None:
            try:
                load_pem_x509_certificates(self.certificate_authority)
            except ValueError as error:
                raise ValueError("the certificate authority is not a certificate in PEM") from error


class Connection:
    """A channel to one service with a caller's token."""

    def __init__(
        self,
        address: str,
        token: str | Callable[[], str] | None,
        tls: ClientTls | None,
        timeout_seconds: float,
        *,
        service: str = "ledger",
    ) -> None:
        """`service` is what error messages call the other side.

        Raises ValueError for an address that is not HOST:PORT, or that lies beyond this machine without TLS.
        """
        self.address = address
        self.name = f"{service} at {address}"
        self._token = token
        self._timeout_seconds = timeout_seconds
        if tls is not None:
            credentials = grpc.ssl_channel_credentials(tls.certificate_authority, tls.key, tls.certificate)
            self.channel = grpc.aio.secure_channel(address, credentials, options=OPTIONS)
        elif Address.parse(address).is_loopback:
            self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        else:
            raise ValueError(f"{address} is not on this machine: a token may only be sent there over TLS")

    async def close(self) -> None:
        """Close the channel; running calls end."""
        await self.channel.close()

    def metadata(self) -> Metadata:
        """The headers of a call, with the token as it is now."""
        if self._token is None:
            return ()
        token = self._token if isinstance(self._token, str) else self._token()
        return (("authorization", f"Bearer {token}"),)

    async def call(
        self,
        method: Callable[..., Awaitable[Answer]],
        request: Any,
        *,
        timeout_seconds: float | None = None,
        retry: bool = True,
        metadata: Metadata | None = None,
    ) -> Answer:
        """One unary call, repeated with growing pauses while it fails in passing and time is left. Raises ClientError.

        Only calls that may be carried out twice without harm are to be retried. `metadata` stands for the connection's
        own headers: a program that speaks for many callers sends each one's token.
        """
        deadline = time.monotonic() + (timeout_seconds or self._timeout_seconds)
        attempt = 0
        while True:
            try:
                return await method(
                    request,
                    timeout=max(deadline - time.monotonic(), 0.001),
                    metadata=self.metadata() if metadata is None else metadata,
                )
            except grpc.aio.AioRpcError as rpc_error:
                error = from_rpc_error(rpc_error, self.name)
            pause = pause_seconds(attempt)
            attempt += 1
            if not (retry and error.retryable) or time.monotonic() + pause >= deadline:
                raise error
            await asyncio.sleep(pause)


def pause_seconds(attempt: int) -> float:
    """How long to wait after failure number `attempt`, from 0: doubling, and random, so that not all return at once."""
    longest = min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 16), LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
