"""Requests that arrive over JetStream, in a work queue that any number of processes empty side by side.

What becomes of a request:
1. carried out, or carried out before: acknowledged, after the commit;
2. it cannot be done now (database away, overloaded): left in the queue, delivered again after a growing pause, for as
   long as it takes;
3. it can never be done (bad token, bad content): copied to the dead stream with the reason, then removed;
4. an unforeseen error, or a token signed with a key the issuer has not published yet: as 2, but after
   MAX_UNFORESEEN_DELIVERIES as 3, so that one request cannot occupy the service for ever.

Requests are started in the order of their arrival but run side by side, in one process or many.
"""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from prometheus_client import Counter

from ledger.errors import LedgerError, Reason
from ledger.identity import Authenticator, Caller, UnauthenticatedError
from ledger.messaging.connection import connected, describe, keep_working
from ledger.messaging.pull import Puller
from ledger.messaging.streams import ACK_WAIT_SECONDS, DEAD_STREAM, DEAD_SUBJECT, Queue, declare_queue
from ledger.refusals import RefusedError

Content = TypeVar("Content", bound=Message)

HEARTBEAT_SECONDS = ACK_WAIT_SECONDS / 3
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0
# About a quarter of an hour of tries, with the pauses above.
MAX_UNFORESEEN_DELIVERIES = 20
MAX_HEADER_CHARACTERS = 500
_DEAD_HEADER_BYTES = 4096  # more than the headers of a dead letter can take

_BINARY_TYPES = frozenset({"", "application/protobuf", "application/x-protobuf", "application/octet-stream"})
_JSON_TYPE = "application/json"

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How a service empties its queue.

    `carry_out` does what one request asks and says in a word how that ended, for the metrics; it raises RefusedError.
    `passing`: reasons that pass by themselves. `lanes`: requests in flight in one process. `outcomes` counts by that
    word, or postponed or dead.
    """

    name: str
    queue: Queue
    carry_out: Callable[[Msg], Awaitable[str]]
    passing: frozenset[str]
    lanes: int
    outcomes: Counter


async def run_work(work: Work, nats_url: str, stop: asyncio.Event) -> None:
    """Carry requests out until `stop` is set; then finish those under way and return.

    Survives the loss of NATS and of whatever the work needs: requests stay in the queue meanwhile.
    """

    async def empty_queue() -> None:
        async with connected(nats_url, work.name) as client:
            stream = client.jetstream()
            await declare_queue(stream, work.queue)
            _log.info("inbox_ready", stream=work.queue.stream)
            async with asyncio.TaskGroup() as lanes:
                for _ in range(work.lanes):
                    lanes.create_task(_work_lane(work, client, stream, stop))

    await keep_working(work.name, empty_queue, stop)


async def authenticate(authenticator: Authenticator, message: Msg) -> Caller:
    """Whom the token in a message's header speaks for. Raises UnauthenticatedError."""
    scheme, _, token = headers_of(message).get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError
    return await authenticator.authenticate_anew(token)


def headers_of(message: Msg) -> Mapping[str, str]:
    """A message's headers, their names in lower case."""
    return {name.lower(): value for name, value in (message.headers or {}).items()}


