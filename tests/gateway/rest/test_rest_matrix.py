"""Every role, and another organisation's, at every route."""

import re
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.actions.table import USE_CASES
from gateway.auth.actions import ACTIONS, Action
from gateway.rest.routes import ALL_ROUTES
from gateway.rest.routing import Route
from tests.gateway.rest.world import ROLES, Caller, World

ACTION_OF = {case.function: case.action for case in USE_CASES}
WATCHED = frozenset(
    {
        "session.list",
        "session.view",
        "event.list",
        "anchor.list",
        "recording.list",
        "recording.view",
        "clip.list",
        "clip.view",
    }
)


@dataclass(frozen=True)
class Things:
    """What belongs to the organisation `acme`, each by its name."""

    session_id: str
    clip_id: str
    hold_id: str
    link_id: str
    credential_id: str
    recording_id: str
    endpoint_id: str
    alert_source_id: str


@pytest.fixture(scope="module")
def things(world: World) -> Things:
    ann = world.caller()
    session = world.session(about="the matrix")
    clip = ann.post(
        "/clips", {"source": "gate-1", "incident": f"m-{secrets.token_hex(4)}", "event_at": "2026-03-01T12:00:10Z"}
    ).json
    hold = ann.post(f"/clips/{clip['clip_id']}/holds", {"reason": "the matrix"}).json
    link = ann.post(f"/sessions/{session}/verify-links").json
    credential = ann.post("/credentials", {"name": "m", "roles": ["observer"], "scopes": ["ledger:read"]}).json
    endpoint = ann.post("/webhook-endpoints", BODIES["create_endpoint"]).json
    source = ann.post("/alert-sources", BODIES["create_alert_source"]).json
    return Things(
        session_id=session,
        clip_id=clip["clip_id"],
        hold_id=hold["hold"]["hold_id"],
        link_id=link["link_id"],
        credential_id=credential["credential"]["credential_id"],
        recording_id=world.recording(),
        endpoint_id=endpoint["endpoint"]["endpoint_id"],
        alert_source_id=source["source"]["alert_source_id"],
    )


BODIES: dict[str, Any] = {
    "append_events": {"events": [{"kind": "matrix.tried", "payload": {}}]},
    "record_consent": {"participant": "op", "role": "operator", "act": "banner_shown", "notice": "1"},
    "erase_disclosures": {"reason": "the matrix"},
    "start_recording": {"room": "acme:matrix", "operator": "op"},
    "annotate_recording": {"document": None},
    "dispose_clip": {"reason": "the matrix"},
    "place_hold": {"reason": "the matrix"},
    "lift_hold": {"reason": "the matrix"},
    "place_recording_hold": {"reason": "the matrix"},
    "lift_recording_hold": {"reason": "the matrix"},
    "dispose_recording": {"reason": "the matrix"},
    "set_retention": {"days": 3650, "reason": "the matrix"},
    "create_credential": {"name": "x", "roles": ["observer"], "scopes": ["ledger:read"]},
    "revoke_credential": {"reason": "the matrix"},
    "put_assignment": {"subject": "nobody", "role": "observer"},
    "put_role": {"permissions": ["session.list"]},
    "put_site": {"name": "North"},
    "put_camera": {"site_id": "matrix-site"},
    "request_clip": {"source": "gate-1", "incident": "matrix", "event_at": "2026-03-01T12:00:10Z"},
    "create_endpoint": {"url": "https://127.0.0.1/matrix", "types": ["session.closed"]},
    "replay_dead": {"days": 1},
    "create_alert_source": {"name": "matrix", "cameras": ["gate-1"]},
}
# An administrator may, and then there would be nothing left for the others.
FINAL = frozenset({"dispose_clip", "dispose_recording", "revoke_credential", "remove_endpoint", "remove_alert_source"})


def ask(caller: Caller, route: Route, things: Things, **headers: str) -> Any:
    body = BODIES.get(route.name, {})
    if route.name == "open_session":
        body = {"session_id": f"m-{secrets.token_hex(6)}"}
    names = {
        **{name: getattr(things, name) for name in Things.__dataclass_fields__},
        "sequence": "1",
        "file": "clip.mp4",
        "role": "matrix-role",
        "site_id": "matrix-site",
        "camera_id": "matrix-camera",
    }
    path = re.sub(r"\{(\w+)\}", lambda match: names.get(match[1], str(uuid.UUID(int=7))), route.path)
    if route.name == "download_clip_bundle":
        # That of the operations chain is for those alone who may have it without a clip, too.
        path += f"?session_id={things.session_id}"
    return caller.ask(route.method, path, None if route.method in {"GET", "DELETE"} else body, **headers)


