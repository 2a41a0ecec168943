"""What is too much is refused before anything of it is carried out; what is no request of GraphQL is a problem."""

import asyncio
import json
import time
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.graphql import asking, limits, view
from gateway.ratelimit import RateLimiter
from gateway.rest import MAX_SLOW, MAX_SLOW_OF_ONE
from gateway.shared import Table
from tests.gateway.graphql.asking import Asker
from tests.gateway.rest.world import World
from tests.service.serving import ORGANISATION

EDGES = "edges {{ node {{ {0} }} }}"


@pytest.fixture(scope="module")
def ann(world: World) -> Asker:
    return Asker.of(world.caller())


def nested(depth: int) -> str:
    inner = "state"
    for _ in range(depth):
        inner = f"recordings(first: 1) {{ edges {{ node {{ session {{ {inner} }} }} }} }}"
    return f'{{ session(sessionId: "x") {{ {inner} }} }}'


def refusal(ann: Asker, query: str, variables: Any = None) -> str:
    answer = ann.send(query, variables)
    assert answer.status_code == 400
    assert "data" not in answer.json
    (error,) = answer.json["errors"]
    assert error["extensions"]["status"] in {400, 413}
    return str(error["extensions"]["code"])


FRAGMENT_BOMB = "query { ...F0 } " + " ".join(
    f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(40)
)
FRAGMENT_BOMB += " fragment F40 on Query { __typename }"


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        (nested(3), None),
        (
            "{ " + " ".join(f'a{n}: session(sessionId: "x") {{ state }}' for n in range(limits.MAX_ALIASES + 1)) + " }",
            None,
        ),
        ("{ " + "__typename " * (limits.MAX_REPEATED + 1) + "}", None),
        ("{ sessions(first: 100) { edges { node { events(first: 100) { edges { cursor } } } } } }", None),
        (
            "query ($n: Int!) { sessions(first: $n) { edges { node { head recordings { edges { cursor } } } } } }",
            {"n": 900},
        ),
        (
            "query ($n: Int = 900) { sessions(first: $n) { edges { node { head anchors { edges { cursor } } } } } }",
            None,
        ),
        ("{ sessions(first: 99999999999999999999) { edges { cursor } } }", None),
        ("{ " + " ".join(f'{a}: checkSession(sessionId: "{a}") {{ ok }}' for a in "abcde") + " }", None),
        (FRAGMENT_BOMB, None),
        ("{ a }" + " " * limits.MAX_QUERY_CHARACTERS, None),
    ],
    ids=["depth", "aliases", "repeated", "cost", "variable", "default", "huge", "slow", "fragments", "long"],
)
def test_what_asks_for_too_much_is_refused_at_once(
    ann: Asker, query: str, variables: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("the policy was asked")

    monkeypatch.setattr(world.parts.access, "authorise", never)
    # This process's own work: what else the machine does counts for nothing.
    began = time.process_time()
    assert refusal(ann, query, variables) == "TOO_LARGE"
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "query",
    [
        "{",
        "{ nothing }",
        "{ session { state } }",
        "{ session(sessionId: [1]) { state } }",
        '{ session(sessionId: "x") }',
        "subscription { x }",
        "query A { __typename } query B { __typename }",
        "fragment F on Query { ...F } query { ...F }",
        "{ ...Unknown }",
        "query ($n: Int!) { sessions(first: $n) { edges { cursor } } }",
        "query ($n: Int! = 5, $n: Int!) { sessions(first: $n) { edges { cursor } } }",
        "{ sessions(state: OPENED) { edges { cursor } } }",
        "{ " + "x " * limits.MAX_TOKENS + "}",
        "{" * 900,
        "query ($a: Int = " + "[" * 990,
        'mutation { openSession(sessionId: "x", subject: {a: 1e999}) { receipt { signedNote } } }',
        'mutation { openSession(sessionId: "x", subject: ' + "[" * 60 + "]" * 60 + ") { receipt { signedNote } } }",
        'mutation { openSession(sessionId: "x", subject: {a: 1, a: 2}) { receipt { signedNote } } }',
        "\ufeff\x00",
        '{ session(sessionId: "\\uD800") { state } }',
    ],
)  # fmt: skip
def test_what_is_no_query_of_this_schema_is_refused(ann: Asker, query: str) -> None:
    answer = ann.send(query)
    assert answer.status_code == 400, answer.text
    assert "data" not in answer.json
    assert {error["extensions"]["code"] for error in answer.json["errors"]} == {"INVALID_REQUEST"}
    assert {error["extensions"]["status"] for error in answer.json["errors"]} == {400}


