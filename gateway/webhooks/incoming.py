"""What others send us: alerts that ask for clips, and LiveKit's reports.

What holds for every alert, in this order:
1. It is small, and nobody sends too many.
2. Its signature is checked over the bytes as they came, before anything is read of them. A source that does not exist
   and a signature that does not match are answered alike: nobody learns which sources there are.
3. A message that was carried out before is not carried out again.
4. The body is read strictly, and as the source's mapping says.
5. The policy is asked, like for everybody: a source may ask for clips of its own cameras and for nothing else.
6. The clip is asked for; then the message is remembered. Dying in between, the sender repeats and gets the same clip.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from uuid import UUID

import structlog
from flask import Blueprint, Flask, Response, g, jsonify, request

from gateway.actions.clips import request_clip
from gateway.actions.desk import Desk
from gateway.actions.webhooks import require_webhooks
from gateway.auth.values import GatewayCaller
from gateway.calls.refusals import problem_of
from gateway.parts import Parts
from gateway.problems import Code, Problem
from gateway.ratelimit import RateLimiter
from gateway.rest.limits import read_json
from gateway.webhooks.mapping import AlertError, AlertMapping, read_alert
from gateway.webhooks.sealing import Sealer, SealingError
from gateway.webhooks.signing import SignatureError, verify, verify_body_only
from gateway.webhooks.sources import see, source_with_secrets, was_seen
from gateway.webhooks.values import AlertSource
from ledger.client import ClientError

MAX_ALERT_BYTES = 256 * 1024
# As the evidence service takes it.
MAX_LIVEKIT_BYTES = 1024 * 1024
MAX_AUTHORIZATION_CHARACTERS = 8_192
ALERTS_PER_SECOND = 10.0
BURST_ALERTS = 200
# Of one address, whatever sources it names: looking one up costs a turn of the database.
REQUESTS_PER_SECOND = 100.0
BURST_REQUESTS = 1_000
BODY_SIGNATURE_HEADERS = ("X-Signature", "X-Hub-Signature-256")

_log = structlog.stdlib.get_logger("gateway.webhooks")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Message:
    """An alert whose signature was checked."""

    source: AlertSource
    organisation_id: str
    message_id: str
    body: bytes


def register(app: Flask, parts: Parts) -> None:
    """Add the doors."""
    web = Blueprint("webhooks", __name__, url_prefix="/webhooks/in")
    desk = Desk.of(parts)
    alerts = RateLimiter(per_second=ALERTS_PER_SECOND, burst=BURST_ALERTS, table=parts.shared.alerts)
    requests = RateLimiter(per_second=REQUESTS_PER_SECOND, burst=BURST_REQUESTS, table=parts.shared.alert_requests)

    @web.post("/<organisation_id>/alerts/<uuid:alert_source_id>")
    def receive_alert(organisation_id: str, alert_source_id: UUID) -> Response:
        """An alert of one source."""
        _require_patience(requests.wait_seconds(request.remote_addr or ""))
        _require_patience(alerts.wait_seconds(f"{request.remote_addr} {alert_source_id}"))
        message = _believe(desk, organisation_id, alert_source_id, _body(MAX_ALERT_BYTES))
        if was_seen(parts.records, organisation_id, alert_source_id, message.message_id):
            return _answer(HTTPStatus.OK, "repeated")
        return _carry_out(desk, message)

    @web.post("/livekit")
    def receive_livekit() -> Response:
        """A report of LiveKit's; the evidence service checks its signature over these very bytes."""
        _require_patience(alerts.wait_seconds(f"{request.remote_addr} livekit"))
        authorization = request.headers.get("Authorization", "")[:MAX_AUTHORIZATION_CHARACTERS]
        try:
            fresh = desk.evidence.receive_livekit_webhook(_body(MAX_LIVEKIT_BYTES), authorization, g.request_id)
        except ClientError as error:
            if error.reason in {"UNAUTHENTICATED", "WEBHOOK_REFUSED"}:
                # Here it is the sender that was not believed, for the gateway names nobody.
                raise Problem(Code.UNAUTHENTICATED, "LiveKit's signature is missing or not valid.") from error
            raise problem_of(error) from error
        return _answer(HTTPStatus.OK, "received" if fresh else "repeated")

    app.register_blueprint(web)


def _believe(desk: Desk, organisation_id: str, alert_source_id: UUID, body: bytes) -> _Message:
    """Who sent this, if it can be believed. Raises Problem (UNAUTHENTICATED)."""
    sealer = Sealer(require_webhooks(desk).keys)
    try:
        found = source_with_secrets(desk.parts.records, sealer, organisation_id, alert_source_id)
        if found is None:
            raise SignatureError("there is no such source")  # noqa: TRY301 - answered like a wrong signature
        source, secrets = found
        if source.scheme == "body":
            given = next((value for name in BODY_SIGNATURE_HEADERS if (value := request.headers.get(name))), "")
            message_id = verify_body_only(secrets, given, body)
        else:
            headers = {name.lower(): value for name, value in request.headers.items()}
            message_id = verify(secrets, headers, body, now=time.time())
    except (SignatureError, SealingError) as error:
        _log.warning(
            "alert_not_believed",
            organisation_id=organisation_id,
            alert_source_id=str(alert_source_id),
            problem=str(error),
            request_id=g.request_id,
        )
        raise Problem(Code.UNAUTHENTICATED, "The signature is missing or not valid for this source.") from None
    return _Message(source=source, organisation_id=organisation_id, message_id=message_id, body=body)


def _carry_out(desk: Desk, message: _Message) -> Response:
    source = message.source
    document = read_json(message.body, MAX_ALERT_BYTES)
    try:
        mapping = AlertMapping.model_validate_json(source.mapping)
        alert = read_alert(mapping, document, received_at=datetime.now(UTC))
    except AlertError as error:
        raise Problem(Code.INVALID_REQUEST, f"The alert cannot be read: {error}.", field=error.pointer) from None
    if alert is None:
        return _answer(HTTPStatus.OK, "left alone")
    caller = GatewayCaller.of_source(
        organisation_id=message.organisation_id,
        source_id=str(source.alert_source_id),
        cameras=frozenset(source.cameras),
        request_id=g.request_id,
    )
    requested = request_clip(
        desk,
        caller,
        source=alert.source,
        incident=alert.incident,
        event_at=alert.event_at,
        before_seconds=None if alert.before_seconds is None else round(alert.before_seconds),
        after_seconds=None if alert.after_seconds is None else round(alert.after_seconds),
    )
    see(desk.parts.records, message.organisation_id, source.alert_source_id, message.message_id)
    return _answer(HTTPStatus.ACCEPTED, "accepted", clip_id=requested.clip.clip_id, created=requested.created)


def _body(max_bytes: int) -> bytes:
    """The body as it came. Raises Problem (TOO_LARGE)."""
    if (request.content_length or 0) > max_bytes:
        raise Problem(Code.TOO_LARGE, f"The body has more than {max_bytes:,} bytes.")
    body = request.get_data(cache=False)
    if len(body) > max_bytes:
        raise Problem(Code.TOO_LARGE, f"The body has more than {max_bytes:,} bytes.")
    return body


def _require_patience(wait: float) -> None:
    if wait > 0:
        headers = {"Retry-After": str(int(wait) + 1)}
        raise Problem(Code.RATE_LIMITED, "Too many messages. Wait a moment.", headers=headers)


def _answer(status: HTTPStatus, outcome: str, **more: object) -> Response:
    response = jsonify(outcome=outcome, **more)
    response.status_code = status
    return response
