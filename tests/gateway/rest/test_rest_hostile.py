"""Requests that nobody should send."""

import json
import secrets
from typing import Any

import pytest

from gateway.problems import Code, Problem
from gateway.rest.limits import MAX_DEPTH, CallerLimits, read_json
from gateway.rest.sessions import object_bytes
from gateway.shared import Table
from tests.gateway.rest.world import World


def problem(body: bytes, limit: int = 100_000) -> Problem:
    with pytest.raises(Problem) as caught:
        read_json(body, limit)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5_000 + b"}",
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b"[" * 41 + b"]" * 41,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"[" * 9_000,
        b'{"a":"' + b"\\" * 9,
        b"{}{}",
        b'{"a":01}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_parsers_could_read_in_two_ways_is_refused(body: bytes) -> None:
    assert problem(body).code is Code.INVALID_REQUEST


def test_brackets_in_text_are_no_nesting() -> None:
    text = '{"a":"' + "[" * 200 + '\\"' + "{" * 200 + '"}'
    assert read_json(text.encode(), 10_000) == {"a": "[" * 200 + '"' + "{" * 200}
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert read_json(json.dumps(deep).encode(), 10_000) == deep


def test_numbers_keep_their_value_or_are_refused() -> None:
    assert read_json(b'{"a":9007199254740993,"b":0.1,"c":-0.0}', 100) == {"a": 9007199254740993, "b": 0.1, "c": 0.0}
    assert object_bytes(read_json(b'{"a":2.0,"b":1e2,"c":1e300}', 100), "payload") == b'{"a":2,"b":100,"c":1e+300}'
    with pytest.raises(Problem) as caught:
        object_bytes({"a": 2**64}, "payload")
    assert (caught.value.code, caught.value.field) == (Code.INVALID_PAYLOAD, "payload")
    with pytest.raises(Problem):
        object_bytes({"a": "\ud800"}, "payload")


def test_a_body_beyond_the_limit_is_refused_unread(world: World) -> None:
    assert problem(b" " * 101, 100).code is Code.TOO_LARGE
    answer = world.caller().post("/clips", b"x" * 70_000)
    assert (answer.status_code, answer.json["code"]) == (413, "TOO_LARGE")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_only_json_is_read(world: World, media_type: str) -> None:
    answer = world.caller().post("/sessions", b'{"session_id":"never"}', Content_Type=media_type)
    assert (answer.status_code, answer.json["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/sessions?limit=0", "limit"),
        ("/sessions?limit=1001", "limit"),
        ("/sessions?limit=1e2", "limit"),
        ("/sessions?limit=%2B5", "limit"),
        ("/sessions?limit=%D9%A1", "limit"),
        ("/sessions?limit=5&limit=6", "limit"),
        ("/sessions?state=gone", "state"),
        ("/sessions?unknown=1", "unknown"),
        ("/sessions?cursor=!", "cursor"),
        ("/sessions?cursor=abc", "cursor"),
        ("/sessions/UPPER", "session_id"),
        ("/sessions/a/events/0", "sequence"),
        ("/sessions/a/events/1.0", "sequence"),
        ("/sessions/a/events/-1", "sequence"),
        ("/sessions/a/events/999999999999999999999", "sequence"),
        ("/sessions/a/events?kind=NoKind", "kind[0]"),
        ("/clips?held=yes", "held"),
        ("/clips?event_from=2026-02-30T00:00:00Z", "event_from"),
        ("/clips?event_from=yesterday", "event_from"),
        ("/clips?event_from=2026-03-01T12:00:00", "event_from"),
        ("/clips/not-a-clip", "clip_id"),
        ("/retention?days=1", None),
    ],
)
def test_what_is_malformed_is_named(world: World, path: str, field: str | None) -> None:
    answer = world.caller().get(path)
    assert (answer.status_code, answer.json["code"]) == (400, "INVALID_REQUEST"), answer.text
    assert answer.json.get("field") == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "events"),
        ({"events": []}, "events"),
        ({"events": [{"kind": "a.b"}]}, "events[0].payload"),
        ({"events": [{"kind": "a.b", "payload": []}]}, "events[0].payload"),
        ({"events": [{"kind": "a.b", "payload": {}, "more": 1}]}, "events[0].more"),
        ({"events": [{"kind": "A.B", "payload": {}}]}, "events[0].kind"),
        ({"events": [{"kind": "a.b", "payload": {}}], "expected_sequence": "2"}, "expected_sequence"),
        ({"events": [{"kind": "a.b", "payload": {}}], "expected_sequence": 2.5}, "expected_sequence"),
        ({"events": [{"kind": "a.b", "payload": {}}], "expected_sequence": True}, "expected_sequence"),
        ([], None),
        ("text", None),
        (None, None),
    ],
)
def test_a_body_of_another_form_is_refused_and_nothing_is_written(world: World, body: Any, field: str | None) -> None:
    session = world.session()
    answer = world.caller().ask("POST", f"/sessions/{session}/events", json.dumps(body).encode())
    assert (answer.status_code, answer.json["code"]) == (400, "INVALID_REQUEST"), answer.text
    assert answer.json.get("field") == field
    assert world.caller().get(f"/sessions/{session}").json["event_count"] == 1


