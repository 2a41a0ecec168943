"""Appends of many callers, sent to the ledger in few calls.

A call costs gateway and ledger much the same for one append as for twenty. So an append that nobody is before goes at
once, by itself, and those that come while it is under way wait and go together in the next call. No thread is kept for
that: whoever has waited longest sends for all who wait. Only appends with the same token share a call, so that none is
made with another caller's rights; whether one is accepted does not depend on those beside it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from indelible.ledger.v1 import ledger_pb2, ledger_pb2_grpc

from gateway.calls.line import Identity, Wire
from ledger.client.errors import UNREACHABLE, ClientError, from_append_error

# As many as the ledger takes in one call.
MAX_BATCH = 64
# A larger append goes by itself: a batch of them could become more than one message may be, and gains nothing.
MAX_SHARED_BYTES = 64 * 1024
# Whoever has waited this long for the call before does not wait for its end.
PATIENCE_SECONDS = 0.25

Outcome = ledger_pb2.Receipt | ClientError


class AppendBatches:
    """For any number of threads, each of which waits for its own append."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._stub = ledger_pb2_grpc.LedgerServiceStub(wire.channel)
        self._lock = threading.Lock()
        # By token; one without a call under way is dropped.
        self._lanes: dict[str | None, _Lane] = {}

    def append(self, request: ledger_pb2.AppendEventsRequest, identity: Identity) -> ledger_pb2.Receipt:
        """The receipt of an append, which is tried once. Raises ClientError.

        The request's id in the ledger's log may be that of another append of its call.
        """
        if request.ByteSize() > MAX_SHARED_BYTES:
            receipt: ledger_pb2.Receipt = self._wire.once(self._stub.AppendEvents, request, identity).receipt
            return receipt
        mine = _Waiting(request)
        news = self._join(mine, identity.token) or self._wait(mine, identity.token)
        while isinstance(news, list):
            self._send(news, identity)
            news = mine.news.get()
        if isinstance(news, ClientError):
            raise news
        return news

    def _join(self, mine: "_Waiting", token: str | None) -> "list[_Waiting] | None":
        """What the thread is to send at once; None if it is to wait."""
        with self._lock:
            lane = self._lanes.setdefault(token, _Lane())
            if lane.calls and len(lane.waiting) < MAX_BATCH:
                lane.waiting.append(mine)
                return None
            lane.calls += 1
            return [mine]

    def _wait(self, mine: "_Waiting", token: str | None) -> "Outcome | list[_Waiting]":
        """What the thread hears, or what it is to send because it heard nothing for too long."""
        try:
            return mine.news.get(timeout=PATIENCE_SECONDS)
        except Empty:
            with self._lock:
                lane = self._lanes.get(token)
                if lane is not None and mine in lane.waiting:
                    lane.calls += 1
                    return lane.take()
        # Somebody has just taken it, and tells.
        return mine.news.get()

    def _send(self, batch: "list[_Waiting]", identity: Identity) -> None:
        """Send a batch, and tell each in it what became of it."""
        # What the others are told if this thread should fail as nothing is meant to fail: they may try for themselves.
        outcomes: Sequence[Outcome] = [_lost() for _ in batch]
        try:
            outcomes = self._outcomes([waiting.request for waiting in batch], identity)
        except ClientError as error:
            outcomes = [_copy(error) for _ in batch]
        finally:
            self._hand_on(identity.token)
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.news.put(outcome)

    def _hand_on(self, token: str | None) -> None:
        """The call is over: whoever has waited longest sends the next."""
        with self._lock:
            lane = self._lanes[token]
            if lane.waiting:
                batch = lane.take()
                batch[0].news.put(batch)
                return
            lane.calls -= 1
            if not lane.calls:
                del self._lanes[token]

    def _outcomes(self, requests: list[ledger_pb2.AppendEventsRequest], identity: Identity) -> list[Outcome]:
        if len(requests) == 1:
            return [self._wire.once(self._stub.AppendEvents, requests[0], identity).receipt]
        request = ledger_pb2.BatchAppendEventsRequest(requests=requests)
        outcomes = self._wire.once(self._stub.BatchAppendEvents, request, identity).outcomes
        if len(outcomes) != len(requests):
            raise ClientError("INTERNAL", f"The ledger answered {len(outcomes)} of {len(requests)} appends.")
        return [
            outcome.receipt if outcome.HasField("receipt") else from_append_error(outcome.error) for outcome in outcomes
        ]


@dataclass(slots=True, eq=False)
class _Waiting:
    """An append, and where its thread hears what became of it, or which appends it is to send, its own among them."""

    request: ledger_pb2.AppendEventsRequest
    news: "SimpleQueue[Outcome | list[_Waiting]]" = field(default_factory=SimpleQueue)


@dataclass(slots=True)
class _Lane:
    """The appends with one token: how many calls are under way, and what waits for them, oldest first."""

    calls: int = 0
    waiting: list[_Waiting] = field(default_factory=list)

    def take(self) -> list[_Waiting]:
        """All that waits."""
        taken, self.waiting = self.waiting, []
        return taken


def _lost() -> ClientError:
    return ClientError(UNREACHABLE, "The call that carried the append failed.", retryable=True, status="UNAVAILABLE")


def _copy(error: ClientError) -> ClientError:
    """Each thread raises one of its own: a traceback is no thing to share."""
    return ClientError(
        error.reason,
        error.message,
        metadata=error.metadata,
        request_id=error.request_id,
        retryable=error.retryable,
        status=error.status,
    )
