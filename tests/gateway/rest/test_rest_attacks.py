"""Attacks: by strangers, by integrators who want more than they were given, by other organisations, by what we call."""

import base64
import json
import secrets
import threading
import time
from typing import Any

import pytest
from flask import Flask, g
from joserfc import jwt
from joserfc.jwk import OctKey

from gateway.auth.actions import Scope
from gateway.calls import Identity
from gateway.problems import Problem
from gateway.rest.limits import read_json
from gateway.webhooks import incoming
from ledger.client import ClientError
from tests.gateway.rest.world import GATEWAY_ISSUER, Caller, Reply, World

SCOPES = [scope.value for scope in Scope]


def machine(world: World, roles: list[str], scopes: list[str]) -> tuple[Any, Any]:
    """A credential, and a caller with a token of it."""
    answer = world.caller().post("/credentials", {"name": "m", "roles": roles, "scopes": scopes})
    assert answer.status_code == 201, answer.text
    return answer.json, Caller(app=world.app, bearer=world_token(world, answer.json))


def world_token(world: World, made: Any) -> str:
    """A token for a credential with its secret."""
    answer = world.app.test_client().post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(made["client_id"], made["client_secret"]),
    )
    assert answer.status_code == 200, answer.text
    token: str = answer.get_json()["access_token"]
    return token


def role(world: World, *permissions: str) -> str:
    """A role of the organisation's own."""
    name = f"r-{secrets.token_hex(4)}"
    assert world.caller().ask("PUT", f"/access/roles/{name}", {"permissions": list(permissions)}).status_code == 200
    return name


# What is read


@pytest.mark.parametrize("tail", [b"", b'"', b"\\"])
def test_a_body_of_quotes_and_backslashes_takes_no_longer_than_any_other(tail: bytes) -> None:
    body = b"[" * 41 + b'"' + b'\\"' * 500_000 + tail
    began = time.process_time()
    with pytest.raises(Problem):
        read_json(body, 8 * 1024 * 1024)
    assert time.process_time() - began < 1.0


# More than was given


def test_no_secret_is_given_to_somebody_with_fewer_rights_than_its_credential(world: World) -> None:
    strong, _ = machine(world, ["org_admin"], SCOPES)
    name = role(world, "credential.view", "credential.manage")
    clerk = world.caller(roles=[name], subject="clerk")
    request_id = secrets.token_hex(8)
    rotation = f"/credentials/{strong['credential']['credential_id']}/rotation"
    answer = clerk.post(rotation, {}, X_Request_Id=request_id)
    assert (answer.status_code, answer.json["code"]) == (403, "FORBIDDEN"), answer.text
    assert "client_secret" not in answer.text
    assert "denied" in {outcome for *_, outcome in world.decisions(request_id)}
    # Neither by a token of an administrator's that was limited to this.
    narrow = world.caller(scopes=["gateway:manage", "gateway:read"])
    assert narrow.post(rotation).status_code == 403
    assert world_token(world, strong), "the secret there was works on"
    assert world.caller().post(rotation).status_code == 200


def test_a_role_that_was_assigned_to_a_machine_counts_when_its_secret_is_asked_for(world: World) -> None:
    made, _ = machine(world, ["observer"], ["gateway:read", "gateway:manage"])
    name = role(world, "credential.manage", "session.list", "session.view", "event.list", "anchor.list")
    clerk = world.caller(roles=[name, "observer"], subject="clerk", scopes=["gateway:read", "gateway:manage"])
    rotation = f"/credentials/{made['credential']['credential_id']}/rotation"
    assert clerk.post(rotation).status_code == 200
    assigned = {"subject": made["client_id"], "role": "investigator", "camera_id": "gate-1"}
    assert world.caller().post("/access/assignments", assigned).status_code < 300
    assert clerk.post(rotation).status_code == 403