def test_the_worst_that_passes_the_limits_takes_no_long_time(ann: Asker) -> None:
    field = 'a: session(sessionId: "x") { head state type subject eventCount openedAt endedAt }'
    inner = " ".join(["... on Query {", " ".join([field] * 5), "}"])
    query = "query { " + " ".join([inner] * 6) + " }"
    began = time.process_time()
    answer = ann.send(query)
    assert answer.status_code in {200, 400}
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    ("method", "body", "headers", "status", "code"),
    [
        ("GET", None, {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", b"{}", {"Content_Type": "application/x-www-form-urlencoded"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", b"{}", {"Content_Type": "multipart/form-data; boundary=x"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", b"{ __typename }", {"Content_Type": "application/graphql"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST", b"{}", {}, 400, "INVALID_REQUEST"),
        ("POST", b"", {}, 400, "INVALID_REQUEST"),
        ("POST", b'[{"query": "{ __typename }"}]', {}, 400, "INVALID_REQUEST"),
        ("POST", b'{"query": "{ __typename }", "query": "x"}', {}, 400, "INVALID_REQUEST"),
        ("POST", b'{"query": "{ __typename }", "id": 1}', {}, 400, "INVALID_REQUEST"),
        ("POST", b'{"query": 7}', {}, 400, "INVALID_REQUEST"),
        ("POST", b'{"query": ""}', {}, 400, "INVALID_REQUEST"),
        ("POST", b'{"query": "{ __typename }", "variables": []}', {}, 400, "INVALID_REQUEST"),
        ("POST", b'{"query": "{ __typename }", "variables": {"a": NaN}}', {}, 400, "INVALID_REQUEST"),
        ("POST", b"\xff", {}, 400, "INVALID_REQUEST"),
        ("POST", b"[" * 5000, {}, 400, "INVALID_REQUEST"),
        ("POST", b" " * (view.MAX_BODY_BYTES + 1), {}, 413, "TOO_LARGE"),
    ],
)
def test_what_is_no_request_is_a_problem_as_in_rest(
    ann: Asker, method: str, body: bytes | None, headers: dict[str, str], status: int, code: str
) -> None:
    answer = ann.caller.ask(method, "/graphql", body, **headers)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.mimetype == "application/problem+json"


def test_a_query_in_the_address_is_refused(ann: Asker) -> None:
    answer = ann.caller.ask("POST", "/graphql?query={__typename}", {"query": "{ __typename }"})
    assert answer.json["code"] == "INVALID_REQUEST"


def test_without_a_token_nothing_is_told(world: World) -> None:
    body = json.dumps({"query": "{ __schema { types { name } } }"})
    answer = world.app.test_client().post("/graphql", data=body, content_type="application/json")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.mimetype == "application/problem+json"


def test_whoever_asks_for_much_in_one_request_pays_for_each_call(
    world: World, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = world.app.extensions["indelible.limits"]
    monkeypatch.setattr(shared, "_limiter", RateLimiter(per_second=0.001, burst=4, table=Table(10)))
    query = "{ " + " ".join(f'a{n}: session(sessionId: "none-{n}") {{ state }}' for n in range(6)) + " }"
    answer = ann.send(query)
    codes = sorted(error["extensions"]["code"] for error in answer.json["errors"])
    assert codes == ["NOT_FOUND"] * 4 + ["RATE_LIMITED"] * 2
    refused = ann.send("{ __typename }")
    assert (refused.status_code, refused.json["code"]) == (429, "RATE_LIMITED")
    assert "Retry-After" in refused.headers


def test_what_takes_long_is_not_begun_when_too_much_of_it_is_under_way(world: World, ann: Asker) -> None:
    slots = world.app.extensions["indelible.slow"]
    query = f'{{ checkSession(sessionId: "{world.session()}") {{ ok }} }}'
    everybody, ours = [f"org-{n}" for n in range(MAX_SLOW)], [ORGANISATION] * MAX_SLOW_OF_ONE
    for others, code in ((everybody, "OVERLOADED"), (ours, "RATE_LIMITED")):
        with ExitStack() as taken:
            for organisation in others:
                taken.enter_context(slots.take(organisation))
            assert ann.code(query) == code
    assert ann.data(query) == {"checkSession": {"ok": True}}


def test_a_request_that_takes_too_long_begins_nothing_more(
    world: World, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.parts.ledger.get_session

    def dawdle(*asked: Any) -> Any:
        # The limit is over by now, and not before: however long the machine took until here.
        under_way[0]._ends_at = 0.0
        return real(*asked)

    under_way: list[asking.Conversation] = []

    class Noted(asking.Conversation):
        def __init__(self, *made_of: Any) -> None:
            clock = asyncio.get_running_loop().time
            before = clock()
            super().__init__(*made_of)
            assert before + asking.MAX_SECONDS <= self._ends_at <= clock() + asking.MAX_SECONDS
            under_way.append(self)

    name = world.session()
    monkeypatch.setattr(view, "Conversation", Noted)
    monkeypatch.setattr(world.parts.ledger, "get_session", dawdle)
    query = "query ($id: ID!) { session(sessionId: $id) { state anchors { edges { cursor } } } }"
    answer = ann.send(query, {"id": name})
    assert answer.json["data"] == {"session": {"state": "OPEN", "anchors": None}}
    assert [error["extensions"]["code"] for error in answer.json["errors"]] == ["SERVICE_UNAVAILABLE"]
