"""The verify page as a WSGI application: headers, limits and errors around the pages of `pages`."""

import logging
import time
from http import HTTPStatus

from flask import Flask, Response, g, request
from jinja2 import StrictUndefined
from werkzeug.middleware.proxy_fix import ProxyFix

from verifier.web.errors import error_response, handle_errors
from verifier.web.examine import MAX_UPLOADS_AT_ONCE, Turns
from verifier.web.links import load_link_keys
from verifier.web.listing import visible
from verifier.web.pages import EXTENSION, Services, pages
from verifier.web.presentation import long_time, short_time
from verifier.web.ratelimit import RateLimiter
from verifier.web.settings import WebSettings
from verifier.web.sources import GatewayBundles, LocalBundles
from verifier.web.trust import TrustFile

# Multipart boundaries and part headers around the file itself.
FORM_OVERHEAD_BYTES = 64 * 1024
# The form has one part; a few more are forgiven, thousands are an attack on the parser.
MAX_FORM_PARTS = 4
# An upload may cost a whole verification, a page a fraction of one.
UPLOAD_COST = 10
# A list of one kind walks the whole chain.
FILTER_COST = 5
PAGE_COST = 1
STATIC_SECONDS = 3600

SECURITY_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("X-Robots-Tag", "noindex, nofollow"),
)

_log = logging.getLogger("verifier.web")


def create_app(settings: WebSettings) -> Flask:
    """The verify page for `settings`. Raises `ValueError` or `OSError` if policy or keys cannot be used."""
    app = Flask("verifier.web", template_folder="templates", static_folder="static")
    app.config.update(
        MAX_CONTENT_LENGTH=settings.max_upload_bytes + FORM_OVERHEAD_BYTES,
        MAX_FORM_PARTS=MAX_FORM_PARTS,
        MAX_FORM_MEMORY_SIZE=FORM_OVERHEAD_BYTES,
        SEND_FILE_MAX_AGE_DEFAULT=STATIC_SECONDS,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's default provider; the report has its own order
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(visible=visible, long_time=long_time, short_time=short_time)
    app.extensions[EXTENSION] = _services(settings)
    # No redirects: their address would be built from the Host header, which is the client's.
    app.url_map.merge_slashes = False
    app.register_blueprint(pages)
    _limit_rates(app, settings)
    handle_errors(app)
    app.after_request(_finish)
    if settings.proxy_hops:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxy_hops, x_proto=settings.proxy_hops)  # type: ignore[method-assign]  # how Flask documents middleware
    return app


def _services(settings: WebSettings) -> Services:
    if settings.link_keys is not None:
        load_link_keys(settings.link_keys)
    turns = Turns()
    return Services(
        settings=settings,
        trust=TrustFile(settings.trust, turns),
        turns=turns,
        upload_turns=Turns(count=MAX_UPLOADS_AT_ONCE),
        local=LocalBundles(folder=settings.bundles) if settings.bundles is not None else None,
        gateway=GatewayBundles(settings.gateway, max_bytes=settings.max_gateway_bytes) if settings.gateway else None,
    )


def _limit_rates(app: Flask, settings: WebSettings) -> None:
    limiter = RateLimiter(per_minute=settings.requests_per_minute, burst=settings.burst)

    @app.before_request
    def limit_rate() -> Response | None:
        g.started = time.monotonic()
        if request.endpoint == "pages.healthz":
            return None
        wait = limiter.seconds_to_wait(request.remote_addr or "", cost=_cost(), now=g.started)
        return error_response(429, retry_after=int(wait) + 1) if wait else None


def _cost() -> int:
    if request.method == "POST":
        return UPLOAD_COST
    return FILTER_COST if request.args.get("kind") else PAGE_COST


def _finish(response: Response) -> Response:
    for name, value in SECURITY_HEADERS:
        response.headers[name] = value
    if request.endpoint != "static" or response.status_code >= HTTPStatus.BAD_REQUEST:
        response.headers["Cache-Control"] = "no-store"
    # The rule, never the path: a verify link in a log would open the record to whoever reads the log.
    rule = request.url_rule.rule if request.url_rule else "-"
    milliseconds = (time.monotonic() - g.get("started", time.monotonic())) * 1000
    _log.info("%s %s %d %.0f ms", request.method, rule, response.status_code, milliseconds)
    return response
