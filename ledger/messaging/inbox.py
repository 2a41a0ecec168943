"""Append requests that arrive over JetStream, under the same rules as the gRPC call; work_queue.py has the rest.

Who needs an order between two of them sets `expected_sequence`.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from indelible.ledger.v1 import ledger_pb2
from nats.aio.msg import Msg

from ledger.errors import Reason
from ledger.identity import Authenticator, require_scope
from ledger.messaging.metrics import InboxMetrics
from ledger.messaging.streams import APPEND_QUEUE
from ledger.messaging.work_queue import Work, authenticate, headers_of, read_content, run_work
from ledger.service.convert import new_events
from ledger.service.permissions import METHOD_SCOPES, require_kinds
from ledger.store.values import NewEvent, Receipt

# Requests in flight in one process. The store commits what arrives together in one transaction, so more of them mean
# fewer commits, up to the point where they only wait.
LANES = 32

_PASSING = frozenset({Reason.DATABASE_UNAVAILABLE, Reason.OVERLOADED, Reason.CLOCK_WENT_BACK})


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

    async def append(message: Msg) -> str:
        caller = await authenticate(authenticator, message)
        require_scope(caller, METHOD_SCOPES["AppendEvents"])
        content_type = headers_of(message).get("content-type", "")
        request = read_content(ledger_pb2.AppendEventsRequest, message.data, content_type)
        require_kinds(caller, request.events)
        receipt = await store.append_events(
            caller.organisation_id,
            request.chain_id,
            new_events(request),
            request.idempotency_key,
            request.expected_sequence if request.HasField("expected_sequence") else None,
        )
        return "replayed" if receipt.replayed else "appended"

    work = Work(
        name="inbox",
        queue=APPEND_QUEUE,
        carry_out=append,
        passing=_PASSING,
        lanes=LANES,
        outcomes=metrics.requests,
    )
    await run_work(work, nats_url, stop)
