"""What holds around every route: files and threads, browsers, request ids, services that are away."""

import io
import secrets
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, g
from flask_openapi3.blueprint import APIBlueprint

from gateway.calls import Identity, LedgerCalls, Line
from gateway.calls.line import CALL_SECONDS
from gateway.rest import MAX_SLOW, MAX_SLOW_OF_ONE
from gateway.rest.cors import allow_origins
from gateway.rest.writing import _Pieces
from ledger.client import UNREACHABLE, ClientError
from sandbox.processes import free_port
from tests.gateway.rest.world import Caller, Reply, World


def test_a_bundle_comes_whole_and_head_leaves_nothing_running(world: World) -> None:
    session = world.session()
    ann = world.caller()
    for _ in range(MAX_SLOW_OF_ONE + 4):
        assert ann.ask("HEAD", f"/sessions/{session}/bundle").status_code == 200
    answer = ann.get(f"/sessions/{session}/bundle")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{session}.zip"'
    assert zipfile.ZipFile(io.BytesIO(answer.data)).testzip() is None
    assert ann.get(f"/sessions/{secrets.token_hex(4)}/bundle").status_code == 404


def test_slow_readers_of_one_organisation_leave_room_for_others_and_for_everything_else(world: World) -> None:
    session = world.session()
    ann, eve = world.caller(), world.foreigner()
    elsewhere = f"s-{secrets.token_hex(6)}"
    assert eve.post("/sessions", {"session_id": elsewhere}).status_code == 201

    def download(who: Caller, name: str) -> Any:
        headers = {"Authorization": f"Bearer {who.bearer}"}
        path = f"/api/v1/sessions/{name}/bundle"
        return world.app.test_client().get(path, headers=headers, buffered=False)

    sample = world.parts.metrics.registry.get_sample_value

    def refusals(why: str) -> float:
        return sample("indelible_gateway_slots_refused_total", {"of": "api", "why": why}) or 0

    before = {why: refusals(why) for why in ("share", "all")}
    open_ones = [download(ann, session) for _ in range(MAX_SLOW_OF_ONE)]
    try:
        refused = ann.get(f"/sessions/{session}/bundle")
        assert (refused.status_code, refused.json["code"]) == (429, "RATE_LIMITED")
        assert refused.headers["Retry-After"]
        assert ann.get(f"/sessions/{session}").status_code == 200
        open_ones += [download(eve, elsewhere) for _ in range(MAX_SLOW - MAX_SLOW_OF_ONE)]
        assert {one.status_code for one in open_ones} == {200}
        refused = world.caller("somebody-else").get(f"/sessions/{session}/bundle")
        assert (refused.status_code, refused.json["code"]) == (503, "OVERLOADED")
        assert refused.headers["Retry-After"]
        assert sample("indelible_gateway_slots_in_use", {"of": "api"}) == MAX_SLOW
    finally:
        for one in open_ones:
            one.close()
    assert sample("indelible_gateway_slots_in_use", {"of": "api"}) == 0
    assert {why: refusals(why) for why in before} == {why: count + 1 for why, count in before.items()}
    assert ann.get(f"/sessions/{session}/bundle").status_code == 200


def test_a_file_that_breaks_off_is_not_ended_properly() -> None:
    ended: list[str] = []

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ClientError(UNREACHABLE, "gone")

    pieces = _Pieces(broken(), lambda: ended.append("done"))
    assert next(pieces) == b"half"
    with pytest.raises(ClientError):
        next(pieces)
    pieces.close()
    pieces.close()
    assert ended == ["done"]


def test_a_bundle_with_what_was_sealed_takes_a_right_of_its_own(world: World) -> None:
    session = world.session()
    auditor = world.caller(roles=["auditor"], subject="aud")
    assert auditor.get(f"/sessions/{session}/bundle?disclosures=false").status_code == 200
    assert auditor.get(f"/sessions/{session}/bundle?disclosures=true").status_code == 403
    assert world.caller().get(f"/sessions/{session}/bundle?disclosures=true").status_code == 200


