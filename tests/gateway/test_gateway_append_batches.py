"""Appends of many threads in few calls, against a ledger on the real wire that can be held up and can misbehave."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from indelible.ledger.v1 import ledger_pb2

from gateway.calls import append_batches
from gateway.calls.append_batches import MAX_BATCH, MAX_SHARED_BYTES, AppendBatches
from gateway.calls.line import Identity, Line
from ledger.client import UNREACHABLE, ClientError
from ledger.service.appends import MAX_BATCH_APPENDS
from ledger.service.handlers import SERVICE
from tests.gateway.waiting import LIMIT_SECONDS, until

CALLERS = 12


@dataclass
class Call:
    """A call that has arrived, and ends when it is let go."""

    chains: list[str]
    token: str
    go: threading.Event = field(default_factory=threading.Event)


class Dawdler:
    """A ledger that answers a call when a test lets it, with what the test wants."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        # Whether a call with these chains is held.
        self.holds: Callable[[list[str]], bool] = lambda _chains: True
        self._arrived = threading.Condition()
        # What is answered to an append instead of a receipt; what is done with a batch before it is answered.
        self.refusals: dict[str, ledger_pb2.AppendError] = {}
        self.spoil: Callable[[list[ledger_pb2.AppendOutcome], Any], object] = lambda _outcomes, _context: None

    def handler(self) -> grpc.GenericRpcHandler:
        """Both methods, as a server wants them."""
        handlers: dict[str, Any] = {
            "AppendEvents": grpc.unary_unary_rpc_method_handler(
                self._append, ledger_pb2.AppendEventsRequest.FromString, _bytes
            ),
            "BatchAppendEvents": grpc.unary_unary_rpc_method_handler(
                self._batch_append, ledger_pb2.BatchAppendEventsRequest.FromString, _bytes
            ),
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _append(self, request: Any, context: Any) -> ledger_pb2.AppendEventsResponse:
        self._hold([request.chain_id], context)
        if request.chain_id in self.refusals:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such chain")
        return ledger_pb2.AppendEventsResponse(receipt=receipt(request.chain_id))

    def _batch_append(self, request: Any, context: Any) -> ledger_pb2.BatchAppendEventsResponse:
        chains = [one.chain_id for one in request.requests]
        self._hold(chains, context)
        outcomes = [
            ledger_pb2.AppendOutcome(error=self.refusals[chain])
            if chain in self.refusals
            else ledger_pb2.AppendOutcome(receipt=receipt(chain))
            for chain in chains
        ]
        self.spoil(outcomes, context)
        return ledger_pb2.BatchAppendEventsResponse(outcomes=outcomes)

    def _hold(self, chains: list[str], context: Any) -> None:
        call = Call(chains, dict(context.invocation_metadata())["authorization"])
        with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()
        if self.holds(chains):
            assert call.go.wait(LIMIT_SECONDS)

    def call(self, number: int) -> Call:
        """The call that arrived as this one, counted from 0; waits for it."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.calls) > number, LIMIT_SECONDS)
            return self.calls[number]

    def let_go(self) -> None:
        """Answer everything from now on."""
        self.holds = lambda _chains: False
        for call in self.calls:
            call.go.set()


@dataclass
class Stage:
    ledger: Dawdler
    batches: AppendBatches
    line: Line
    threads: ThreadPoolExecutor

    def append(self, chain: str, token: str = "t", payload: bytes = b"{}") -> Future[ledger_pb2.Receipt]:
        event = ledger_pb2.NewEvent(kind="a.b", payload=payload)
        request = ledger_pb2.AppendEventsRequest(chain_id=chain, events=[event])
        return self.threads.submit(self.batches.append, request, Identity(token=token, request_id=chain))

    def appends_behind_one_under_way(self, count: int = CALLERS) -> list[Future[ledger_pb2.Receipt]]:
        """The first is with the ledger, which holds it; the others wait for its end."""
        first = self.append("c0")
        self.ledger.call(0)
        others = [self.append(f"c{number}") for number in range(1, count)]
        until(lambda: sum(len(lane.waiting) for lane in self.batches._lanes.values()) == count - 1)
        return [first, *others]


def _bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def receipt(chain: str) -> ledger_pb2.Receipt:
    return ledger_pb2.Receipt(chain_id=chain, first_sequence=2, last_sequence=2)


def failure(future: "Future[Any]") -> ClientError:
    error = future.exception(LIMIT_SECONDS)
    assert isinstance(error, ClientError), error
    return error


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody loses patience while a slow machine brings a test to where it begins."""
    monkeypatch.setattr(append_batches, "PATIENCE_SECONDS", LIMIT_SECONDS)


@pytest.fixture
def stage() -> Iterator[Stage]:
    ledger = Dawdler()
    with ThreadPoolExecutor(100) as answering, ThreadPoolExecutor(100) as asking, Line() as line:
        server = grpc.server(answering)
        server.add_generic_rpc_handlers((ledger.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        wire = line.connect(f"127.0.0.1:{port}", tls=None, service="ledger")
        yield Stage(ledger, AppendBatches(wire), line, asking)
        ledger.let_go()
        server.stop(None).wait()


def test_a_batch_is_no_larger_than_the_ledger_takes() -> None:
    assert MAX_BATCH == MAX_BATCH_APPENDS


def test_an_append_that_nobody_is_before_goes_at_once(stage: Stage) -> None:
    stage.ledger.let_go()
    for number in range(3):
        assert stage.append(f"c{number}").result(LIMIT_SECONDS).chain_id == f"c{number}"
    assert [call.chains for call in stage.ledger.calls] == [["c0"], ["c1"], ["c2"]]


@pytest.mark.usefixtures("patient")
def test_appends_that_come_while_a_call_is_under_way_share_the_next_and_each_gets_its_own_receipt(stage: Stage) -> None:
    appends = stage.appends_behind_one_under_way()
    stage.ledger.let_go()
    assert [one.result(LIMIT_SECONDS).chain_id for one in appends] == [f"c{number}" for number in range(CALLERS)]
    assert [len(call.chains) for call in stage.ledger.calls] == [1, CALLERS - 1]
    assert not stage.batches._lanes


@pytest.mark.usefixtures("patient")
def test_a_refused_append_fails_alone_with_its_reason(stage: Stage) -> None:
    stage.ledger.refusals = {
        "c3": ledger_pb2.AppendError(code=5, message="no", reason="CHAIN_NOT_FOUND", metadata={"chain_id": "c3"}),
        "c4": ledger_pb2.AppendError(code=8, message="later", reason="OVERLOADED"),
        "c5": ledger_pb2.AppendError(code=4_711, message="?", reason="NEWER_THAN_WE_ARE"),
    }
    appends = stage.appends_behind_one_under_way()
    stage.ledger.let_go()
    wait(appends, LIMIT_SECONDS)
    assert [number for number, one in enumerate(appends) if one.exception()] == [3, 4, 5]
    absent, busy, strange = (failure(appends[number]) for number in (3, 4, 5))
    assert (absent.reason, absent.status, absent.retryable) == ("CHAIN_NOT_FOUND", "NOT_FOUND", False)
    assert absent.metadata == {"chain_id": "c3"}
    assert (busy.status, busy.retryable) == ("RESOURCE_EXHAUSTED", True)
    assert (strange.reason, strange.status, strange.retryable) == ("NEWER_THAN_WE_ARE", "UNKNOWN", False)


@pytest.mark.usefixtures("patient")
def test_appends_with_another_token_share_no_call_and_do_not_wait(stage: Stage) -> None:
    ours = stage.appends_behind_one_under_way()
    theirs = stage.append("foreign", token="u")
    assert stage.ledger.call(1).chains == ["foreign"]
    stage.ledger.call(1).go.set()
    theirs.result(LIMIT_SECONDS)
    stage.ledger.let_go()
    wait(ours, LIMIT_SECONDS)
    assert [call.token for call in stage.ledger.calls] == ["Bearer t", "Bearer u", "Bearer t"]


@pytest.mark.usefixtures("patient")
def test_a_call_that_fails_fails_each_of_its_appends_with_an_error_of_its_own(stage: Stage) -> None:
    def fail(_outcomes: object, context: Any) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "going down")

    stage.ledger.spoil = fail
    first, *others = stage.appends_behind_one_under_way()
    stage.ledger.let_go()
    errors = [failure(one) for one in others]
    assert first.result(LIMIT_SECONDS)
    assert {(error.reason, error.retryable) for error in errors} == {(UNREACHABLE, True)}
    assert len({id(error) for error in errors}) == CALLERS - 1
    assert stage.append("later").result(LIMIT_SECONDS)
    assert not stage.batches._lanes


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("change", [lambda outcomes: outcomes.pop(), lambda outcomes: outcomes.append(outcomes[0])])
def test_a_ledger_that_answers_more_or_fewer_appends_than_it_was_sent_is_not_believed(
    stage: Stage, change: Callable[[list[ledger_pb2.AppendOutcome]], object]
) -> None:
    stage.ledger.spoil = lambda outcomes, _context: change(outcomes)
    _, *others = stage.appends_behind_one_under_way()
    stage.ledger.let_go()
    assert {failure(one).reason for one in others} == {"INTERNAL"}


@pytest.mark.usefixtures("patient")
def test_an_outcome_that_is_neither_receipt_nor_refusal_is_no_success(stage: Stage) -> None:
    stage.ledger.spoil = lambda outcomes, _context: outcomes[0].Clear()
    _, *others = stage.appends_behind_one_under_way()
    stage.ledger.let_go()
    wait(others, LIMIT_SECONDS)
    assert sum(one.exception() is not None for one in others) == 1


def test_whoever_has_waited_long_enough_does_not_wait_for_a_call_that_does_not_end(stage: Stage) -> None:
    stage.ledger.holds = lambda chains: "stuck" in chains
    stuck = stage.append("stuck")
    stage.ledger.call(0)
    others = [stage.append(f"c{number}") for number in range(4)]
    assert {one.result(LIMIT_SECONDS).chain_id for one in others} == {"c0", "c1", "c2", "c3"}
    assert not stuck.done()
    stage.ledger.let_go()
    assert stuck.result(LIMIT_SECONDS)
    assert not stage.batches._lanes


@pytest.mark.usefixtures("patient")
def test_a_large_append_goes_by_itself_and_does_not_wait(stage: Stage) -> None:
    appends = stage.appends_behind_one_under_way(3)
    large = stage.append("large", payload=b'"' + b"x" * MAX_SHARED_BYTES + b'"')
    assert stage.ledger.call(1).chains == ["large"]
    stage.ledger.call(1).go.set()
    assert large.result(LIMIT_SECONDS).chain_id == "large"
    stage.ledger.let_go()
    wait(appends, LIMIT_SECONDS)


@pytest.mark.usefixtures("patient")
def test_no_call_carries_more_than_the_ledger_takes(stage: Stage) -> None:
    appends = stage.appends_behind_one_under_way(MAX_BATCH + 1)
    appends += [stage.append(f"more{number}") for number in range(5)]
    stage.ledger.call(5)
    stage.ledger.let_go()
    assert len({one.result(LIMIT_SECONDS).chain_id for one in appends}) == MAX_BATCH + 6
    assert [len(call.chains) for call in stage.ledger.calls] == [*[1] * 6, MAX_BATCH]


@pytest.mark.usefixtures("patient")
def test_hanging_up_leaves_nobody_waiting(stage: Stage) -> None:
    appends = stage.appends_behind_one_under_way()
    stage.line.close()
    done, waiting = wait(appends, LIMIT_SECONDS)
    assert not waiting
    # gRPC says of a connection that was closed before the call that the program is wrong.
    assert all(isinstance(one.exception(), ClientError | ValueError) for one in done)


def test_many_threads_that_append_again_and_again_each_get_their_own_receipts(stage: Stage) -> None:
    stage.ledger.let_go()
    identity = Identity(token="t", request_id="r")

    def often(caller: int) -> None:
        for number in range(40):
            chain = f"c{caller}-{number}"
            request = ledger_pb2.AppendEventsRequest(chain_id=chain)
            assert stage.batches.append(request, identity).chain_id == chain

    for one in [stage.threads.submit(often, caller) for caller in range(CALLERS)]:
        one.result(LIMIT_SECONDS)
    sent = [chain for call in stage.ledger.calls for chain in call.chains]
    assert len(sent) == len(set(sent)) == CALLERS * 40
    assert len(stage.ledger.calls) < CALLERS * 40
    assert not stage.batches._lanes