def test_who_sees_sessions_cannot_make_up_a_role_that_sees_the_operations_chain(world: World) -> None:
    name = role(world, "access.view", "access.manage")
    clerk = world.caller(roles=["observer", name], subject="clerk")
    assert clerk.get("/sessions/operations/events").status_code == 403
    for permission in ("event.list", "session.view", "anchor.list"):
        answer = clerk.ask("PUT", f"/access/roles/{name}", {"permissions": ["access.manage", permission]})
        assert (answer.status_code, answer.json["code"]) == (403, "FORBIDDEN"), permission
    assert clerk.post("/access/assignments", {"subject": "clerk", "role": "observer"}).status_code < 300
    assert clerk.get("/sessions/operations/events").status_code == 403


def test_a_clip_does_not_bring_a_chain_with_it_that_its_holder_may_not_have(world: World) -> None:
    body = {"source": "gate-1", "incident": f"x-{secrets.token_hex(4)}", "event_at": "2026-03-01T12:00:10Z"}
    clip = world.caller().post("/clips", body).json["clip_id"]
    investigator = world.caller(roles=["investigator"], subject="ivo")
    assert investigator.get("/sessions/operations/bundle").status_code == 403
    answer = investigator.get(f"/clips/{clip}/bundle")
    assert (answer.status_code, answer.json.get("action")) == (403, "bundle.export")
    name = role(world, "clip.export", "clip.view")
    session = world.session()
    narrow = world.caller(roles=[name], subject="nora")
    assert narrow.get(f"/clips/{clip}/bundle?session_id={session}").status_code == 403
    assert investigator.get(f"/clips/{clip}/bundle?session_id={session}").status_code != 403


def test_nobody_moves_a_camera_to_where_they_may_do_more(world: World) -> None:
    site, camera, ann = f"s-{secrets.token_hex(4)}", f"c-{secrets.token_hex(4)}", world.caller()
    assert ann.ask("PUT", f"/access/sites/{site}", {"name": "North"}).status_code == 200
    mover = world.caller(roles=[role(world, "access.manage")], subject="mover")
    assert mover.ask("PUT", f"/access/cameras/{camera}", {"site_id": site}).status_code == 200
    assert ann.post("/access/assignments", {"subject": "mover", "role": "investigator", "site_id": site}).json[
        "site_id"
    ]
    assert mover.ask("PUT", f"/access/cameras/{camera}", {"site_id": site}).status_code == 403
    assert ann.ask("PUT", f"/access/cameras/{camera}", {"site_id": site}).status_code == 200


def test_nobody_asks_for_clips_by_way_of_a_source_of_alerts(world: World) -> None:
    body = {"name": "s", "cameras": ["gate-1"]}
    keeper = world.caller(roles=[role(world, "source.manage")], subject="keeper")
    assert keeper.post("/alert-sources", body).json["code"] == "FORBIDDEN"
    made = world.caller().post("/alert-sources", body).json["source"]["alert_source_id"]
    assert keeper.post(f"/alert-sources/{made}/secret").json["code"] == "FORBIDDEN"
    assert keeper.ask("PATCH", f"/alert-sources/{made}", {"cameras": ["x"]}).json["code"] == "FORBIDDEN"
    assert keeper.ask("DELETE", f"/alert-sources/{made}").status_code == 200


def test_a_role_that_is_taken_away_is_gone_for_the_tokens_there_are(world: World) -> None:
    subject = f"s-{secrets.token_hex(4)}"
    ann, sue = world.caller(), world.caller(roles=[], subject=subject)
    given = ann.post("/access/assignments", {"subject": subject, "role": "observer"}).json
    assert sue.get("/sessions").status_code == 200
    assert ann.ask("DELETE", f"/access/assignments/{given['assignment_id']}").status_code == 200
    assert sue.get("/sessions").status_code == 403


def test_a_revoked_machine_is_refused_at_every_door(world: World) -> None:
    made, caller = machine(world, ["observer"], ["ledger:read"])
    assert caller.get("/sessions").status_code == 200
    revocation = f"/credentials/{made['credential']['credential_id']}/revocation"
    assert world.caller().post(revocation, {"reason": "stolen"}).status_code == 200
    assert caller.get("/sessions").status_code == 401
    graphql = Caller(app=world.app, bearer=caller.bearer, root="")
    assert graphql.post("/graphql", {"query": "{ __typename }"}).status_code in {401, 404}
    again = world.caller().post(f"/credentials/{made['credential']['credential_id']}/rotation")
    assert again.json["code"] == "CONFLICT"


