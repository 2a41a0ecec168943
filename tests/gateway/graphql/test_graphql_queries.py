"""What GraphQL answers: the same as REST, from the same use cases, each asked once."""

import json
import secrets
from typing import Any

import pytest

from tests.gateway.graphql.asking import Asker
from tests.gateway.rest.world import World

EVENT_AT = "2026-03-01T12:00:10Z"
REQUEST = """
mutation ($incident: String!, $session: ID, $at: DateTime!) {
  requestClip(source: "gate-1", incident: $incident, eventAt: $at, sessionId: $session) { clipId }
}
"""


@pytest.fixture
def ann(world: World) -> Asker:
    return Asker.of(world.caller())


def clip_of(ann: Asker, session: str | None = None, at: str = EVENT_AT) -> str:
    incident = f"q-{secrets.token_hex(4)}"
    return str(ann.data(REQUEST, incident=incident, session=session, at=at)["requestClip"]["clipId"])


def test_a_session_reads_as_in_rest(world: World, ann: Asker) -> None:
    name = world.session(site="north", größe=1.5)
    fields = "sessionId type state subject eventCount head openedAt endedAt closesBy closedAt pending { type }"
    answer = ann.data(f"query ($id: ID!) {{ session(sessionId: $id) {{ {fields} }} }}", id=name)["session"]
    rest = world.caller().get(f"/sessions/{name}").json
    assert answer["subject"] == '{"größe":1.5,"site":"north"}'
    assert answer | {"subject": json.loads(answer["subject"])} == {
        "sessionId": rest["session_id"],
        "type": rest["type"].upper(),
        "state": rest["state"].upper(),
        "subject": rest["subject"],
        "eventCount": rest["event_count"],
        "head": rest["head"],
        "openedAt": rest["opened_at"],
        "endedAt": None,
        "closesBy": None,
        "closedAt": None,
        "pending": [],
    }


def test_a_payload_comes_as_the_text_that_was_hashed(ann: Asker, world: World) -> None:
    name = world.session()
    append = """mutation ($id: ID!, $events: [EventInput!]!) {
      appendEvents(sessionId: $id, events: $events) { firstSequence eventHashes session { eventCount } }
    }"""
    payload = {"z": 1e21, "a": [1, 2.50, "ü\u2028"], "é": {"b": None}}
    receipt = ann.data(append, id=name, events=[{"kind": "a.b", "payload": payload, "sealedMembers": ["z"]}])
    assert receipt["appendEvents"]["session"]["eventCount"] == 2
    query = "query ($id: ID!) { event(sessionId: $id, sequence: 2) { payload hash prevHash sequence kind occurredAt } }"
    event = ann.data(query, id=name)["event"]
    rest = world.caller().get(f"/sessions/{name}/events/2")
    assert f'"payload":{event["payload"]},' in rest.text
    assert (event["hash"], event["occurredAt"]) == (rest.json["hash"], rest.json["occurred_at"])
    assert event["hash"] == receipt["appendEvents"]["eventHashes"][0]


def test_a_literal_in_the_query_is_as_good_as_a_variable(ann: Asker) -> None:
    name = f"l-{secrets.token_hex(4)}"
    opening = f'mutation {{ openSession(sessionId: "{name}", subject: {{a: [1, {{b: null}}], c: "x"}}) {{'
    opened = ann.data(opening + " session { subject } receipt { signedNote } } }")["openSession"]
    assert opened["session"]["subject"] == '{"a":[1,{"b":null}],"c":"x"}'
    assert opened["receipt"]["signedNote"]


