"""Append requests that arrive over JetStream, under the same rules as the gRPC call.

What becomes of a request:
1. appended, or appended before under its idempotency key: acknowledged, after the commit;
2. the ledger cannot do it now (database away, overloaded): left in the queue, delivered again after a growing pause,
   for as long as it takes;
3. it can never be done (bad token, bad payload, closed chain): copied to the dead stream with the reason, then removed;
4. an unforeseen error, or a token signed with a key the issuer has not published yet: as 2, but after
   MAX_UNFORESEEN_DELIVERIES as 3, so that one request cannot occupy the ledger for ever.

Requests are started in the order of their arrival but run side by side, in one process or many. Who needs an order
between two of them sets `expected_sequence`.
"""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import structlog
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from indelible.ledger.v1 import ledger_pb2
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from ledger.errors import LedgerError, Reason
from ledger.identity import Authenticator, Caller, UnauthenticatedError, require_scope
from ledger.messaging.connection import connected, describe, keep_working
from ledger.messaging.metrics import InboxMetrics
from ledger.messaging.pull import Puller
from ledger.messaging.streams import (
    ACK_WAIT_SECONDS,
    APPEND_STREAM,
    DEAD_STREAM,
    DEAD_SUBJECT,
    declare_inbox,
)
from ledger.service.convert import new_events
from ledger.service.permissions import METHOD_SCOPES
from ledger.store.values import NewEvent, Receipt

# Requests in flight in one process. The store commits what arrives together in one transaction, so more of them mean
# fewer commits, up to the point where they only wait.
LANES = 32
HEARTBEAT_SECONDS = ACK_WAIT_SECONDS / 3
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 60.0
# About a quarter of an hour of tries, with the pauses above.
MAX_UNFORESEEN_DELIVERIES = 20
MAX_HEADER_CHARACTERS = 500
_DEAD_HEADER_BYTES = 4096  # more than the headers of a dead letter can take

_PASSING = frozenset({Reason.DATABASE_UNAVAILABLE, Reason.OVERLOADED, Reason.CLOCK_WENT_BACK})
_BINARY_TYPES = frozenset({"", "application/protobuf", "application/x-protobuf", "application/octet-stream"})
_JSON_TYPE = "application/json"

_log = structlog.get_logger()


class AppendStore(Protocol):
    """What the inbox needs of the ledger's store."""

    async def append_events(
        self,
        organisation_id: str,
        chain_id: str,
        events: Sequence[NewEvent],
        idempotency_key: str,
        expected_sequence: int | None = None,
    ) -> Receipt:
        """Append all of `events` or none; returns after the commit."""


async def run_inbox(
    store: AppendStore, authenticator: Authenticator, nats_url: str, stop: asyncio.Event, metrics: InboxMetrics
) -> None:
    """Process append requests until `stop` is set; then finish those under way and return.

    Survives the loss of NATS and of PostgreSQL: requests stay in the queue meanwhile.
    """
    inbox = _Inbox(store, authenticator, metrics)

    async def work() -> None:
        async with connected(nats_url, "inbox") as client:
            stream = client.jetstream()
            await declare_inbox(stream)
            _log.info("inbox_ready", stream=APPEND_STREAM)
            async with asyncio.TaskGroup() as lanes:
                for _ in range(LANES):
                    lanes.create_task(_work_lane(inbox, client, stream, stop))

    await keep_working("inbox", work, stop)


async def _work_lane(inbox: "_Inbox", client: Client, stream: JetStreamContext, stop: asyncio.Event) -> None:
    """One request after the other."""
    puller = await Puller.open(client)
    while not stop.is_set():
        message = await puller.next_request()
        if message is not None:
            async with _kept_alive(message):
                await inbox.process(message, client, stream)


class _Inbox:
    def __init__(self, store: AppendStore, authenticator: Authenticator, metrics: InboxMetrics) -> None:
        self._store = store
        self._authenticator = authenticator
        self._metrics = metrics

    async def process(self, message: Msg, client: Client, stream: JetStreamContext) -> None:
        """Carry one request out and tell JetStream what became of it."""
        deliveries = message.metadata.num_delivered or 1
        try:
            receipt = await self._append(message)
        except LedgerError as error:
            if error.reason in _PASSING or (_may_pass(error) and deliveries < MAX_UNFORESEEN_DELIVERIES):
                await self._postpone(message, deliveries, str(error.reason))
            else:
                await self._bury(message, client, stream, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request must neither be lost nor block others
            _log.error("inbox_unforeseen_error", error=describe(error), exc_info=error)
            if deliveries < MAX_UNFORESEEN_DELIVERIES:
                await self._postpone(message, deliveries, "UNFORESEEN")
            else:
                refusal = LedgerError(Reason.INTERNAL, "The ledger failed to carry this out; its log has the details.")
                await self._bury(message, client, stream, refusal)
        else:
            # The events are committed. Should this acknowledgement be lost, or this process die before sending it, the
            # request is delivered again and its idempotency key yields the same receipt: nothing is appended twice.
            await message.ack()
            self._metrics.requests.labels("replayed" if receipt.replayed else "appended").inc()

    async def _append(self, message: Msg) -> Receipt:
        headers = {name.lower(): value for name, value in (message.headers or {}).items()}
        caller = await self._authenticate(headers)
        require_scope(caller, METHOD_SCOPES["AppendEvents"])
        request = read_request(message.data, headers.get("content-type", ""))
        return await self._store.append_events(
            caller.organisation_id,
            request.chain_id,
            new_events(request),
            request.idempotency_key,
            request.expected_sequence if request.HasField("expected_sequence") else None,
        )

    async def _authenticate(self, headers: Mapping[str, str]) -> Caller:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthenticatedError
        return await self._authenticator.authenticate_anew(token)

    async def _postpone(self, message: Msg, deliveries: int, reason: str) -> None:
        pause = min(FIRST_RETRY_SECONDS * 2 ** min(deliveries - 1, 16), LONGEST_RETRY_SECONDS)
        await message.nak(delay=pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, hides nothing
        self._metrics.requests.labels("postponed").inc()
        _log.warning("append_request_postponed", reason=reason, deliveries=deliveries)

    async def _bury(self, message: Msg, client: Client, stream: JetStreamContext, error: LedgerError) -> None:
        position = message.metadata.sequence.stream
        # The original's headers are not copied: one of them is a credential.
        headers = {
            "Nats-Msg-Id": f"{APPEND_STREAM}-{position}-{message.metadata.timestamp.isoformat()}",
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
        self._metrics.requests.labels("dead").inc()
        _log.warning("append_request_dead", reason=str(error.reason), stream_sequence=position)


def read_request(body: bytes, content_type: str) -> ledger_pb2.AppendEventsRequest:
    """The request in a message's body: protobuf, or canonical proto3 JSON. Raises LedgerError for anything else."""
    media_type = content_type.partition(";")[0].strip().lower()
    request = ledger_pb2.AppendEventsRequest()
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
            Reason.INVALID_ARGUMENT, f"The body is not an AppendEventsRequest ({type(error).__name__}).", {"field": ""}
        ) from None
    return request


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


def _may_pass(error: LedgerError) -> bool:
    """Whether another try has a chance: an issuer that cannot be reached must not send a whole queue to its grave."""
    return error.reason is Reason.INTERNAL or (isinstance(error, UnauthenticatedError) and error.unknown_key)


def _header_text(text: str) -> str:
    """Printable ASCII in one line: the text may come from a stranger, and a header ends at a line break."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)[:MAX_HEADER_CHARACTERS]