# Tokens for somebody else


def test_tokens_are_good_for_what_they_were_made_for_only(world: World) -> None:
    _, client = machine(world, ["org_admin"], SCOPES)
    service = world.parts.passes.token("acme", "ann", SCOPES)
    assert Caller(app=world.app, bearer=service).get("/sessions").status_code == 401, "a service's token at the gateway"
    assert client.get("/sessions").status_code == 200
    mine = Identity(token=client.bearer, request_id="r")
    for refused in (
        lambda: world.parts.ledger.get_session(mine, "operations"),
        lambda: world.parts.evidence.get_retention(mine),
    ):
        with pytest.raises(ClientError) as caught:
            refused()
        assert caught.value.reason == "UNAUTHENTICATED"


def _forged(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"x" * 64) -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_forged_tokens_are_refused_alike_whatever_the_trick(world: World) -> None:
    now = int(time.time())
    key = world.parts.keys.published()["keys"][0]  # type: ignore[index]  # it is a JSON Web Key Set
    claims = {
        "iss": GATEWAY_ISSUER, "aud": GATEWAY_ISSUER, "sub": "acme.x", "client_id": "acme.x", "org": "acme",
        "scope": "ledger:read", "roles": ["org_admin"], "iat": now, "nbf": now, "exp": now + 60,
    }  # fmt: skip
    public = OctKey.import_key(key["x"])
    headers: list[dict[str, Any]] = [
        {"alg": "none", "typ": "at+jwt"},
        {"alg": "none", "typ": "at+jwt", "kid": key["kid"]},
        {"alg": "Ed25519", "typ": "at+jwt", "kid": key["kid"]},
        {"alg": "ed25519", "typ": "at+jwt", "kid": key["kid"]},
        {"alg": "Ed25519", "typ": "at+jwt", "kid": "../../../dev/null"},
        {"alg": "Ed25519", "typ": "at+jwt", "kid": [key["kid"]]},
        {"alg": "Ed25519", "typ": "at+jwt", "kid": {"a": 1}},
        {"alg": "Ed25519", "typ": "at+jwt", "jwk": key},
        {"alg": "Ed25519", "typ": "at+jwt", "kid": key["kid"], "crit": ["b64"], "b64": False},
        {"alg": ["Ed25519"], "typ": "at+jwt", "kid": key["kid"]},
        {"alg": "Ed25519", "typ": None, "kid": key["kid"]},
    ]
    tokens = [_forged(header, claims) for header in headers]
    tokens += [
        _forged(headers[2], claims, b""),
        _forged(headers[2], {**claims, "iss": {"a": 1}}),
        "a.b.c",
        "....",
        "e30.e30.",
    ]
    tokens += [jwt.encode({"alg": "HS256", "kid": key["kid"], "typ": "at+jwt"}, claims, public)]
    answers: list[Reply] = [
        Caller(app=world.app, bearer=token, headers={"X-Forwarded-For": "192.0.2.1"}).get("/sessions", X_Request_Id="r")
        for token in tokens
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    mine = world.parts.keys.sign({**claims, "aud": [GATEWAY_ISSUER], "client_id": "other.x"})
    assert Caller(app=world.app, bearer=mine).get("/sessions").status_code == 401


# Others' things


def test_no_answer_of_another_organisation_is_had_by_its_etag_cursor_or_idempotency_key(world: World) -> None:
    ann, eve = world.caller(), world.foreigner()
    name = world.session(about="ours")
    etag = ann.get(f"/sessions/{name}").headers["ETag"]
    assert eve.get(f"/sessions/{name}", If_None_Match=etag).status_code == 404
    assert eve.get(f"/sessions/{name}", If_None_Match="*").status_code == 404
    world.session()
    cursor = ann.get("/sessions?limit=1").json["next_cursor"]
    answer = eve.get(f"/sessions?limit=1&cursor={cursor}")
    assert answer.status_code == 400 or name not in answer.text
    body = {"name": "k", "roles": ["observer"], "scopes": ["ledger:read"]}
    key = secrets.token_hex(8)
    first = ann.post("/credentials", body, Idempotency_Key=key)
    for other in (eve, world.caller(subject="zoe")):
        made = other.post("/credentials", body, Idempotency_Key=key)
        assert made.status_code == 201
        assert made.json["credential"]["credential_id"] != first.json["credential"]["credential_id"]
    mine = ann.get("/credentials?limit=1").json["next_cursor"]
    if mine is not None:
        listed = eve.get(f"/credentials?cursor={mine}")
        assert {one["client_id"].partition(".")[0] for one in listed.json["items"]} <= {"other"}


def test_many_at_once_under_one_key_do_it_once(world: World) -> None:
    key, body = secrets.token_hex(8), {"name": "race", "roles": ["observer"], "scopes": ["ledger:read"]}
    name = f"race-{secrets.token_hex(4)}"
    answers: list[Reply] = []
    start = threading.Barrier(6)

    def ask() -> None:
        start.wait()
        answers.append(world.caller(subject=name).post("/credentials", body, Idempotency_Key=key))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = sorted(answer.json.get("code", "made") for answer in answers)
    assert codes.count("made") == 1, codes
    assert set(codes) <= {"made", "IDEMPOTENCY_IN_PROGRESS", "IDEMPOTENCY_ANSWER_WITHHELD"}


# What strangers may try


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/sessions%2F..",
        "/api/v1//sessions",
        "/API/v1/sessions",
        "/api/v1/sessions/%00",
        "/api/v1/clips/%2e%2e/holds",
        "/api/v1/sessions/a;b",
        "/graphql/",
        "/webhooks/in/acme/alerts/x",
        "/webhooks/in/%00/alerts/00000000-0000-0000-0000-000000000007",
    ],
)
def test_a_crooked_address_is_a_clear_refusal(world: World, path: str) -> None:
    for method in ("GET", "POST"):
        answer = Caller(app=world.app, bearer=world.caller().bearer, root="").ask(
            method, path, b"{}", X_HTTP_Method_Override="DELETE"
        )
        assert 400 <= answer.status_code < 500, (method, answer.text)
        assert answer.mimetype == "application/problem+json"


