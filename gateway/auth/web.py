"""The token endpoint (RFC 6749 section 4.4) and the published keys (RFC 7517)."""

import base64
import binascii
import math
import secrets
import time
from dataclasses import dataclass
from urllib.parse import unquote_plus

from flask import Blueprint, Flask, Response, jsonify, request
from werkzeug.datastructures import MultiDict

from gateway.auth.credentials import Credential, check_secret
from gateway.parts import Parts
from gateway.problems import Problem
from gateway.ratelimit import RateLimiter

# Of one client from one address. A token lasts for minutes: who asks for one each second has no use for them.
ATTEMPTS_PER_SECOND = 1.0
BURST_ATTEMPTS = 30
# Of one address, whatever clients it names.
REQUESTS_PER_SECOND = 5.0
BURST_REQUESTS = 100
MAX_FORM_BYTES = 8 * 1024
# Verifiers may keep the keys so long; a new key is published at least this long before it signs.
KEYS_MAX_AGE_SECONDS = 300

_FORM = "application/x-www-form-urlencoded"
_PARAMETERS = frozenset({"grant_type", "scope", "client_id", "client_secret"})


class _OAuthError(Exception):
    """A refusal as RFC 6749 section 5.2 words it."""

    def __init__(self, error: str, description: str, status: int = 400, retry_after: float | None = None) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, kw_only=True, slots=True)
class _Client:
    client_id: str
    client_secret: str


def register(app: Flask, parts: Parts) -> None:
    """Add the token endpoint and the keys."""
    web = Blueprint("oauth", __name__)
    requests = RateLimiter(per_second=REQUESTS_PER_SECOND, burst=BURST_REQUESTS, table=parts.shared.token_requests)
    attempts = RateLimiter(per_second=ATTEMPTS_PER_SECOND, burst=BURST_ATTEMPTS, table=parts.shared.token_attempts)

    @web.post("/oauth/token")
    def issue_token() -> Response:
        """A token for a machine that proves its credential."""
        address = request.remote_addr or ""
        _require_patience(requests.wait_seconds(address))
        client = _read_client()
        form = _read_form()
        if form.get("grant_type") != "client_credentials":
            error = "unsupported_grant_type" if "grant_type" in form else "invalid_request"
            raise _OAuthError(error, "Give grant_type=client_credentials.")
        # By address and client: a stranger elsewhere cannot use up a client's attempts.
        _require_patience(attempts.wait_seconds(f"{address} {client.client_id}"))
        credential = check_secret(parts.records, client.client_id, client.client_secret)
        if credential is None:
            raise _OAuthError("invalid_client", "There is no such client, or this is not its secret.", 401)
        return _grant(parts, credential, _scopes(credential, form.get("scope", "")))

    @web.get("/.well-known/jwks.json")
    def publish_keys() -> Response:
        """The keys that the gateway's tokens are checked with."""
        response = jsonify(parts.keys.published())
        response.mimetype = "application/jwk-set+json"
        response.headers["Cache-Control"] = f"public, max-age={KEYS_MAX_AGE_SECONDS}"
        return response

    @web.errorhandler(_OAuthError)
    def explain(error: _OAuthError) -> Response:
        return _refusal(error)

    @web.errorhandler(Problem)
    def delay(problem: Problem) -> Response:
        return _refusal(_OAuthError("temporarily_unavailable", problem.detail, problem.status, 5.0))

    app.register_blueprint(web)


def _read_form() -> "MultiDict[str, str]":
    """The parameters of the body. Raises _OAuthError for others, for repeated ones, and for any in the address."""
    if request.args:
        raise _OAuthError("invalid_request", "Send parameters in the body, never in the address.")
    if request.mimetype != _FORM or (request.content_length or 0) > MAX_FORM_BYTES:
        raise _OAuthError("invalid_request", f"Send a body of type {_FORM}, at most {MAX_FORM_BYTES} bytes.")
    repeated = [name for name, values in request.form.lists() if len(values) > 1]
    if repeated:
        raise _OAuthError("invalid_request", "No parameter may be given twice.")
    return request.form


def _read_client() -> _Client:
    """The client's name and secret, by HTTP Basic or in the body, not both. Raises _OAuthError."""
    form = _read_form()
    header = request.headers.get("Authorization", "")
    scheme, _, encoded = header.partition(" ")
    if header and scheme.lower() == "basic":
        if "client_secret" in form:
            raise _OAuthError("invalid_request", "Give the client's secret once: in the header or in the body.")
        client = _read_basic(encoded.strip())
        if form.get("client_id", client.client_id) != client.client_id:
            raise _OAuthError("invalid_request", "The header and the body name different clients.")
        return client
    if header or "client_id" not in form or "client_secret" not in form:
        raise _OAuthError("invalid_client", "Give client_id and client_secret by HTTP Basic or in the body.", 401)
    return _Client(client_id=form["client_id"], client_secret=form["client_secret"])


def _read_basic(encoded: str) -> _Client:
    """RFC 6749 section 2.3.1: both are form-encoded before they are joined."""
    try:
        name, separator, secret = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        client = _Client(
            client_id=unquote_plus(name, errors="strict"), client_secret=unquote_plus(secret, errors="strict")
        )
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise _OAuthError("invalid_client", "The Authorization header cannot be read.", 401) from None
    if not separator:
        raise _OAuthError("invalid_client", "The Authorization header cannot be read.", 401)
    return client


def _scopes(credential: Credential, asked: str) -> list[str]:
    """What the token will carry: what was asked for, within what the credential has."""
    wanted = sorted(set(asked.split())) or sorted(credential.scopes)
    if not set(wanted) <= set(credential.scopes):
        raise _OAuthError("invalid_scope", "The credential does not have every scope that is asked for.")
    return wanted


def _grant(parts: Parts, credential: Credential, scopes: list[str]) -> Response:
    issuer = parts.settings.issuing.issuer
    now = int(time.time())
    token = parts.keys.sign(
        {
            "iss": issuer,
            # For the gateway alone: the services behind it refuse this audience.
            "aud": issuer,
            "sub": credential.client_id,
            "client_id": credential.client_id,
            "org": credential.organisation_id,
            "scope": " ".join(scopes),
            "roles": sorted(credential.roles),
            "iat": now,
            "nbf": now,
            "exp": now + credential.token_seconds,
            "jti": secrets.token_hex(16),
        }
    )
    answer = {"access_token": token, "token_type": "Bearer", "expires_in": credential.token_seconds}
    response = jsonify(answer | {"scope": " ".join(scopes)})
    response.headers["Pragma"] = "no-cache"
    return response


def _require_patience(wait: float) -> None:
    """Raises _OAuthError when the caller has to wait."""
    if wait > 0:
        raise _OAuthError("temporarily_unavailable", "Too many attempts. Wait a moment.", 429, wait)


def _refusal(error: _OAuthError) -> Response:
    response = jsonify(error=error.error, error_description=error.description)
    response.status_code = error.status
    response.headers["Pragma"] = "no-cache"
    if error.status == 401:  # noqa: PLR2004 - the number everybody knows
        response.headers["WWW-Authenticate"] = 'Basic realm="indelible", charset="UTF-8"'
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    return response
