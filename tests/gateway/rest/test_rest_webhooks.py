"""Endpoints, deliveries and alert sources over the API; alerts and LiveKit's reports at the doors."""

import hashlib
import hmac
import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks import Webhook

from tests.gateway.rest.world import World
from tests.media.service.evidence import FILMED_FROM, SOURCE
from tests.service.serving import FOREIGN_ORGANISATION, ORGANISATION

EVENT_AT = datetime.fromtimestamp(FILMED_FROM / 1e6 + 10, UTC).isoformat()


def endpoint(world: World, **changes: Any) -> Any:
    body = {"url": "https://example.com/hooks", "types": ["clip.preserved", "session.closed"]} | changes
    answer = world.caller().post("/webhook-endpoints", body)
    assert answer.status_code == 201, answer.text
    return answer.json


def source(world: World, **changes: Any) -> Any:
    body = {"name": "gate", "cameras": [SOURCE]} | changes
    answer = world.caller().post("/alert-sources", body)
    assert answer.status_code == 201, answer.text
    return answer.json


def alert(incident: str | None = None, **changes: Any) -> bytes:
    document = {"source": SOURCE, "incident": incident or f"inc-{secrets.token_hex(4)}", "event_at": EVENT_AT}
    return json.dumps(document | changes).encode()


def send(
    world: World,
    made: Any,
    body: bytes,
    *,
    organisation_id: str = ORGANISATION,
    message_id: str | None = None,
    at: datetime | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    """The answer to an alert that is signed with another library; `headers` replace those of the signature."""
    message_id = message_id or f"msg-{secrets.token_hex(6)}"
    at = at or datetime.now(UTC)
    if headers is None:
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(made["secret"]).sign(message_id, at, body.decode()),
        }
    where = f"/webhooks/in/{organisation_id}/alerts/{made['source']['alert_source_id']}"
    return world.app.test_client().post(where, data=body, headers={"Content-Type": "application/json", **headers})


def test_an_endpoint_is_made_read_changed_and_removed(world: World) -> None:
    ann = world.caller()
    made = endpoint(world, description="our SIEM")
    assert made["secret"].startswith("whsec_")
    where = f"/webhook-endpoints/{made['endpoint']['endpoint_id']}"
    shown = ann.get(where)
    assert shown.json == made["endpoint"]
    assert "secret" not in shown.text
    assert made["endpoint"] in ann.get("/webhook-endpoints?limit=1000").json["items"]
    changed = ann.ask("PATCH", where, {"types": ["hold.placed"], "enabled": False})
    assert changed.json["types"] == ["hold.placed"]
    assert changed.json["disabled_at"]
    assert changed.json["url"] == "https://example.com/hooks"
    assert ann.ask("PATCH", where, {"enabled": True}).json["disabled_at"] is None
    replaced = ann.post(f"{where}/secret", {"overlap_seconds": 60})
    assert replaced.json["secret"] != made["secret"]
    assert ann.post(f"{where}/replay", {"days": 7}).json == {"count": 0}
    assert ann.ask("DELETE", where).json == {"removed_id": made["endpoint"]["endpoint_id"]}
    assert ann.get(where).status_code == 404
    assert ann.ask("DELETE", where).status_code == 404
    log = f"/webhook-deliveries?endpoint_id={made['endpoint']['endpoint_id']}"
    assert ann.get(log).json == {"items": [], "next_cursor": None}, "what became of its messages can still be read"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "http://10.0.0.1@example.com/"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": ""}, "url"),
        ({"types": []}, "types"),
        ({"types": ["everything"]}, "types"),
        ({"secret": "whsec_mine"}, "secret"),
        ({"description": "a\0b"}, "description"),
    ],
)
def test_an_endpoint_that_could_not_work_is_refused_with_the_field(
    world: World, changes: dict[str, Any], field: str
) -> None:
    body = {"url": "https://example.com/hooks", "types": ["clip.preserved"]} | changes
    answer = world.caller().post("/webhook-endpoints", body)
    assert answer.status_code == 400
    assert field in answer.json["field"]