def test_the_ledgers_refusals_reach_the_caller_with_the_callers_names(world: World) -> None:
    session = world.session()
    ann = world.caller()

    def refused(event: dict[str, Any], **more: Any) -> tuple[int, str, Any]:
        answer = ann.post(f"/sessions/{session}/events", {"events": [event], **more})
        return answer.status_code, answer.json["code"], answer.json.get("field")

    assert refused({"kind": "a.b", "payload": {"_sd": 1}})[:2] == (400, "INVALID_PAYLOAD")
    assert refused({"kind": "a.b", "payload": {"n": 2**53 + 1}})[:2] == (400, "INVALID_PAYLOAD")
    assert refused({"kind": "chain.closed", "payload": {}})[:2] == (400, "RESERVED_KIND")
    assert refused({"kind": "clip.preserved", "payload": {"clip_id": "x"}})[:2] == (403, "FORBIDDEN")
    assert refused({"kind": "a.b", "payload": {"x": "y" * 300_000}})[0] in {400, 413}
    assert refused({"kind": "a.b", "payload": {}}, expected_sequence=7)[:2] == (409, "SEQUENCE_MISMATCH")
    answer = ann.post(
        f"/sessions/{session}/events", {"events": [{"kind": "a.b", "payload": {}}], "expected_sequence": 7}
    )
    assert answer.json["actual_sequence"] == 2
    assert ann.post("/sessions", {"session_id": session, "subject": {"x": 1}}).json["code"] == "CHAIN_EXISTS"
    assert ann.post(f"/sessions/{session}/close").status_code == 200
    assert refused({"kind": "a.b", "payload": {}})[:2] == (409, "CHAIN_CLOSED")
    assert ann.post(f"/sessions/{secrets.token_hex(4)}/close").json["code"] == "NOT_FOUND"


def test_a_clip_that_is_not_there_yet_gives_nothing_out(world: World) -> None:
    ann = world.caller()
    body = {"source": "gate-1", "incident": f"w-{secrets.token_hex(4)}", "event_at": "2099-03-01T12:00:10Z"}
    clip = ann.post("/clips", body).json["clip_id"]
    answer = ann.post(f"/clips/{clip}/files/clip.mp4/links")
    assert (answer.status_code, answer.json["code"]) == (409, "CLIP_NOT_PRESERVED")
    assert ann.post("/clips", {**body, "source": "nobodys"}).status_code == 404
    assert ann.post("/clips", body).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/sessions", 405),
        ("PATCH", "/sessions/a", 405),
        ("POST", "/sessions/a", 405),
        ("TRACE", "/sessions", 405),
        ("GET", "/nothing", 404),
        ("GET", "/sessions/", 404),
        ("GET", "//sessions", 404),
        ("GET", "/sessions/a/../b", 404),
    ],
)
def test_other_methods_and_addresses_are_problems_too(world: World, method: str, path: str, status: int) -> None:
    answer = world.caller().ask(method, path)
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert status != 405 or "GET" in answer.headers["Allow"]


def test_head_says_what_get_would_and_options_what_there_is(world: World) -> None:
    session = world.session()
    ann = world.caller()
    head = ann.ask("HEAD", f"/sessions/{session}")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["ETag"] == ann.get(f"/sessions/{session}").headers["ETag"]
    options = ann.ask("OPTIONS", f"/sessions/{session}")
    assert set(options.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert "Access-Control-Allow-Origin" not in ann.ask("OPTIONS", "/sessions", Origin="https://evil.example").headers


def test_a_limit_of_requests_is_told_in_headers_and_then_enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = CallerLimits(per_second=2, burst=4, table=Table(10))
    monkeypatch.setattr(limits._limiter, "_clock", lambda: 0.0)
    caller = _caller("ann")
    told = [limits.spend(caller) for _ in range(4)]
    assert [headers["RateLimit-Policy"] for headers in told] == ['"caller";q=4;w=2'] * 4
    assert [headers["RateLimit"].split(";")[1] for headers in told] == ["r=3", "r=2", "r=1", "r=0"]
    with pytest.raises(Problem) as caught:
        limits.spend(caller)
    assert caught.value.code is Code.RATE_LIMITED
    assert int(caught.value.headers["Retry-After"]) >= 1
    assert limits.spend(_caller("ben"))["RateLimit"].startswith('"caller";r=3;')


def _caller(subject: str) -> Any:
    from gateway.auth.values import GatewayCaller

    return GatewayCaller(
        organisation_id="acme",
        subject=subject,
        roles=frozenset(),
        scopes=frozenset(),
        expires_at=4e9,
        request_id="r",
    )
