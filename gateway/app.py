"""The gateway as one web application: the door of verify links, and, where it is set up, that of the integrators.

What holds for every answer stands here: its headers, its request id, and what a failure looks like. Each part brings
its own routes and registers itself.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from gateway.auth.web import register as register_auth
from gateway.door import (
    BURST_REQUESTS,
    MAX_DOWNLOADS,
    MAX_DOWNLOADS_OF_ONE,
    REQUESTS_PER_SECOND,
    make_door,
    refusal,
)
from gateway.graphql import register as register_graphql
from gateway.metrics import count_requests
from gateway.parts import Parts
from gateway.problems import MEDIA_TYPE, Code, Problem, not_found
from gateway.ratelimit import RateLimiter
from gateway.rest import register as register_rest
from gateway.shared import Table
from gateway.slots import Slots
from gateway.webhooks.incoming import register as register_webhooks
from ledger.client import BlockingLedgerClient

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["MAX_DOWNLOADS", "create_app"]

# What integrators are served; each registers its routes.
DOORS: tuple[Callable[[Flask, Parts], None], ...] = (register_auth, register_rest, register_graphql, register_webhooks)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
# What an answer has unless it says something else itself.
_HEADERS = (
    ("cache-control", "no-store"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
)
_CODES = {
    400: Code.INVALID_REQUEST,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    429: Code.RATE_LIMITED,
}
_FAILED = "The gateway failed to carry this out; its log has the details."


class _Application(Flask):
    """Flask without what costs time with every request and is of no use here."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Nothing here is asynchronous: no need to look at each function whether it is."""
        return func

    def wsgi_app(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer, and add the headers that protect whoever reads the answer."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            given = {name.lower() for name, _ in headers}
            added = [(name, value) for name, value in _HEADERS if name not in given]
            return start_response(status, headers + added, exc_info)

        answer: Iterable[bytes] = super().wsgi_app(environ, start)
        return answer


def create_app(ledger: BlockingLedgerClient, *, parts: Parts | None = None) -> Flask:
    """The gateway in front of `ledger`; without `parts` it is the door of verify links and nothing else."""
    app = _Application(__name__, static_folder=None)
    # Else "//" is redirected to an address that begins with http://, and a bearer token would follow it there.
    app.url_map.merge_slashes = False
    _add_manners(app)
    if parts is None:
        _tell_in_sentences(app)
    else:
        _tell_as_problems(app)
        count_requests(app, parts.metrics)
    app.register_blueprint(_make_door(ledger, parts))

    @app.get("/healthz")
    def report_health() -> Response:
        return jsonify(status="ok")

    if parts is not None:
        for register in DOORS:
            register(app, parts)
    return app


def _make_door(ledger: BlockingLedgerClient, parts: Parts | None) -> Blueprint:
    table = parts.shared.link_requests if parts else Table()
    limits = RateLimiter(per_second=REQUESTS_PER_SECOND, burst=BURST_REQUESTS, table=table)
    metrics = parts.metrics if parts else None
    slots = Slots("links", at_once=MAX_DOWNLOADS, of_one=MAX_DOWNLOADS_OF_ONE, metrics=metrics)
    return make_door(ledger, limits, slots)


def _add_manners(app: Flask) -> None:
    """What holds for every request and every answer."""

    @app.before_request
    def name_request() -> None:
        """The caller's own x-request-id when it is harmless, else a new one."""
        g.began = time.perf_counter()
        asked = request.headers.get("X-Request-Id", "")
        g.request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(8)

    @app.after_request
    def tell_name(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        return response


def _tell_in_sentences(app: Flask) -> None:
    """Errors as one sentence."""

    @app.errorhandler(HTTPException)
    def explain(error: HTTPException) -> Response:
        return refusal(error.code or 500, error.name)

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        app.logger.error("a request failed", exc_info=error)
        return refusal(500, _FAILED)


def _tell_as_problems(app: Flask) -> None:
    """Errors as RFC 9457 problems."""

    @app.errorhandler(Problem)
    def explain(problem: Problem) -> Response:
        return answer(problem)

    @app.errorhandler(HTTPException)
    def translate(error: HTTPException) -> Response:
        """What Flask refuses by itself: unknown addresses, other methods, bodies that are too large."""
        if error.code == 404:  # noqa: PLR2004 - the number everybody knows
            return answer(not_found())
        code = _CODES.get(error.code or 500)
        if code is None:
            app.logger.error("a request failed", exc_info=error)
            return answer(Problem(Code.INTERNAL, _FAILED))
        headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
        return answer(Problem(code, error.description or error.name, headers=headers))

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        app.logger.error("a request failed", exc_info=error)
        return answer(Problem(Code.INTERNAL, _FAILED))


def answer(problem: Problem) -> Response:
    """The answer that tells of a problem."""
    response = jsonify(problem.document(g.get("request_id", "")))
    response.status_code = problem.status
    response.mimetype = MEDIA_TYPE
    response.headers.update(problem.headers)
    return response
