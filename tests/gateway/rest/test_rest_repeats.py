"""Idempotency-Key: however often a request arrives, and whoever sends it meanwhile."""

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from gateway.problems import Problem
from gateway.rest.repeats import CLAIM_SECONDS, KEEP_SECONDS, Claim, Kept, Repeats, key_of
from tests.gateway.rest.world import Reply, World

EVENT = {"events": [{"kind": "door.opened", "payload": {"door": "north"}}]}


def code_of(answer: Reply) -> str:
    return str((answer.json or {}).get("code"))


def events_of(world: World, session: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (world.caller().get(f"/sessions/{session}/events").json or {})["items"]
    return items


def test_an_append_that_is_sent_again_writes_nothing_and_gets_the_first_answer(world: World) -> None:
    session = world.session()
    ann = world.caller()
    first = ann.post(f"/sessions/{session}/events", EVENT, Idempotency_Key="k")
    again = ann.post(f"/sessions/{session}/events", EVENT, Idempotency_Key='"k"')
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(events_of(world, session)) == 2


def test_a_key_with_another_request_is_refused(world: World) -> None:
    session = world.session()
    ann = world.caller()
    assert ann.post(f"/sessions/{session}/events", EVENT, Idempotency_Key="k").status_code == 201
    other = {"events": [{"kind": "door.closed", "payload": {}}]}
    answer = ann.post(f"/sessions/{session}/events", other, Idempotency_Key="k")
    assert (answer.status_code, code_of(answer)) == (422, "IDEMPOTENCY_CONFLICT")
    assert ann.post(f"/sessions/{session}/verify-links", {"valid_days": 5}, Idempotency_Key="k").status_code == 201
    answer = ann.post(f"/sessions/{session}/verify-links", {"valid_days": 6}, Idempotency_Key="k")
    assert (answer.status_code, code_of(answer)) == (422, "IDEMPOTENCY_CONFLICT")


def test_a_link_that_is_asked_for_again_is_the_same_link(world: World) -> None:
    session = world.session()
    ann = world.caller()
    answers = [ann.post(f"/sessions/{session}/verify-links", Idempotency_Key="one") for _ in range(3)]
    assert len({answer.data for answer in answers}) == 1
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, "true", "true"]
    other = ann.post(f"/sessions/{session}/verify-links", Idempotency_Key="two")
    assert other.json["link_id"] != answers[0].json["link_id"]


def test_keys_of_different_subjects_addresses_and_organisations_have_nothing_to_do_with_each_other(
    world: World,
) -> None:
    sessions = [world.session() for _ in range(2)]
    links = [
        caller.post(f"/sessions/{session}/verify-links", Idempotency_Key="shared").json["link_id"]
        for caller in (world.caller(subject="ann"), world.caller(subject="ben"))
        for session in sessions
    ]
    assert len(set(links)) == 4
    for name in ("ann", "ben"):
        caller = world.caller(subject=name)
        assert caller.post(f"/sessions/{sessions[0]}/events", EVENT, Idempotency_Key="mine").status_code == 201
    assert len(events_of(world, sessions[0])) == 3


def test_of_many_at_once_one_is_carried_out(world: World) -> None:
    session = world.session()
    ann = world.caller()
    gate = threading.Barrier(8)

    def send(_number: int) -> Reply:
        gate.wait()
        return ann.post(f"/sessions/{session}/verify-links", {"valid_days": 7}, Idempotency_Key="race")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    made = {answer.data for answer in answers if answer.status_code == 201}
    assert len(made) == 1
    refused = [answer for answer in answers if answer.status_code != 201]
    assert {(answer.status_code, code_of(answer)) for answer in refused} <= {(409, "IDEMPOTENCY_IN_PROGRESS")}
    assert all(answer.headers["Retry-After"] for answer in refused)