def test_endpoints_and_sources_of_others_do_not_exist(world: World) -> None:
    made, alerts = endpoint(world), source(world)
    bob = world.foreigner()
    hooks = f"/webhook-endpoints/{made['endpoint']['endpoint_id']}"
    sources = f"/alert-sources/{alerts['source']['alert_source_id']}"
    attempts: list[tuple[str, str, Any]] = [
        ("GET", hooks, None),
        ("PATCH", hooks, {"enabled": False}),
        ("DELETE", hooks, None),
        ("POST", f"{hooks}/secret", {}),
        ("POST", f"{hooks}/replay", {"days": 1}),
        ("GET", f"/webhook-deliveries/{uuid4()}", None),
        ("GET", f"/webhook-deliveries?endpoint_id={made['endpoint']['endpoint_id']}", None),
        ("GET", sources, None),
        ("PATCH", sources, {"name": "mine"}),
        ("DELETE", sources, None),
        ("POST", f"{sources}/secret", {}),
    ]
    for method, path, body in attempts:
        answer = bob.ask(method, path, body)
        assert answer.status_code == 404, (method, path, answer.text)
        recorded = world.decisions(answer.headers["X-Request-Id"])
        assert [(one[0], one[3]) for one in recorded][-1] == (FOREIGN_ORGANISATION, "not_found"), (method, path)
    assert made["endpoint"] not in bob.get("/webhook-endpoints").json["items"]


def test_an_alert_asks_for_a_clip_once_however_often_it_is_sent(world: World) -> None:
    made = source(world)
    body = alert()
    first = send(world, made, body, message_id="again-1")
    assert first.status_code == 202, first.text
    assert first.json["created"]
    assert send(world, made, body, message_id="again-1").json == {"outcome": "repeated"}
    other = send(world, made, body, message_id="again-2")
    assert (other.json["clip_id"], other.json["created"]) == (first.json["clip_id"], False)
    clip = world.caller().get(f"/clips/{first.json['clip_id']}").json
    assert clip["source"] == SOURCE
    assert clip["requested_by"] == f"source:{made['source']['alert_source_id']}"


@pytest.mark.parametrize("what", ["secret", "body", "time", "none", "organisation", "source"])
def test_an_alert_that_cannot_be_believed_gets_one_answer_whatever_is_wrong(world: World, what: str) -> None:
    made = source(world)
    body = alert()
    forged = json.loads(json.dumps(made))
    more: dict[str, Any] = {}
    if what == "secret":
        forged["secret"] = "whsec_" + "QUJD" * 11
    elif what == "body":
        at = datetime.now(UTC)
        more["headers"] = {
            "webhook-id": "x",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(made["secret"]).sign("x", at, "{}"),
        }
    elif what == "time":
        more["at"] = datetime.fromtimestamp(time.time() - 400, UTC)
    elif what == "none":
        more["headers"] = {}
    elif what == "organisation":
        more["organisation_id"] = FOREIGN_ORGANISATION
    else:
        forged["source"]["alert_source_id"] = str(uuid4())
    answer = send(world, forged, body, **more)
    assert answer.status_code == 401
    assert answer.json["detail"] == "The signature is missing or not valid for this source."


