"""Browsers: pages of the origins that the operator named may use the API; nobody else's, and none by default."""

from flask import Blueprint, Response, request

MAX_AGE_SECONDS = 600
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_ASKED = "Authorization, Content-Type, Idempotency-Key, If-None-Match, X-Request-Id"
_SHOWN = (
    "ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, "
    "X-Request-Id"
)


def allow_origins(blueprint: Blueprint, origins: frozenset[str]) -> None:
    """Tell browsers which origins may read the answers. Bearer tokens are no cookies: credentials are not allowed."""
    if not origins:
        return

    @blueprint.after_request
    def name_origin(response: Response) -> Response:
        response.vary.add("Origin")
        origin = request.headers.get("Origin", "")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _SHOWN
            if request.method == "OPTIONS":
                response.headers["Access-Control-Allow-Methods"] = _METHODS
                response.headers["Access-Control-Allow-Headers"] = _ASKED
                response.headers["Access-Control-Max-Age"] = str(MAX_AGE_SECONDS)
        return response