def read_content(kind: type[Content], body: bytes, content_type: str) -> Content:
    """The request in a message's body: protobuf, or canonical proto3 JSON. Raises LedgerError for anything else."""
    media_type = content_type.partition(";")[0].strip().lower()
    request = kind()
    try:
        if media_type == _JSON_TYPE:
            json_format.Parse(body.decode("utf-8"), request)
        elif media_type in _BINARY_TYPES:
            request.ParseFromString(body)
        else:
            raise LedgerError(
                Reason.INVALID_ARGUMENT,
                "The Content-Type must be application/protobuf or application/json.",
                {"field": "Content-Type"},
            )
    # RecursionError and the like come from hostile JSON; whatever it breaks, it is refused.
    except (json_format.ParseError, DecodeError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise LedgerError(
            Reason.INVALID_ARGUMENT,
            f"The body is not {_article(kind.DESCRIPTOR.name)} ({type(error).__name__}).",
            {"field": ""},
        ) from None
    return request


async def _work_lane(work: Work, client: Client, stream: JetStreamContext, stop: asyncio.Event) -> None:
    """One request after the other."""
    puller = await Puller.open(client, work.queue)
    while not stop.is_set():
        message = await puller.next_request()
        if message is not None:
            async with _kept_alive(message):
                await _process(work, message, client, stream)


async def _process(work: Work, message: Msg, client: Client, stream: JetStreamContext) -> None:
    """Carry one request out and tell JetStream what became of it."""
    deliveries = message.metadata.num_delivered or 1
    try:
        outcome = await work.carry_out(message)
    except RefusedError as error:
        if error.reason in work.passing or (_may_pass(error) and deliveries < MAX_UNFORESEEN_DELIVERIES):
            await _postpone(work, message, deliveries, str(error.reason))
        else:
            await _bury(work, message, client, stream, error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the request must neither be lost nor block others
        _log.error("inbox_unforeseen_error", error=describe(error), exc_info=error)
        if deliveries < MAX_UNFORESEEN_DELIVERIES:
            await _postpone(work, message, deliveries, "UNFORESEEN")
        else:
            refusal = LedgerError(Reason.INTERNAL, "The service failed to carry this out; its log has the details.")
            await _bury(work, message, client, stream, refusal)
    else:
        # It is committed. Should this acknowledgement be lost, or this process die before sending it, the request is
        # delivered again and its idempotency key yields the same answer: nothing is done twice.
        await message.ack()
        work.outcomes.labels(outcome).inc()


async def _postpone(work: Work, message: Msg, deliveries: int, reason: str) -> None:
    pause = min(FIRST_RETRY_SECONDS * 2 ** min(deliveries - 1, 16), LONGEST_RETRY_SECONDS)
    await message.nak(delay=pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, hides nothing
    work.outcomes.labels("postponed").inc()
    _log.warning("request_postponed", worker=work.name, reason=reason, deliveries=deliveries)


async def _bury(work: Work, message: Msg, client: Client, stream: JetStreamContext, error: RefusedError) -> None:
    position = message.metadata.sequence.stream
    # The original's headers are not copied: one of them is a credential.
    headers = {
        "Nats-Msg-Id": f"{work.queue.stream}-{position}-{message.metadata.timestamp.isoformat()}",
        "Indelible-Reason": str(error.reason),
        "Indelible-Message": _header_text(error.message),
        "Indelible-Subject": message.subject,
        "Indelible-Stream-Sequence": str(position),
        "Indelible-Received-At": message.metadata.timestamp.isoformat(),
        "Indelible-Body-SHA256": hashlib.sha256(message.data).hexdigest(),
        "Content-Type": _header_text((message.headers or {}).get("Content-Type", "")) or "application/protobuf",
    }
    body = message.data
    if len(body) + _DEAD_HEADER_BYTES > client.max_payload:
        # It fitted its own headers but not these. The digest tells the sender which request it was.
        body = b""
        headers["Indelible-Body-Omitted"] = "too large to be copied"
    await stream.publish(DEAD_SUBJECT, body, stream=DEAD_STREAM, headers=headers)
    # The copy is stored. Dying here delivers the original again and stores the same copy under the same message id,
    # which JetStream drops.
    await message.term()
    work.outcomes.labels("dead").inc()
    _log.warning("request_dead", worker=work.name, reason=str(error.reason), stream_sequence=position)


@contextlib.asynccontextmanager
async def _kept_alive(message: Msg) -> AsyncIterator[None]:
    """Tell JetStream that a slow request is still being worked on, so that nobody else gets it meanwhile."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await message.in_progress()

    heart = asyncio.create_task(beat())
    try:
        yield
    finally:
        heart.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # a lost connection is the lane's to notice
            await heart


def _may_pass(error: RefusedError) -> bool:
    """Whether another try has a chance: an issuer that cannot be reached must not send a whole queue to its grave."""
    return error.reason == Reason.INTERNAL or (isinstance(error, UnauthenticatedError) and error.unknown_key)


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _header_text(text: str) -> str:
    """Printable ASCII in one line: the text may come from a stranger, and a header ends at a line break."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)[:MAX_HEADER_CHARACTERS]