def test_a_sender_that_signs_the_body_alone_is_understood(world: World) -> None:
    mapping = {
        "when": [{"pointer": "/Topic", "equals": ["tns1:RuleEngine/CellMotionDetector/Motion"]}],
        "source": {"pointer": "/Source/VideoSourceToken", "names": {"vs-1": SOURCE}},
        "incident": {"pointer": "/UtcTime"},
        "event_at": {"pointer": "/UtcTime"},
        "before": {"constant": 1.0},
        "after": {"constant": 2.0},
    }
    made = source(world, scheme="body", mapping=mapping)
    body = json.dumps(
        {
            "Topic": "tns1:RuleEngine/CellMotionDetector/Motion",
            "UtcTime": EVENT_AT,
            "Source": {"VideoSourceToken": "vs-1"},
        }
    ).encode()
    secret = Webhook(made["secret"])._whsecret
    signature = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    taken = send(world, made, body, headers={"X-Hub-Signature-256": signature})
    assert taken.status_code == 202, taken.text
    assert send(world, made, body, headers={"X-Signature": signature}).json == {"outcome": "repeated"}
    assert send(world, made, body, headers={"X-Signature": "sha256=" + "0" * 64}).status_code == 401


def test_a_source_may_ask_for_clips_of_its_own_cameras_only(world: World) -> None:
    made = source(world, cameras=["somewhere-else"])
    answer = send(world, made, alert())
    assert answer.status_code == 403
    ((organisation_id, action, _, outcome),) = world.decisions(answer.headers["X-Request-Id"])
    assert (organisation_id, action, outcome) == (ORGANISATION, "clip.request", "denied")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b'{"source":"a","source":"b"}', 400),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", 400),
        (alert("unread", source=["a"]), 400),
        (alert("unread", source="../x"), 403),
        (alert("unread", event_at="yesterday"), 400),
        (alert("unread", more="x" * 300_000), 413),
    ],
)
def test_a_signed_alert_that_cannot_be_read_is_refused_clearly(world: World, body: bytes, status: int) -> None:
    answer = send(world, source(world), body)
    assert answer.status_code == status, answer.text
    assert answer.json["code"]


def test_an_alert_that_the_mapping_leaves_alone_makes_no_clip(world: World) -> None:
    mapping = {
        "when": [{"pointer": "/type", "equals": ["end"]}],
        "source": {"constant": SOURCE},
        "incident": {"pointer": "/incident"},
    }
    made = source(world, mapping=mapping)
    assert send(world, made, alert(type="new")).json == {"outcome": "left alone"}
    assert send(world, made, alert(type="end")).status_code == 202


def test_a_secret_is_good_for_the_overlap_after_it_was_replaced(world: World) -> None:
    made = source(world)
    where = f"/alert-sources/{made['source']['alert_source_id']}/secret"
    replaced = world.caller().post(where, {"overlap_seconds": 600}).json
    assert send(world, made, alert()).status_code == 202
    assert send(world, replaced, alert()).status_code == 202
    last = world.caller().post(where, {"overlap_seconds": 0}).json
    assert send(world, replaced, alert()).status_code == 401
    assert send(world, last, alert()).status_code == 202
    assert world.caller().ask("DELETE", where.removesuffix("/secret")).status_code == 200
    assert send(world, last, alert()).status_code == 401


def test_an_alert_whose_answer_was_lost_is_carried_out_to_the_same_clip(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = source(world)
    body = alert("lost-answer")

    def die(*_arguments: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("gateway.webhooks.incoming.see", die)
        with pytest.raises(SystemExit):
            send(world, made, body, message_id="lost-1")
    again = send(world, made, body, message_id="lost-1")
    assert again.status_code == 202
    assert not again.json["created"]


def test_a_mapping_that_could_never_work_is_refused_when_it_is_stored(world: World) -> None:
    answer = world.caller().post(
        "/alert-sources",
        {"name": "x", "cameras": [SOURCE], "mapping": {"source": {"constant": SOURCE}, "incident": {"constant": "a"}}},
    )
    assert answer.status_code == 400
    assert "mapping" in answer.json["field"]


def test_a_report_of_livekits_that_nobody_signed_is_refused(world: World) -> None:
    for headers in ({}, {"Authorization": "nonsense"}):
        answer = world.app.test_client().post("/webhooks/in/livekit", data=b"{}", headers=headers)
        assert answer.status_code in {401, 409}, answer.text
    answer = world.app.test_client().post("/webhooks/in/livekit", data=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413
