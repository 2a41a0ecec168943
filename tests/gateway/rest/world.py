"""The gateway over a real ledger and a real evidence service, and callers of every kind."""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet
from flask import Flask
from werkzeug.test import TestResponse

from gateway.app import create_app
from gateway.auth.signing import make_key, public_set, write_keys
from gateway.parts import Parts, opened_parts
from gateway.settings import GatewaySettings
from sandbox.database import Database
from sandbox.issuer import EVERY_SCOPE, Issuer
from sandbox.livekit import Filming, LiveKitDouble
from sandbox.objects import Objects
from tests.media.service.evidence import Evidence, running_evidence
from tests.service.serving import FOREIGN_ORGANISATION, ORGANISATION, Service, running_service

GATEWAY_ISSUER = "https://gateway.test"
ROLES = ("org_admin", "operator", "investigator", "observer", "auditor")
SCOPES = (*EVERY_SCOPE, "evidence:record", "gateway:read", "gateway:manage")
# Tests ask faster than people do.
REQUESTS_PER_SECOND = 5_000


def token(
    issuer: Issuer,
    organisation_id: str = ORGANISATION,
    *,
    roles: Iterable[str] = ("org_admin",),
    scopes: Iterable[str] = SCOPES,
    subject: str = "ann",
) -> str:
    """What an identity provider that knows roles issues."""
    return issuer.mint(organisation_id, scopes=sorted(set(scopes)), subject=subject, roles=list(roles))


class Reply:
    """An answer. `json` is whatever JSON it holds, if any."""

    def __init__(self, response: TestResponse) -> None:
        self.status_code = response.status_code
        self.headers = response.headers
        self.mimetype = response.mimetype
        self.data = response.data
        self.text = response.get_data(as_text=True) if response.mimetype != "application/zip" else ""
        self.json: Any = response.get_json(silent=True)
        response.close()  # as a server does


@dataclass(frozen=True)
class Caller:
    """Somebody with a token, who asks the application directly."""

    app: Flask
    bearer: str
    headers: Mapping[str, str] = field(default_factory=dict)
    root: str = "/api/v1"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """The answer; `body` is JSON, or bytes as they are. Headers are written with underscores."""
        sent = {"Authorization": f"Bearer {self.bearer}", **self.headers}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None and "Content-Type" not in sent:
            sent["Content-Type"] = "application/json"
        return Reply(self.app.test_client().open(f"{self.root}{path}", method=method, data=data, headers=sent))

    def get(self, path: str, **headers: str) -> Reply:
        """GET."""
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        """POST."""
        return self.ask("POST", path, {} if body is None else body, **headers)


@dataclass(frozen=True)
class World:
    """Everything that a test of the API may need."""

    app: Flask
    parts: Parts
    issuer: Issuer
    ledger: Service
    evidence: Evidence
    livekit: LiveKitDouble
    database: Database

    def caller(self, organisation_id: str = ORGANISATION, **claims: Any) -> Caller:
        """Somebody; an administrator with every scope unless said otherwise."""
        return Caller(app=self.app, bearer=token(self.issuer, organisation_id, **claims))

    def foreigner(self, **claims: Any) -> Caller:
        """The same person at another organisation."""
        return self.caller(FOREIGN_ORGANISATION, **claims)

    def session(self, **subject: Any) -> str:
        """A new session's name."""
        name = f"s-{secrets.token_hex(6)}"
        answer = self.caller().post("/sessions", {"session_id": name, "subject": subject})
        assert answer.status_code == 201, answer.text
        return name

    def recording(self) -> str:
        """The id of a new recording, which runs. It would be processed once it is told what was drawn."""
        session, ann = self.session(), self.caller()
        room = self.livekit.open_room(f"{ORGANISATION}:{session}")
        room.join("ann")
        for act in ("banner_shown", "given"):
            consent = {"participant": "ann", "role": "operator", "act": act, "notice": "1"}
            assert ann.post(f"/sessions/{session}/consents", consent).status_code == 201
        wanted = {"room": room.name, "operator": "ann", "annotations_expected": True}
        started = ann.post(f"/sessions/{session}/recordings", wanted)
        assert started.status_code == 201, started.text
        return str(started.json["recording_id"])

    def decisions(self, request_id: str) -> list[tuple[str, str, str, str]]:
        """What was recorded of one request: organisation, action, resource, outcome."""
        with psycopg.connect(self.database.admin_dsn) as connection:
            query = (
                "SELECT organisation_id, action, resource_id, outcome FROM gateway.decisions "
                "WHERE request_id = %s ORDER BY decision_id"
            )
            return connection.execute(query, (request_id,)).fetchall()


@contextmanager
def running_world(directory: Path, database: Database, issuer: Issuer, objects: Objects) -> Iterator[World]:
    """The services as processes, the gateway in this one."""
    keys = directory / "gateway-keys.json"
    jwks = directory / "gateway-jwks.json"
    own = [make_key()]
    write_keys(keys, own)
    jwks.write_text(json.dumps(public_set(own)))
    (directory / "webhook.keys").write_text(Fernet.generate_key().decode())
    trust = {"INDELIBLE_GATEWAY_ISSUER": GATEWAY_ISSUER, "INDELIBLE_GATEWAY_JWKS": str(jwks)}
    with ExitStack() as stack:
        ledger = stack.enter_context(running_service(directory, database, issuer, trust))
        place = directory / "evidence"
        place.mkdir()
        filming = Filming(width=160, height=96, composite_width=160, composite_height=96, rate=5)
        livekit = stack.enter_context(LiveKitDouble(filming=filming))
        recording = {
            "INDELIBLE_LIVEKIT_URL": livekit.url,
            "INDELIBLE_LIVEKIT_API_KEY": livekit.api_key,
            "INDELIBLE_LIVEKIT_API_SECRET": livekit.api_secret,
            "INDELIBLE_LIVEKIT_S3_ACCESS_KEY": objects.access_key,
            "INDELIBLE_LIVEKIT_S3_SECRET_KEY": objects.secret_key,
        }
        evidence = stack.enter_context(running_evidence(place, ledger, objects, extra=trust | recording))
        evidence.work()
        settings = GatewaySettings.from_environment(
            {
                "INDELIBLE_GATEWAY_DSN": database.gateway_dsn,
                "INDELIBLE_GATEWAY_ISSUER": GATEWAY_ISSUER,
                "INDELIBLE_GATEWAY_KEYS": str(keys),
                "INDELIBLE_GATEWAY_WEBHOOK_KEYS": str(directory / "webhook.keys"),
                "INDELIBLE_GATEWAY_WEBHOOK_NETWORKS": "127.0.0.0/8",
                "INDELIBLE_GATEWAY_REQUESTS_PER_SECOND": str(REQUESTS_PER_SECOND),
                "INDELIBLE_TOKEN_ISSUER": issuer.issuer,
                "INDELIBLE_TOKEN_AUDIENCE": issuer.audience,
                "INDELIBLE_TOKEN_JWKS": str(issuer.jwks_file),
                "INDELIBLE_LEDGER": ledger.address,
                "INDELIBLE_EVIDENCE": evidence.address,
            }
        )
        parts = stack.enter_context(opened_parts(settings))
        door = stack.enter_context(ledger.blocking_client())
        app = create_app(door, parts=parts)
        yield World(
            app=app,
            parts=parts,
            issuer=issuer,
            ledger=ledger,
            evidence=evidence,
            livekit=livekit,
            database=database,
        )
