"""One attempt at delivering one webhook.

The receiver is a stranger: little is read of what it answers, nothing of that is interpreted, no redirect is followed,
and it gets no more time than the limits below.
"""

import asyncio
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import httpcore
import httpx

from gateway.webhooks.reach import GuardedBackend, Network, OutOfReachError
from gateway.webhooks.signing import sign

MAX_URL_CHARACTERS = 2_048
CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
# Enough to see what a receiver complains about.
MAX_ANSWER_BYTES = 1_024
MAX_RETRY_AFTER_SECONDS = 24 * 3600
_PROBLEM_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """How one attempt went; `status` is None when there was no answer, `problem` is empty when it was accepted."""

    status: int | None
    seconds: float
    problem: str
    # The beginning of the answer's body, printable.
    answer: str
    # The receiver asked to be left alone for this long.
    retry_after_seconds: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def gone(self) -> bool:
        """Whether the receiver says that there is no such endpoint any more."""
        return self.status == HTTPStatus.GONE


class Sender:
    """Sends webhooks to where they may be sent."""

    def __init__(self, allowed: Sequence[Network] = (), *, user_agent: str = "Indelible-Webhooks/1") -> None:
        """`allowed`: networks beside the public one that the operator lets webhooks into."""
        self._allowed = tuple(allowed)
        self._user_agent = user_agent
        self._tls: ssl.SSLContext = httpx.create_ssl_context(trust_env=False)

    async def send(self, url: str, valid_secrets: Sequence[bytes], message_id: str, body: bytes) -> Attempt:
        """Try once. Never raises for what the receiver does."""
        headers = {
            "content-type": "application/json",
            "user-agent": self._user_agent,
            "accept-encoding": "identity",
            "host": urlsplit(url).netloc,
            **sign(valid_secrets, message_id, int(time.time()), body),
        }
        started = time.monotonic()
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                status, answer, retry_after = await self._post(url, headers, body)
        except OutOfReachError as error:
            return _failed(started, str(error))
        except (TimeoutError, httpcore.TimeoutException):
            return _failed(started, f"no answer within {TOTAL_SECONDS:g} seconds")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError, ssl.SSLError) as error:
            return _failed(started, f"the connection failed: {_printable(str(error)) or type(error).__name__}")
        problem = "" if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES else f"answered with status {status}"
        return Attempt(
            status=status,
            seconds=time.monotonic() - started,
            problem=problem,
            answer=_printable(answer.decode("utf-8", "replace")),
            retry_after_seconds=retry_after,
        )

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, int | None]:
        # A connection of its own each time: the address is looked at for every single message.
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            network_backend=GuardedBackend(self._allowed),
            max_connections=1,
            max_keepalive_connections=0,
        ) as connections:
            times = {"connect": CONNECT_SECONDS, "read": TOTAL_SECONDS, "write": TOTAL_SECONDS, "pool": TOTAL_SECONDS}
            async with connections.stream(
                "POST", url, headers=list(headers.items()), content=body, extensions={"timeout": times}
            ) as response:
                answer = b""
                async for piece in response.aiter_stream():
                    answer += piece
                    if len(answer) >= MAX_ANSWER_BYTES:
                        break
                return response.status, answer[:MAX_ANSWER_BYTES], _retry_after(response.headers)


def check_url(url: str, allowed: Sequence[Network] = ()) -> None:
    """Whether an endpoint may have this address at all. Raises ValueError with what to change.

    Where the name leads to is looked at when something is sent, since that can change.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the address cannot be read; give one like https://example.com/hooks") from None
    if len(url) > MAX_URL_CHARACTERS or not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError(f"the address must be at most {MAX_URL_CHARACTERS} printable ASCII characters, without spaces")
    if not parts.hostname or port == 0:
        raise ValueError("the address names no host; give one like https://example.com/hooks")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address holds a user name or password; webhooks are signed instead")
    if parts.fragment:
        raise ValueError("the address has a part after '#', which is never sent")
    # Unencrypted only where the operator allows private networks, where certificates are often not to be had.
    if parts.scheme != "https" and not (parts.scheme == "http" and allowed):
        raise ValueError("the address must begin with https://")


def _failed(started: float, problem: str) -> Attempt:
    return Attempt(status=None, seconds=time.monotonic() - started, problem=problem[:_PROBLEM_CHARACTERS], answer="")


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    values = [value for name, value in headers if name.lower() == b"retry-after"]
    if len(values) != 1 or not values[0].isdigit() or len(values[0]) > 9:  # noqa: PLR2004 - thirty years
        return None
    return min(int(values[0]), MAX_RETRY_AFTER_SECONDS)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
