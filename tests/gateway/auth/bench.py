"""A gateway without the services behind it: identity, policy, records and the token endpoint need none of them."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask, Response, g, jsonify, request
from werkzeug.test import TestResponse

from gateway.app import create_app
from gateway.auth.actions import Scope
from gateway.auth.signing import make_key, public_set, write_keys
from gateway.auth.values import GatewayCaller
from gateway.parts import Parts, opened_parts
from gateway.settings import GatewaySettings
from ledger.client import BlockingLedgerClient
from sandbox.database import Database
from sandbox.issuer import Issuer

GATEWAY_ISSUER = "https://gateway.test"
EVERY_SCOPE = frozenset(scope.value for scope in Scope)
# Nothing listens there, and nothing here calls it.
NOWHERE = "127.0.0.1:1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """The gateway's own parts, and an application with one route, /probe, that says who asked."""

    app: Flask
    parts: Parts
    issuer: Issuer
    database: Database
    keys: Path
    jwks: Path

    def probe(self, bearer: str | None, path: str = "/probe", **headers: str) -> TestResponse:
        """Ask as the holder of a token."""
        sent = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return self.app.test_client().get(path, headers=sent | headers)

    def ask_token(self, client_id: str, client_secret: str, **form: str) -> TestResponse:
        """Ask the token endpoint with HTTP Basic."""
        return self.app.test_client().post(
            "/oauth/token", data={"grant_type": "client_credentials", **form}, auth=(client_id, client_secret)
        )

    def decisions(self, request_id: str) -> list[tuple[str, str, str, str]]:
        """What was recorded of one request: organisation, action, resource, outcome."""
        query = (
            "SELECT organisation_id, action, resource_id, outcome FROM gateway.decisions "
            "WHERE request_id = %s ORDER BY decision_id"
        )
        with psycopg.connect(self.database.admin_dsn) as connection:
            return connection.execute(query, (request_id,)).fetchall()


@contextmanager
def gateway_bench(directory: Path, database: Database, issuer: Issuer) -> Iterator[Bench]:
    """The gateway over a database."""
    keys, jwks = directory / "gateway.json", directory / "gateway-jwks.json"
    own = [make_key()]
    write_keys(keys, own)
    jwks.write_text(json.dumps(public_set(own)))
    settings = GatewaySettings.from_environment(settings_of(database, issuer, keys))
    with ExitStack() as closing:
        parts = closing.enter_context(opened_parts(settings))
        ledger = closing.enter_context(BlockingLedgerClient(NOWHERE, token=None))
        app = create_app(ledger, parts=parts)

        @app.get("/probe")
        def say_who_asked() -> Response:
            caller = parts.callers.identify(request, g.request_id)
            return jsonify(
                subject=caller.subject,
                organisation=caller.organisation_id,
                roles=sorted(caller.roles),
                scopes=sorted(caller.scopes),
                credential=caller.credential_id,
            )

        yield Bench(app=app, parts=parts, issuer=issuer, database=database, keys=keys, jwks=jwks)


def settings_of(database: Database, issuer: Issuer, keys: Path) -> dict[str, str]:
    """What the gateway cannot do without."""
    return {
        "INDELIBLE_GATEWAY_DSN": database.gateway_dsn,
        "INDELIBLE_GATEWAY_ISSUER": GATEWAY_ISSUER,
        "INDELIBLE_GATEWAY_KEYS": str(keys),
        "INDELIBLE_TOKEN_ISSUER": issuer.issuer,
        "INDELIBLE_TOKEN_AUDIENCE": issuer.audience,
        "INDELIBLE_TOKEN_JWKS": str(issuer.jwks_file),
    }


def caller_of(organisation_id: str = "acme", **changed: Any) -> GatewayCaller:
    """Somebody who was identified; with every scope and no role unless said otherwise."""
    given: dict[str, Any] = {
        "subject": "ann",
        "roles": frozenset[str](),
        "scopes": EVERY_SCOPE,
        "expires_at": time.time() + 600,
        "request_id": "request",
        **changed,
    }
    return GatewayCaller(organisation_id=organisation_id, **given)


def roles_of(*roles: str) -> frozenset[str]:
    """Roles, as a caller has them."""
    return frozenset(roles)


def words(text: str | Iterable[str]) -> list[str]:
    """The words of a text, in order."""
    return sorted(text.split() if isinstance(text, str) else text)
