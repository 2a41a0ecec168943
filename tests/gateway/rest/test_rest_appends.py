"""Appends of many callers at once, which go to the ledger together."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.calls import append_batches
from tests.gateway.rest.world import Caller, Reply, World
from tests.gateway.waiting import LIMIT_SECONDS, until

ROUNDS = 15
TOLD_IN_HEADERS = ("Content-Type", "Retry-After", "Idempotency-Replayed", "WWW-Authenticate")


@dataclass(frozen=True)
class Asker:
    """Somebody who sends the same kind of append again and again."""

    caller: Caller
    session: str
    expected: tuple[int, str | None]
    expected_sequence: int | None = None
    payload: Any = None

    def ask(self, number: int) -> Reply:
        body: dict[str, Any] = {"events": [{"kind": "door.opened", "payload": self.payload or {"number": number}}]}
        if self.expected_sequence is not None:
            body["expected_sequence"] = self.expected_sequence
        return self.caller.post(f"/sessions/{self.session}/events", body, X_Request_Id=f"at-once-{number}")

    def ask_again_and_again(self) -> list[Reply]:
        return [self.ask(number) for number in range(ROUNDS)]


def test_appends_of_many_callers_at_once_each_get_the_answer_to_their_own(world: World) -> None:
    ann, bob = world.caller(), world.caller(subject="bob")
    own, shared, closed = world.session(), world.session(), world.session()
    assert ann.post(f"/sessions/{closed}/close").status_code == 200
    askers = [
        Asker(ann, own, (201, None)),
        Asker(ann, shared, (201, None)),
        Asker(bob, shared, (201, None)),
        Asker(ann, closed, (409, "CHAIN_CLOSED")),
        Asker(ann, "not-there", (404, "NOT_FOUND")),
        Asker(ann, shared, (409, "SEQUENCE_MISMATCH"), expected_sequence=9_999),
        Asker(ann, shared, (400, "INVALID_PAYLOAD"), payload={"number": 2**60}),
    ]
    with ThreadPoolExecutor(len(askers)) as threads:
        answers = list(threads.map(Asker.ask_again_and_again, askers))

    for asker, replies in zip(askers, answers, strict=True):
        assert {(reply.status_code, reply.json.get("code")) for reply in replies} == {asker.expected}
    items = ann.get(f"/sessions/{shared}/events?kind=door.opened&limit=100").json["items"]
    numbers = {item["sequence"]: item["payload"]["number"] for item in items}
    assert len(numbers) == 2 * ROUNDS
    for replies in answers[1:3]:
        assert [numbers[reply.json["first_sequence"]] for reply in replies] == list(range(ROUNDS))
    assert [reply.json["first_sequence"] for reply in answers[0]] == list(range(2, ROUNDS + 2))
    # An attempt at what is not there is on record, under the request's own id.
    for number in range(ROUNDS):
        assert "not-there" in {resource for _, _, resource, _ in world.decisions(f"at-once-{number}")}


def event(kind: str = "door.opened", payload: Any = None, **more: Any) -> dict[str, Any]:
    return {"events": [{"kind": kind, "payload": payload or {"number": 1}}], **more}


def told(world: World, reply: Reply) -> tuple[Any, ...]:
    """All that a caller hears and that is on record of a request, but its name."""
    said = dict(reply.json)
    name = said.pop("request_id", reply.headers["X-Request-Id"])
    headers = [reply.headers.get(header) for header in TOLD_IN_HEADERS]
    return reply.status_code, said, headers, world.decisions(name)


@contextmanager
def suspended(world: World) -> Iterator[None]:
    """The ledger takes nothing and answers nothing meanwhile."""
    assert world.ledger.process is not None
    os.kill(world.ledger.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(world.ledger.process.pid, signal.SIGCONT)


def test_an_append_beside_others_is_told_what_it_is_told_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_batches, "PATIENCE_SECONDS", LIMIT_SECONDS)
    ann, still, closed, other = world.caller(), world.session(), world.session(), world.session()
    assert ann.post(f"/sessions/{closed}/close").status_code == 200
    assert ann.post(f"/sessions/{still}/events", event(), Idempotency_Key="used").status_code == 201
    wanted: list[tuple[str, dict[str, Any], dict[str, str]]] = [
        (still, event(), {"Idempotency_Key": "used"}),
        (still, event(payload={"number": 2}), {"Idempotency_Key": "used"}),
        (still, event(expected_sequence=9_999), {}),
        (still, event(payload={"a\u00e4/\U0001f600": {"\n": 2**60}}), {}),
        (still, event("clip.preserved"), {}),
        (still, event("access.granted"), {}),
        (still, event("chain.closed"), {}),
        (closed, event(), {}),
        ("not-there", event(), {}),
    ]

    def ask(number: int) -> tuple[Any, ...]:
        session, body, headers = wanted[number]
        return told(world, ann.post(f"/sessions/{session}/events", body, **headers))

    alone = [ask(number) for number in range(len(wanted))]
    assert {status for status, *_ in alone} == {201, 400, 403, 404, 409, 422}
    lanes = world.parts.ledger._batches._lanes
    with ThreadPoolExecutor(len(wanted) + 1) as threads:
        with suspended(world):
            first = threads.submit(ann.post, f"/sessions/{other}/events", event())
            until(lambda: bool(lanes))
            asked = [threads.submit(ask, number) for number in range(len(wanted))]
            until(lambda: sum(len(lane.waiting) for lane in lanes.values()) == len(wanted))
        assert first.result(LIMIT_SECONDS).status_code == 201
        assert [one.result(LIMIT_SECONDS) for one in asked] == alone
    assert not lanes
