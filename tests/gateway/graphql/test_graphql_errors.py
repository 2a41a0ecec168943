"""Refusals have the codes of REST; failures tell nothing; a key makes a mutation happen once."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from gateway.app import create_app
from tests.gateway.graphql.asking import Asker
from tests.gateway.rest.world import Caller, Reply, World, token

INTROSPECTION = "{ __schema { types { name } } }"
LINK = "mutation ($id: ID!) { createVerifyLink(sessionId: $id) { linkId } }"
SECRET = 'mutation { createCredential(name: "k", roles: ["observer"], scopes: ["ledger:read"]) { clientSecret } }'


@pytest.fixture(scope="module")
def ann(world: World) -> Asker:
    return Asker.of(world.caller())


@pytest.fixture(scope="module")
def closed(world: World) -> str:
    name = world.session()
    assert world.caller().post(f"/sessions/{name}/close").status_code == 200
    return name


APPEND = """mutation ($id: ID!, $e: [EventInput!]!, $at: Long) {
  appendEvents(sessionId: $id, events: $e, expectedSequence: $at) { lastSequence }
}"""
SAME: dict[str, tuple[str, dict[str, Any], Callable[[Caller, str], Reply]]] = {
    "a name that is none": (
        "query ($id: ID!) { session(sessionId: $id) { head } }",
        {"id": "No Name!"},
        lambda rest, _: rest.get("/sessions/No%20Name!"),
    ),
    "a session that is not there": (
        'query { session(sessionId: "nowhere") { head } }',
        {},
        lambda rest, _: rest.get("/sessions/nowhere"),
    ),
    "a session that is closed": (
        APPEND,
        {"e": [{"kind": "a.b", "payload": {}}]},
        lambda rest, name: rest.post(f"/sessions/{name}/events", {"events": [{"kind": "a.b", "payload": {}}]}),
    ),
    "a place that is taken": (
        APPEND,
        {"e": [{"kind": "a.b", "payload": {}}], "at": 9, "id": "operations"},
        lambda rest, _: rest.post(
            "/sessions/operations/events", {"events": [{"kind": "a.b", "payload": {}}], "expected_sequence": 9}
        ),
    ),
    "a payload that is no object": (
        APPEND,
        {"e": [{"kind": "a.b", "payload": 7}]},
        lambda rest, name: rest.post(f"/sessions/{name}/events", {"events": [{"kind": "a.b", "payload": 7}]}),
    ),
    "a number beyond 64 bits": (
        APPEND,
        {"e": [{"kind": "a.b", "payload": {"n": 2**64}}]},
        lambda rest, name: rest.post(
            f"/sessions/{name}/events", {"events": [{"kind": "a.b", "payload": {"n": 2**64}}]}
        ),
    ),
    "a kind that is the ledger's": (
        APPEND,
        {"e": [{"kind": "chain.opened", "payload": {}}]},
        lambda rest, name: rest.post(f"/sessions/{name}/events", {"events": [{"kind": "chain.opened", "payload": {}}]}),
    ),
    "a moment that is none": (
        'mutation { requestClip(source: "gate-1", incident: "x", eventAt: "yesterday") { clipId } }',
        {},
        lambda rest, _: rest.post("/clips", {"source": "gate-1", "incident": "x", "event_at": "yesterday"}),
    ),
    "a retention for ever": (
        'mutation { setRetention(days: 2000000000, reason: "x") { days } }',
        {},
        lambda rest, _: rest.ask("PUT", "/retention", {"days": 2000000000, "reason": "x"}),
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_a_refusal_is_the_same_at_either_door(world: World, ann: Asker, closed: str, case: str) -> None:
    query, variables, ask = SAME[case]
    if "$id" in query:
        variables = {"id": closed} | variables
    error = ann.error(query, **variables)
    problem = ask(world.caller(), closed).json
    told = error["extensions"]
    assert (error["message"], told["code"], told["status"]) == (problem["detail"], problem["code"], problem["status"])
    assert told.get("actual_sequence") == problem.get("actual_sequence")
    assert ("field" in told) == ("field" in problem)


def test_a_field_at_fault_has_its_name_of_graphql(ann: Asker, closed: str) -> None:
    events = [{"kind": "a.b", "payload": {}, "sealedMembers": [""]}]
    error = ann.error(APPEND, id=closed, e=events)
    assert error["extensions"]["field"] == "events[0].sealedMembers[0]"


def test_a_failure_tells_nothing_and_is_logged(world: World, ann: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    log = CapturingLogger()

    def fail(*_: Any) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(world.parts.ledger, "get_session", fail)
    monkeypatch.setattr("gateway.graphql.errors._log", log)
    answer = ann.send('{ session(sessionId: "x") { head } retention { days } }')
    assert answer.status_code == 200
    assert answer.json["data"]["session"] is None
    assert answer.json["data"]["retention"]["days"]
    (error,) = answer.json["errors"]
    assert (error["extensions"]["code"], error["extensions"]["status"]) == ("INTERNAL", 500)
    assert "hunter2" not in answer.text
    (logged,) = log.calls
    assert logged.method_name == "error"
    assert "hunter2" in str(logged.kwargs["exc_info"])
    assert logged.kwargs["request_id"] == error["extensions"]["request_id"]


def test_a_value_that_does_not_fit_its_type_is_a_failure_too(
    world: World, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.parts.evidence.get_retention
    monkeypatch.setattr(world.parts.evidence, "get_retention", lambda who: replace(real(who), days=2**40))
    assert ann.code("{ retention { days } }") == "INTERNAL"


@pytest.fixture(scope="module")
def discreet(world: World) -> Iterator[Asker]:
    """A gateway whose operator switched introspection off."""
    settings = replace(world.parts.settings, graphql_introspection=False)
    with world.ledger.blocking_client() as ledger:
        app = create_app(ledger, parts=replace(world.parts, settings=settings))
        yield Asker.of(Caller(app=app, bearer=token(world.issuer)))


def test_introspection_can_be_switched_off(discreet: Asker, ann: Asker) -> None:
    for query in (INTROSPECTION, '{ __type(name: "Clip") { name } }', "{ ... { a: __schema { types { name } } } }"):
        assert ann.send(query).status_code == 200
        answer = discreet.send(query)
        assert answer.status_code == 400
        assert answer.json["errors"][0]["extensions"]["code"] == "INVALID_REQUEST"
    assert discreet.data("{ __typename retention { __typename } }") == {
        "__typename": "Query",
        "retention": {"__typename": "Retention"},
    }


def test_introspection_does_not_go_round_in_circles(ann: Asker) -> None:
    circle = "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
    assert ann.send(circle).json["errors"][0]["extensions"]["code"] == "INVALID_REQUEST"


def test_the_newer_media_type_is_given_to_those_who_ask_for_it(ann: Asker) -> None:
    answer = ann.send("{ __typename }", Accept="application/graphql-response+json")
    assert answer.mimetype == "application/graphql-response+json"
    assert ann.send("{ __typename }", Accept="*/*").mimetype == "application/json"
    assert ann.send("{ __typename }").headers["RateLimit"]


def test_a_mutation_under_a_key_happens_once(world: World, ann: Asker) -> None:
    name, key = world.session(), secrets.token_hex(8)
    first = ann.send(LINK, {"id": name}, Idempotency_Key=key)
    again = ann.send(LINK, {"id": name}, Idempotency_Key=key)
    assert first.json == again.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert ann.send(LINK, {"id": name}).json != first.json
    other = ann.send(LINK, {"id": world.session()}, Idempotency_Key=key)
    assert other.json["errors"][0]["extensions"]["code"] == "IDEMPOTENCY_CONFLICT"
    bob = Asker.of(world.caller(subject="bob")).send(LINK, {"id": name}, Idempotency_Key=key)
    assert bob.json["data"] != first.json["data"]


def test_an_append_under_a_key_is_remembered_by_the_ledger(world: World, ann: Asker) -> None:
    name, key = world.session(), secrets.token_hex(8)
    query = (
        'mutation ($id: ID!) { appendEvents(sessionId: $id, events: [{kind: "a.b", payload: {}}]) { lastSequence } }'
    )
    answers = [ann.send(query, {"id": name}, Idempotency_Key=key).json["data"] for _ in range(2)]
    assert answers == [{"appendEvents": {"lastSequence": 2}}] * 2
    rest = world.caller().post(
        f"/sessions/{name}/events", {"events": [{"kind": "a.b", "payload": {}}]}, Idempotency_Key=key
    )
    assert rest.headers["Idempotency-Replayed"] == "true"


def test_under_one_key_there_is_one_thing_to_do(world: World, ann: Asker) -> None:
    name = world.session()
    for query in (
        "mutation ($id: ID!) { a: createVerifyLink(sessionId: $id) { url } revokeVerifyLink(linkId: $id) { linkId } }",
        "mutation ($id: ID!) { ... { createVerifyLink(sessionId: $id) { url } } }",
    ):
        answer = ann.send(query, {"id": name}, Idempotency_Key=secrets.token_hex(8))
        assert answer.json["errors"][0]["extensions"]["code"] == "INVALID_REQUEST"
    bad = ann.send(LINK, {"id": name}, Idempotency_Key="has a space")
    assert (bad.status_code, bad.json["code"]) == (400, "INVALID_REQUEST")


def test_a_refusal_leaves_the_key_free_and_a_secret_is_not_kept(world: World, ann: Asker) -> None:
    name, key = f"k-{secrets.token_hex(6)}", secrets.token_hex(8)
    refused = ann.send(LINK, {"id": name}, Idempotency_Key=key)
    assert refused.json["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert world.caller().post("/sessions", {"session_id": name}).status_code == 201
    assert ann.send(LINK, {"id": name}, Idempotency_Key=key).json["data"]["createVerifyLink"]["linkId"]
    key = secrets.token_hex(8)
    assert ann.send(SECRET, Idempotency_Key=key).json["data"]["createCredential"]["clientSecret"]
    again = ann.send(SECRET, Idempotency_Key=key)
    assert again.json["errors"][0]["extensions"]["code"] == "IDEMPOTENCY_ANSWER_WITHHELD"


def test_a_change_counts_even_if_something_behind_it_was_refused(world: World) -> None:
    """Carried out once, whatever could not be shown of it."""
    narrow = Asker.of(world.caller(roles=["operator"], subject="op", scopes=["ledger:append"]))
    name, key = world.session(), secrets.token_hex(8)
    query = """mutation ($id: ID!) {
      appendEvents(sessionId: $id, events: [{kind: "a.b", payload: {}}]) { lastSequence session { head } }
    }"""
    answer = narrow.send(query, {"id": name}, Idempotency_Key=key).json
    assert answer["data"]["appendEvents"] == {"lastSequence": 2, "session": None}
    assert answer["errors"][0]["path"] == ["appendEvents", "session"]
    assert narrow.send(query, {"id": name}, Idempotency_Key=key).json["data"] == answer["data"]


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query ($a: ID!) { session(sessionId: $a) { head } }", {"a": "\ud800"}),
        ("query ($a: ChainState) { sessions(state: $a) { edges { cursor } } }", {"a": "\ud800"}),
        ("query ($a: String) { sessions(after: $a) { edges { cursor } } }", {"a": "\ud800"}),
        ('query ($a: [String!]) { events(sessionId: "x", kinds: $a) { edges { cursor } } }', {"a": ["\udfff"]}),
        ('mutation ($a: JSON) { openSession(sessionId: "x", subject: $a) { __typename } }', {"a": {"b": "\ud800"}}),
        ('{ session(sessionId: "\ud800") { head } }', {}),
        ("{ \ud800 }", {}),
        ("{ a }", {"\ud800": "\ud800"}),
    ],
)  # fmt: skip
def test_half_a_character_is_refused_and_not_echoed(ann: Asker, query: str, variables: dict[str, Any]) -> None:
    answer = ann.send(query, variables)
    assert answer.status_code in {200, 400}, answer.text
    (error,) = answer.json.get("errors", [{"extensions": answer.json}])
    assert error["extensions"]["code"] in {"INVALID_REQUEST", "INVALID_PAYLOAD"}