def test_made_up_sources_do_not_lift_the_limit_of_an_address(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "BURST_REQUESTS", 5)
    monkeypatch.setattr(incoming, "REQUESTS_PER_SECOND", 0.001)
    app = Flask(__name__)
    app.before_request(lambda: setattr(g, "request_id", "r"))
    app.register_error_handler(Problem, lambda problem: (problem.document("r"), problem.status))
    incoming.register(app, world.parts)
    statuses = [
        app.test_client()
        .post(
            f"/webhooks/in/acme/alerts/00000000-0000-4000-8000-0000000000{number:02}",
            headers={"X-Forwarded-For": f"192.0.2.{number}"},
        )
        .status_code
        for number in range(8)
    ]
    assert statuses == [401] * 5 + [429] * 3


def test_nothing_secret_is_in_the_logs(
    world: World, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    made, client = machine(world, ["org_admin"], SCOPES)
    secret_things = [made["client_secret"], client.bearer, world.parts.passes.token("acme", "ann", ["ledger:read"])]
    ann = world.caller()
    secret_things += [ann.bearer]
    endpoint = ann.post("/webhook-endpoints", {"url": "https://example.com/h", "types": ["session.closed"]}).json
    source = ann.post("/alert-sources", {"name": "s", "cameras": ["gate-1"]}).json
    secret_things += [endpoint["secret"], source["secret"]]
    link = ann.post(f"/sessions/{world.session()}/verify-links").json
    secret_things += [link["url"].rpartition("/")[2]]
    client.post("/clips", b"{broken")
    ann.get(f"/sessions?access_token={ann.bearer}")
    world.app.test_client().post(
        "/oauth/token", data={"grant_type": "client_credentials", "client_secret": "hunter22hunter"}
    )
    Caller(app=world.app, bearer=client.bearer + "x").get("/sessions")
    secret_things += ["hunter22hunter"]
    captured = capfd.readouterr()
    told = captured.out + captured.err + caplog.text
    assert [one[:12] for one in secret_things if one in told] == []