@pytest.mark.parametrize("route", ALL_ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_role_may_do_what_the_policy_says_and_a_refusal_is_recorded(
    world: World, things: Things, route: Route
) -> None:
    action = ACTION_OF[route.uses[0]]
    for role in ROLES:
        if role == "org_admin" and route.name in FINAL:
            continue
        caller = world.caller(roles=[role], subject=f"{role}-{secrets.token_hex(3)}")
        request_id = secrets.token_hex(8)
        answer = ask(caller, route, things, X_Request_Id=request_id)
        allowed = action in permitted(world, role)
        outcomes = [outcome for *_, outcome in world.decisions(request_id)]
        if allowed:
            assert answer.status_code != 403, f"{role}: {answer.text}"
            assert not ACTIONS[action].recorded or "allowed" in outcomes
        else:
            assert (answer.status_code, answer.json["code"]) == (403, "FORBIDDEN"), f"{role}: {answer.text}"
            assert outcomes == ["denied"]
        assert answer.headers["X-Request-Id"] == request_id


def permitted(world: World, role: str) -> frozenset[Action]:
    """What a role may do anywhere in its organisation, by the policy itself: gateway/auth has its own tests of that."""
    from gateway.auth.actions import Scope
    from gateway.auth.values import GatewayCaller

    caller = GatewayCaller(
        organisation_id="acme",
        subject="the matrix",
        roles=frozenset({role}),
        scopes=frozenset(Scope),
        expires_at=4e9,
        request_id="matrix",
    )
    return world.parts.access.allowed_actions(caller)


def test_the_roles_differ(world: World) -> None:
    assert len({permitted(world, role) for role in ROLES}) == len(ROLES)
    assert permitted(world, "org_admin") > permitted(world, "observer") >= WATCHED


# A name that somebody else uses as well may be given in one's own organisation.
OWN_NAMES = frozenset({"put_role", "put_site", "put_camera"})
NAMED = [route for route in ALL_ROUTES if "{" in route.path and route.name not in OWN_NAMES]


@pytest.mark.parametrize("route", NAMED, ids=lambda route: f"{route.method} {route.path}")
def test_what_belongs_to_another_organisation_does_not_exist_and_asking_is_recorded(
    world: World, things: Things, route: Route
) -> None:
    request_id = secrets.token_hex(8)
    answer = ask(world.foreigner(), route, things, X_Request_Id=request_id)
    assert answer.status_code == 404, answer.text
    assert answer.json == {
        "type": "urn:indelible:problem:NOT_FOUND",
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing of that name here.",
        "code": "NOT_FOUND",
        "request_id": request_id,
    }
    decisions = world.decisions(request_id)
    assert {organisation for organisation, *_ in decisions} == {"other"}
    assert "not_found" in {outcome for *_, outcome in decisions}


def test_two_organisations_with_the_same_names_never_meet(world: World) -> None:
    name = f"same-{secrets.token_hex(4)}"
    ours, theirs = world.caller(), world.foreigner()
    for caller, whose in ((ours, "ours"), (theirs, "theirs")):
        assert caller.post("/sessions", {"session_id": name, "subject": {"of": whose}}).status_code == 201
        assert caller.post(f"/sessions/{name}/events", {"events": [{"kind": "a.b", "payload": {"of": whose}}]}).json
    for caller, whose in ((ours, "ours"), (theirs, "theirs")):
        page = caller.get(f"/sessions/{name}/events?kind=a.b").json
        assert [event["payload"] for event in page["items"]] == [{"of": whose}]
        assert caller.get(f"/sessions/{name}").json["subject"] == {"of": whose}


def test_a_narrow_token_does_no_more_than_its_scopes(world: World, things: Things) -> None:
    reader = world.caller(scopes=["ledger:read"])
    assert reader.get(f"/sessions/{things.session_id}").status_code == 200
    answer = reader.post(f"/sessions/{things.session_id}/events", BODIES["append_events"])
    assert (answer.status_code, answer.json["code"]) == (403, "INSUFFICIENT_SCOPE")
    assert 'scope="ledger:append"' in answer.headers["WWW-Authenticate"]
    assert reader.get("/clips").json["code"] == "INSUFFICIENT_SCOPE"


def test_a_hold_is_lifted_only_by_way_of_its_own_clip(world: World, things: Things) -> None:
    ann = world.caller()
    other = ann.post(
        "/clips", {"source": "gate-1", "incident": f"o-{secrets.token_hex(4)}", "event_at": "2026-03-01T12:00:10Z"}
    ).json
    hold = ann.post(f"/clips/{things.clip_id}/holds", {"reason": "stays"}).json["hold"]["hold_id"]
    answer = ann.post(f"/clips/{other['clip_id']}/holds/{hold}/lift", {"reason": "by a side door"})
    assert answer.status_code == 404
    assert hold in {one["hold_id"] for one in ann.get(f"/clips/{things.clip_id}/holds").json["items"]}