def test_the_session_of_fifty_clips_is_asked_for_once(
    world: World, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [world.session(), world.session()]
    for number in range(50):
        clip_of(ann, names[number % 2], at="2025-05-05T12:00:10Z")
    counted: dict[str, int] = {}
    asked: list[str] = []
    wire = world.parts.ledger._wire
    policy = world.parts.access.authorise

    def count(method: Any, *arguments: Any, **options: Any) -> Any:
        counted["calls"] = counted.get("calls", 0) + 1
        return type(wire).call(wire, method, *arguments, **options)

    def decide(caller: Any, action: Any, resource: Any) -> None:
        asked.append(str(action))
        policy(caller, action, resource)

    monkeypatch.setattr(wire, "call", count)
    monkeypatch.setattr(world.parts.access, "authorise", decide)
    query = """{ clips(first: 50, eventFrom: "2025-05-05T12:00:00Z", eventTo: "2025-05-05T12:01:00Z") {
      edges { node { clipId sessionId session { sessionId state } } }
    } }"""
    edges = ann.data(query)["clips"]["edges"]
    assert len(edges) == 50
    assert {edge["node"]["session"]["sessionId"] for edge in edges} == set(names)
    assert counted == {"calls": 2}
    assert sorted(asked) == ["clip.list", "session.view", "session.view"]


def test_one_question_under_several_names_is_asked_once(
    world: World, ann: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.session()
    calls: list[str] = []
    get_session = world.parts.ledger.get_session

    def count(identity: Any, session_id: str) -> Any:
        calls.append(session_id)
        return get_session(identity, session_id)

    monkeypatch.setattr(world.parts.ledger, "get_session", count)
    query = "query ($id: ID!) { a: session(sessionId: $id) { head } b: session(sessionId: $id) { state } }"
    assert ann.data(query, id=name)["b"]["state"] == "OPEN"
    assert calls == [name]


def test_after_a_change_nothing_old_is_told(world: World, ann: Asker) -> None:
    name = world.session()
    append = 'appendEvents(sessionId: $id, events: [{kind: "a.b", payload: {}}]) { session { eventCount } }'
    answer = ann.data(f"mutation ($id: ID!) {{ a: {append} b: {append} }}", id=name)
    assert [answer[key]["session"]["eventCount"] for key in "ab"] == [2, 3]


def test_a_hold_is_placed_and_lifted_and_keeps_the_clip_meanwhile(world: World, ann: Asker) -> None:
    clip = clip_of(ann)
    place = """mutation ($id: ID!) {
      placeHold(clipId: $id, reason: "case 7") { mirrored hold { holdId reason clip { clipId } } }
    }"""
    hold = ann.data(place, id=clip)["placeHold"]["hold"]
    assert hold["clip"]["clipId"] == clip
    dispose = 'mutation ($id: ID!) { disposeClip(clipId: $id, reason: "space") { state } }'
    refused = world.caller().post(f"/clips/{clip}/disposal", {"reason": "space"})
    assert ann.code(dispose, id=clip) == refused.json["code"]
    lift = """mutation ($id: ID!, $hold: ID!) {
      liftHold(clipId: $id, holdId: $hold, reason: "over") { liftReason liftedAt }
    }"""
    lifted = ann.data(lift, id=clip, hold=hold["holdId"])["liftHold"]
    assert lifted["liftReason"] == "over"
    read = """query ($id: ID!) {
      clip(clipId: $id) { holds { holdId } custody } clipHolds(clipId: $id) { edges { cursor } }
    }"""
    answer = ann.data(read, id=clip)
    assert answer["clip"]["holds"] == answer["clipHolds"]["edges"] == []
    assert [entry["action"] for entry in json.loads(answer["clip"]["custody"])["entries"]]


def test_what_is_refused_spoils_nothing_beside_it(world: World, ann: Asker) -> None:
    name = world.session()
    query = 'query ($id: ID!) { here: session(sessionId: $id) { state } gone: session(sessionId: "nowhere") { state } }'
    answer = ann.send(query, {"id": name})
    assert answer.status_code == 200
    assert answer.json["data"] == {"here": {"state": "OPEN"}, "gone": None}
    (error,) = answer.json["errors"]
    assert error["path"] == ["gone"]
    assert error["extensions"] == {
        "code": "NOT_FOUND",
        "status": 404,
        "request_id": answer.headers["X-Request-Id"],
    }


def test_endpoints_sources_and_credentials_are_there_as_well(ann: Asker) -> None:
    made = ann.data(
        """mutation {
          createEndpoint(url: "https://127.0.0.1/x", types: ["session.closed"]) { secret endpoint { endpointId types } }
        }"""
    )["createEndpoint"]
    name = made["endpoint"]["endpointId"]
    assert made["secret"].startswith("whsec_")
    query = "query ($id: ID!) { endpoint(endpointId: $id) { url deliveries { edges { node { state } } } } }"
    assert ann.data(query, id=name)["endpoint"] == {"url": "https://127.0.0.1/x", "deliveries": {"edges": []}}
    assert ann.data("mutation ($id: ID!) { removeEndpoint(endpointId: $id) { removedId } }", id=name)
    mapping = {"source": {"pointer": "/camera"}, "incident": {"pointer": "/id"}}
    source = ann.data(
        """mutation ($m: JSON) {
          createAlertSource(name: "s", cameras: ["gate-1"], mapping: $m) { source { mapping scheme } }
        }""",
        m=mapping,
    )["createAlertSource"]["source"]
    assert json.loads(source["mapping"])["source"]["pointer"] == "/camera"
    broken = 'mutation { createAlertSource(name: "s", cameras: ["gate-1"], mapping: {source: 1}) { secret } }'
    assert ann.code(broken) == "INVALID_REQUEST"
    credential = ann.data(
        """mutation {
          createCredential(name: "m", roles: ["observer"], scopes: ["ledger:read"]) { clientSecret }
        }"""
    )["createCredential"]
    assert credential["clientSecret"].startswith("indsec_")