def test_of_many_appends_at_once_one_is_written(world: World) -> None:
    session = world.session()
    ann = world.caller()
    gate = threading.Barrier(8)

    def send(_number: int) -> Reply:
        gate.wait()
        return ann.post(f"/sessions/{session}/events", EVENT, Idempotency_Key="race")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.data for answer in answers}) == 1
    assert len(events_of(world, session)) == 2


def test_a_secret_is_not_kept_to_be_repeated(world: World) -> None:
    ann = world.caller()
    body = {"name": "recorder", "roles": ["observer"], "scopes": ["ledger:read"]}
    key = secrets.token_hex(8)
    first = ann.post("/credentials", body, Idempotency_Key=key)
    again = ann.post("/credentials", body, Idempotency_Key=key)
    assert (again.status_code, code_of(again)) == (409, "IDEMPOTENCY_ANSWER_WITHHELD")
    with psycopg.connect(world.database.admin_dsn) as connection:
        rows = connection.execute("SELECT body, headers::text FROM gateway.idempotency_keys").fetchall()
    kept = b"".join(bytes(body or b"") + (headers or "").encode() for body, headers in rows)
    assert first.json["client_secret"].encode() not in kept


def test_a_refused_request_may_be_sent_again_with_its_key(world: World) -> None:
    ann = world.caller()
    name = f"late-{secrets.token_hex(4)}"
    assert ann.post(f"/sessions/{name}/verify-links", Idempotency_Key="k").status_code == 404
    assert ann.post("/sessions", {"session_id": name}).status_code == 201
    assert ann.post(f"/sessions/{name}/verify-links", Idempotency_Key="k").status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 129, "é", '""', "tab\there"])
def test_a_key_that_is_none_is_refused(world: World, key: str) -> None:
    answer = world.caller().post("/sessions", {"session_id": "never"}, Idempotency_Key=key)
    assert answer.status_code == 400
    assert answer.json["field"] == "Idempotency-Key"


class Moving:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_claim_whose_gateway_died_is_free_after_its_time_and_an_answer_is_kept_for_a_day(world: World) -> None:
    clock = Moving()
    repeats = Repeats(world.parts.records, clock)
    caller = identity()
    claim = repeats.claim(caller, "POST /x", "k", b"body")
    assert isinstance(claim, Claim)
    with pytest.raises(Problem, match="being carried out"):
        repeats.claim(caller, "POST /x", "k", b"body")
    clock.now += CLAIM_SECONDS + 1
    second = repeats.claim(caller, "POST /x", "k", b"body")
    assert isinstance(second, Claim)
    answer = Kept(status=201, headers={"ETag": '"x"'}, body=b"{}")
    repeats.keep(claim, Kept(status=200, headers={}, body=b"late"), withhold=False)
    repeats.keep(second, answer, withhold=False)
    assert repeats.claim(caller, "POST /x", "k", b"body") == answer
    repeats.give_up(second)
    assert repeats.claim(caller, "POST /x", "k", b"body") == answer
    clock.now += KEEP_SECONDS + 1
    assert isinstance(repeats.claim(caller, "POST /x", "k", b"another"), Claim)


def identity() -> Any:
    from gateway.auth.values import GatewayCaller

    return GatewayCaller(
        organisation_id="acme",
        subject=f"s-{secrets.token_hex(4)}",
        roles=frozenset(),
        scopes=frozenset(),
        expires_at=4e9,
        request_id="r",
    )


def test_nothing_of_the_key_is_kept(world: World) -> None:
    session = world.session()
    key = f"telling-{secrets.token_hex(8)}"
    assert world.caller().post(f"/sessions/{session}/verify-links", Idempotency_Key=key).status_code == 201
    with psycopg.connect(world.database.admin_dsn) as connection:
        found = connection.execute("SELECT string_agg(k::text, '') FROM gateway.idempotency_keys AS k").fetchone()
    assert found is not None
    assert key not in found[0]
    assert key.encode().hex() not in found[0]


def test_keys_may_be_quoted_as_a_structured_field_is() -> None:
    assert key_of(None) is None
    assert key_of("abc") == key_of('"abc"') == "abc"