def test_what_did_not_change_is_not_sent_again(world: World) -> None:
    session = world.session()
    ann = world.caller()
    event = ann.get(f"/sessions/{session}/events/1")
    again = ann.get(f"/sessions/{session}/events/1", If_None_Match=event.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    assert event.headers["ETag"] == f'"{event.json["hash"]}"'
    head = ann.get(f"/sessions/{session}").headers["ETag"]
    assert ann.get(f"/sessions/{session}", If_None_Match=head).status_code == 304
    ann.post(f"/sessions/{session}/events", {"events": [{"kind": "a.b", "payload": {}}]})
    assert ann.get(f"/sessions/{session}", If_None_Match=head).status_code == 200


def test_pages_lead_to_each_other_by_their_link_header(world: World) -> None:
    session = world.session()
    ann = world.caller()
    events = [{"kind": "page.turned", "payload": {"n": n}} for n in range(5)]
    ann.post(f"/sessions/{session}/events", {"events": events})
    path, seen = f"/sessions/{session}/events?kind=page.turned&limit=2", []
    for _ in range(3):
        answer = ann.get(path)
        seen += [event["payload"]["n"] for event in answer.json["items"]]
        path = answer.headers.get("Link", "").partition(">")[0].removeprefix("</api/v1")
    assert (seen, path) == ([0, 1, 2, 3, 4], "")
    foreign = ann.get(f"/sessions/{session}/events?limit=2&cursor={answer_cursor(ann.get('/sessions?limit=1'))}")
    assert (foreign.status_code, foreign.json["field"]) == (400, "cursor")


def answer_cursor(answer: Reply) -> str:
    return str(answer.json["next_cursor"])


@pytest.mark.parametrize("asked", ["fine.id-1", "a b", "x" * 65, "<script>"])
def test_a_request_id_is_kept_when_it_is_harmless_and_reaches_the_ledger(world: World, asked: str) -> None:
    answer = world.caller().get(f"/sessions/{secrets.token_hex(4)}", X_Request_Id=asked)
    told = answer.headers["X-Request-Id"]
    assert (told == asked) == (asked == "fine.id-1")
    assert answer.json["request_id"] == told
    assert any(line.get("request_id") == told for line in world.ledger.log_lines())


def cors_app(origins: frozenset[str]) -> Flask:
    app = Flask(__name__)
    blueprint = APIBlueprint("rest", __name__, url_prefix="/api/v1")
    allow_origins(blueprint, origins)
    blueprint.get("/thing", doc_ui=False)(lambda: "thing")
    app.register_blueprint(blueprint)
    app.before_request(lambda: setattr(g, "request_id", "r"))
    return app


def test_only_named_origins_may_read_answers_in_a_browser() -> None:
    client = cors_app(frozenset({"https://desk.example.org"})).test_client()
    good = client.open("/api/v1/thing", method="OPTIONS", headers={"Origin": "https://desk.example.org"})
    assert good.headers["Access-Control-Allow-Origin"] == "https://desk.example.org"
    assert "Idempotency-Key" in good.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in good.headers
    for origin in ("https://evil.example", "https://desk.example.org.evil.example", "null", "https://DESK.example.org"):
        answer = client.get("/api/v1/thing", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.headers["Vary"]
    assert "Vary" not in cors_app(frozenset()).test_client().get("/api/v1/thing").headers


def test_a_service_that_is_away_is_told_within_moments_and_holds_no_thread() -> None:
    with Line() as line:
        ledger = LedgerCalls(line.connect(f"127.0.0.1:{free_port()}", tls=None, service="ledger"))
        identity = Identity(token="t", request_id="r")
        for call in (
            lambda: ledger.get_session(identity, "x"),
            lambda: ledger.export_bundle(identity, "x", include_disclosures=False),
        ):
            began = time.monotonic()
            with pytest.raises(ClientError) as caught:
                call()
            assert caught.value.reason == UNREACHABLE
            assert time.monotonic() - began < CALL_SECONDS
        line.close()
        line.close()


def test_no_redirect_leads_a_token_to_an_address_without_encryption(world: World) -> None:
    answer = world.app.test_client().get("/api/v1")
    assert (answer.status_code, answer.headers["Location"]) == (308, "v1/")
    for path in ("/api/v1/sessions/", "/graphql/", "/oauth/token/", "/healthz/", "//api/v1"):
        assert world.app.test_client().get(path).status_code == 404, path


def test_the_reference_page_needs_nothing_from_elsewhere(world: World) -> None:
    answer = world.app.test_client().get("/api/v1/")
    assert answer.status_code == 200
    text = answer.get_data(as_text=True)
    assert "<script" not in text
    assert "http://" not in text.replace("https://", "")
    assert "style-src 'sha256-" in answer.headers["Content-Security-Policy"]
    for word in ("POST", "/api/v1/sessions/{session_id}/events", "IDEMPOTENCY_CONFLICT", "next_cursor"):
        assert word in text


def test_roles_are_given_where_they_shall_hold_and_taken_away(world: World) -> None:
    ann = world.caller()
    name = f"guard-{secrets.token_hex(3)}"
    site, camera, role = f"site-{name}", f"cam-{name}", f"role-{name}"
    ben = world.caller(roles=[], subject=name)
    assert ben.get("/sessions").status_code == 403
    assert ann.ask("PUT", f"/access/sites/{site}", {"name": "North"}).status_code == 200
    assert ann.ask("PUT", f"/access/cameras/{camera}", {"site_id": site}).json == {"camera_id": camera, "site_id": site}
    assert ann.ask("DELETE", f"/access/sites/{site}").json["code"] == "CONFLICT"
    assert ann.ask("PUT", f"/access/roles/{role}", {"permissions": ["session.list"]}).json["permissions"] == [
        "session.list"
    ]
    given = ann.post("/access/assignments", {"subject": name, "role": role})
    assert given.status_code == 201
    assert ben.get("/sessions").status_code == 200
    assert [one["role"] for one in ann.get(f"/access/assignments?subject={name}").json["items"]] == [role]
    assert ann.ask("DELETE", f"/access/roles/{role}").json["code"] == "CONFLICT"
    removed: Any = ann.ask("DELETE", f"/access/assignments/{given.json['assignment_id']}").json
    assert removed["removed_by"] == "ann"
    assert ben.get("/sessions").status_code == 403
    assert ann.ask("DELETE", f"/access/roles/{role}").json == {"name": role}
    assert ann.ask("DELETE", f"/access/cameras/{camera}").json == {"name": camera}
    assert ann.ask("DELETE", f"/access/sites/{site}").json == {"name": site}
    assert ann.ask("DELETE", f"/access/sites/{site}").status_code == 404


def test_nobody_gives_more_than_they_have(world: World) -> None:
    manager = f"manager-{secrets.token_hex(3)}"
    ann = world.caller()
    ann.ask("PUT", f"/access/roles/{manager}", {"permissions": ["access.view", "access.manage"]})
    ann.post("/access/assignments", {"subject": manager, "role": manager})
    caller = world.caller(roles=[], subject=manager)
    answer = caller.post("/access/assignments", {"subject": manager, "role": "org_admin"})
    assert (answer.status_code, answer.json["code"]) == (403, "FORBIDDEN")
    assert caller.ask("PUT", "/access/roles/mine", {"permissions": ["clip.dispose"]}).status_code == 403
