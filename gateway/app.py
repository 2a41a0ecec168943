"""The gateway as one web application: the door of verify links, and, where it is set up, that of the integrators.

What holds for every answer stands here: its headers, its request id, and what a failure looks like. Each part brings
its own routes and registers itself.
"""

import re
import secrets
from collections.abc import Callable

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from gateway.auth.web import register as register_auth
from gateway.door import MAX_DOWNLOADS, make_door, refusal
from gateway.graphql import register as register_graphql
from gateway.parts import Parts
from gateway.problems import MEDIA_TYPE, Code, Problem, not_found
from gateway.ratelimit import RateLimiter
from gateway.rest import register as register_rest
from gateway.webhooks.incoming import register as register_webhooks
from ledger.client import BlockingLedgerClient

__all__ = ["MAX_DOWNLOADS", "create_app"]

# What integrators are served; each registers its routes.
DOORS: tuple[Callable[[Flask, Parts], None], ...] = (register_auth, register_rest, register_graphql, register_webhooks)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_CODES = {
    400: Code.INVALID_REQUEST,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    429: Code.RATE_LIMITED,
}
_FAILED = "The gateway failed to carry this out; its log has the details."


def create_app(
    ledger: BlockingLedgerClient, limiter: RateLimiter | None = None, *, parts: Parts | None = None
) -> Flask:
    """The gateway in front of `ledger`; without `parts` it is the door of verify links and nothing else."""
    app = Flask(__name__, static_folder=None)
    # Else "//" is redirected to an address that begins with http://, and a bearer token would follow it there.
    app.url_map.merge_slashes = False
    _add_manners(app)
    if parts is None:
        _tell_in_sentences(app)
    else:
        _tell_as_problems(app)
    app.register_blueprint(make_door(ledger, limiter))

    @app.get("/healthz")
    def report_health() -> Response:
        return jsonify(status="ok")

    if parts is not None:
        for register in DOORS:
            register(app, parts)
    return app


def _add_manners(app: Flask) -> None:
    """What holds for every request and every answer."""

    @app.before_request
    def name_request() -> None:
        """The caller's own x-request-id when it is harmless, else a new one."""
        asked = request.headers.get("X-Request-Id", "")
        g.request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(8)

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
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
