"""One day of an integrator, who has a client's secret, an HTTP client and nothing of ours but the verifier."""

import base64
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from sandbox.evidence import CAMERA
from sandbox.processes import find_program
from sandbox.stack import ORGANISATION_ID, ORGANISATION_NAME, Part, Stack, running_stack

PARTS = [Part.LEDGER, Part.GATEWAY, Part.GATEWAY_WORKER, Part.PAGE, Part.OBJECTS, Part.LIVEKIT, Part.EVIDENCE_WORKER]
SECONDS = 240.0

pytestmark = pytest.mark.timeout(1200)  # it is a long day


@dataclass
class Inbox:
    """What the integrator's own server was told, by type; believed only when the signature is right."""

    secret: str = ""
    url: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        """What comes again, as it does when an answer came late, comes under the same id."""
        message = Webhook(self.secret).verify(body, headers)
        if (name := headers["webhook-id"]) not in self.known:
            self.known.add(name)
            self.messages.append(message)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message["data"] for message in self.messages if message["type"] == kind]


@contextmanager
def receiving() -> Iterator[Inbox]:
    inbox = Inbox()

    class Door(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            inbox.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        inbox.url = f"http://127.0.0.1:{server.server_port}/"
        yield inbox
        server.shutdown()


@pytest.fixture(scope="module")
def chromium() -> str:
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine (set CHROMIUM to its path, or install the package chromium)")
    return found


@pytest.fixture(scope="module")
def stack(sandbox_directory: Path) -> Iterator[Stack]:
    with running_stack(sandbox_directory / "day", parts=PARTS) as running:
        running.add_organisation(ORGANISATION_ID, ORGANISATION_NAME)
        yield running


def until(what: str, condition: Callable[[], Any]) -> Any:
    ends = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < ends, f"{what} did not happen"
        time.sleep(0.3)
    return found


def credential_of(stack: Stack) -> tuple[str, str]:
    """What the operator hands to a new integrator."""
    done = subprocess.run(
        [find_program("indelible"), "gateway", "credential", "create", "--org", ORGANISATION_ID, "--json"],
        env={**os.environ, "INDELIBLE_GATEWAY_DSN": stack.database.gateway_dsn},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    made = json.loads(done.stdout)
    return made["client_id"], made["client_secret"]


def test_an_integrators_day(stack: Stack, chromium: str, tmp_path: Path) -> None:  # noqa: PLR0915 - it is a long day
    client_id, client_secret = credential_of(stack)
    token = httpx.post(
        f"{stack.gateway_url}/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(client_id, client_secret),
        timeout=60,
    ).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    with receiving() as inbox, httpx.Client(base_url=f"{stack.gateway_url}/api/v1", headers=bearer, timeout=60) as api:

        def ask(method: str, path: str, body: Any = None, expected: tuple[int, ...] = (200, 201, 202)) -> Any:
            answer = api.request(method, path, json=body)
            assert answer.status_code in expected, f"{method} {path}: {answer.status_code} {answer.text}"
            return answer.json()

        told = ["session.closed", "chain.anchored", "clip.preserved", "clip.failed", "recording.ready"]
        told += ["hold.placed", "hold.lifted"]
        inbox.secret = ask("POST", "/webhook-endpoints", {"url": inbox.url, "types": told})["secret"]

        # A session, with events.
        ask("POST", "/sessions", {"session_id": "visit-1", "subject": {"site": "north gate"}})
        appended = ask(
            "POST", "/sessions/visit-1/events", {"events": [{"kind": "door.opened", "payload": {"door": "north"}}]}
        )
        assert appended["first_sequence"] == 2

        # A recording of it, which nobody may begin before everybody has consented.
        livekit = stack.livekit
        assert livekit is not None
        room = f"{ORGANISATION_ID}:visit-1"
        for person in ("ann", "bob"):
            livekit.join(room, person)
        start = {"room": room, "operator": "ann"}
        ask("POST", "/sessions/visit-1/recordings", start, expected=(409,))
        for person, role in (("ann", "operator"), ("bob", "field")):
            for act in ("banner_shown", "given"):
                consent = {"participant": person, "role": role, "act": act, "notice": "notice-1"}
                ask("POST", "/sessions/visit-1/consents", consent)
        recording_id = ask("POST", "/sessions/visit-1/recordings", start)["recording_id"]
        livekit.advance(2.0)
        # Held while it is running: whatever comes of it is.
        kept = ask("POST", f"/recordings/{recording_id}/holds", {"reason": "case 2026-8"})["hold"]
        assert (kept["recording_id"], kept["clip_id"]) == (recording_id, None)
        ask("POST", f"/recordings/{recording_id}/stop", {"reason": "visit over"})

        # An alert, and the clip of it.
        began = stack.evidence.film(20)
        made = ask("POST", "/alert-sources", {"name": "alarm centre", "cameras": [CAMERA]})
        event_at = datetime.fromtimestamp(began / 1e6 + 10, UTC)
        alert = json.dumps({"source": CAMERA, "incident": "inc-7", "event_at": event_at.isoformat()})
        now = datetime.now(UTC)
        signed = {
            "webhook-id": "alert-1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(made["secret"]).sign("alert-1", now, alert),
        }
        door = f"{stack.gateway_url}/webhooks/in/{ORGANISATION_ID}/alerts/{made['source']['alert_source_id']}"
        accepted = httpx.post(door, content=alert, headers=signed, timeout=60)
        assert accepted.status_code == 202, accepted.text
        clip_id = accepted.json()["clip_id"]
        (preserved,) = until("clip.preserved", lambda: inbox.of("clip.preserved"))
        assert preserved["clip_id"] == clip_id
        nothing = {"source": CAMERA, "incident": "inc-8", "event_at": "2020-03-01T12:00:10Z"}
        nothing_id = ask("POST", "/clips", nothing)["clip_id"]
        link = ask("POST", f"/clips/{clip_id}/files/clip.mp4/links", {})
        clip = httpx.get(link["url"], timeout=60).content
        digests = {one["name"]: one["sha256"] for one in preserved["artefacts"]}
        assert hashlib.sha256(clip).hexdigest() == link["sha256"] == digests["clip.mp4"]

        # A hold, which stands in the way of deletion.
        hold = ask("POST", f"/clips/{clip_id}/holds", {"reason": "case 2026-7"})["hold"]
        refused = ask("POST", f"/clips/{clip_id}/disposal", {"reason": "asked to"}, expected=(409,))
        assert refused["code"] == "CLIP_HELD"
        ask("POST", f"/clips/{clip_id}/holds/{hold['hold_id']}/lift", {"reason": "case closed"})
        until("hold.lifted", lambda: inbox.of("hold.placed") and inbox.of("hold.lifted"))

        ask("POST", f"/clips/{clip_id}/holds/{kept['hold_id']}/lift", {"reason": "by a side door"}, expected=(404,))

        # The end: the chain waits for the recording, and closes by itself.
        ended = ask("POST", "/sessions/visit-1/end", {"ending": {"by": "ann"}})
        assert ended["session"]["state"] in {"ended", "closed"}
        (ready,) = until("recording.ready", lambda: inbox.of("recording.ready"))
        assert ready["recording_id"] == recording_id
        assert any(one["name"] == "composite.mp4" for one in ready["files"])
        until("session.closed", lambda: [one for one in inbox.of("session.closed") if one["chain_id"] == "visit-1"])
        assert ask("GET", "/sessions/visit-1")["state"] == "closed"
        until(
            "anchors",
            lambda: all(one["state"] == "obtained" for one in ask("GET", "/sessions/visit-1/anchors")["items"]),
        )

        until("chain.anchored", lambda: [one for one in inbox.of("chain.anchored") if one["chain_id"] == "visit-1"])
        (failed,) = until("clip.failed", lambda: inbox.of("clip.failed"))
        assert (failed["clip_id"], failed["incident"]) == (nothing_id, "inc-8")
        assert {message["type"] for message in inbox.messages} == set(told)

        # The hold outlives all that, and custody has it.
        assert ask("GET", f"/recordings/{recording_id}")["holds"] == [kept]
        assert ask("GET", f"/recordings/{recording_id}/holds")["items"] == [kept]
        assert [one["recording_id"] for one in ask("GET", "/recordings?held=true")["items"]] == [recording_id]
        refused = ask("POST", f"/recordings/{recording_id}/disposal", {"reason": "asked to"}, expected=(409,))
        assert refused["code"] in {"RECORDING_HELD", "RECORDING_NOT_COMPLETED"}  # the latter until it is settled
        assert ask("POST", f"/recordings/{recording_id}/verification")["ok"]
        ask(
            "POST",
            f"/recordings/{recording_id}/holds/{hold['hold_id']}/lift",
            {"reason": "the clip's"},
            expected=(404,),
        )
        for _ in range(2):
            lift = ask("POST", f"/recordings/{recording_id}/holds/{kept['hold_id']}/lift", {"reason": "case closed"})
            assert lift["lift_reason"] == "case closed"
        assert ask("GET", f"/recordings/{recording_id}/holds")["items"] == []
        actions = [one["action"] for one in ask("GET", f"/recordings/{recording_id}/custody")["entries"]]
        assert [one for one in actions if one.startswith(("hold", "verified"))] == [
            *("hold placed", "verified", "hold lifted"),
        ]
        about = [one["recording_id"] for one in inbox.of("hold.placed") if "recording_id" in one]
        assert about == [recording_id]

        # The page for a court, in a browser.
        url = ask("POST", "/sessions/visit-1/verify-links", {})["url"]
        page = subprocess.run(
            [
                chromium,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                f"--user-data-dir={tmp_path / 'profile'}",
                "--dump-dom",
                url,
            ],
            capture_output=True,
            text=True,
            timeout=240,
            check=True,
        ).stdout
        assert "The verdict on this record: <strong>Verified</strong>" in page
        assert ORGANISATION_NAME in page

        # The bundle for an auditor, who has no network.
        bundle = tmp_path / "visit-1.zip"
        bundle.write_bytes(api.get("/sessions/visit-1/bundle").content)
        # What happened to the evidence stands on the operations chain.
        until("the decisions", lambda: _decided(api, "clip.download"))

    verified = subprocess.run(
        [find_program("indelible-verify"), "bundle", str(bundle), "--trust", str(stack.trust_policy), "--json"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    report = json.loads(verified.stdout)
    assert (verified.returncode, report["verdict"]) == (0, "VERIFIED"), verified.stdout


def _anchored(api: httpx.Client) -> bool:
    anchors = api.get("/sessions/visit-1/anchors").json()["items"]
    return all(one["state"] == "obtained" for one in anchors)


def _decided(api: httpx.Client, action: str) -> bool:
    answer = api.get("/sessions/operations/events", params={"kind": "access.decided", "limit": 1000})
    return answer.status_code == 200 and action in json.dumps(answer.json())


def test_a_secret_in_the_wrong_place_is_no_token(stack: Stack) -> None:
    wrong = base64.b64encode(b"nobody:nothing").decode()
    for headers in ({"Authorization": f"Basic {wrong}"}, {"Authorization": "Bearer nothing"}, {}):
        answer = httpx.get(f"{stack.gateway_url}/api/v1/sessions", headers=headers, timeout=60)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
