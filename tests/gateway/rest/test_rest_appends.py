"""Appends of many callers at once, which go to the ledger together."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.gateway.rest.world import Caller, Reply, World

ROUNDS = 15


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
