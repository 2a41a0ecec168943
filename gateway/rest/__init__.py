"""The REST API below /api/v1: routes, the OpenAPI document made of them, and a page to read it."""

import time
from http import HTTPStatus
from importlib.metadata import version

import structlog
from flask import Blueprint, Flask, Response, g, request
from flask_openapi3.blueprint import APIBlueprint

from gateway.actions.desk import Desk
from gateway.parts import Parts
from gateway.rest.cors import allow_origins
from gateway.rest.document import PREFIX, add_routes, openapi_document
from gateway.rest.limits import CallerLimits
from gateway.rest.reference import CONTENT_SECURITY_POLICY, reference_page
from gateway.rest.repeats import Repeats
from gateway.rest.routes import ALL_ROUTES
from gateway.rest.routing import Route
from gateway.rest.views import Surroundings, make_view
from gateway.rest.writing import JSON, json_bytes
from gateway.slots import Slots

# What a caller may ask for at once, in seconds of its long run.
BURST_SECONDS = 5
# Downloads and checks of whole clips or chains at once in one process, which has three times as many threads; and those
# of one organisation.
MAX_SLOW = 16
MAX_SLOW_OF_ONE = 8
# Too frequent to be logged when they succeed.
_QUIET = frozenset({"append_events", "get_event"})
_log = structlog.stdlib.get_logger("gateway")


def register(app: Flask, parts: Parts) -> None:
    """Serve the API."""
    per_second = parts.settings.requests_per_second
    limits = CallerLimits(per_second=per_second, burst=per_second * BURST_SECONDS, table=parts.shared.callers)
    slow = Slots("api", at_once=MAX_SLOW, of_one=MAX_SLOW_OF_ONE, metrics=parts.metrics)
    around = Surroundings(desk=Desk.of(parts), limits=limits, repeats=Repeats(parts.records), slow=slow)
    # The other doors count the same callers.
    app.extensions["indelible.limits"] = limits
    app.extensions["indelible.slow"] = slow
    # Two slashes are no spelling of one: a redirect would send a request, token and all, a second time.
    app.url_map.merge_slashes = False
    app.register_blueprint(make_blueprint(ALL_ROUTES, around, parts.settings.cors_origins))


def make_blueprint(routes: tuple[Route, ...], around: Surroundings, origins: frozenset[str]) -> APIBlueprint:
    """The routes, what they have in common, and their documentation."""
    blueprint = APIBlueprint("rest", __name__, url_prefix=PREFIX)
    keep_manners(blueprint)
    allow_origins(blueprint, origins)
    add_routes(blueprint, routes, lambda route: make_view(route, around))
    document = openapi_document(blueprint, routes, version("indelible"))
    as_json, as_page = json_bytes(document), reference_page(document)

    @blueprint.get("/openapi.json", doc_ui=False)
    def openapi() -> Response:
        return Response(as_json, content_type=JSON)

    @blueprint.get("/", doc_ui=False)
    def reference() -> Response:
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return Response(as_page, content_type="text/html; charset=utf-8", headers=headers)

    @blueprint.get("", doc_ui=False)
    def lead_to_reference() -> Response:
        # Relative: Flask's own redirect leads to an address that begins with http://, and takes a bearer token along.
        return Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": f"{PREFIX.rpartition('/')[2]}/"})

    return blueprint


def keep_manners(blueprint: Blueprint) -> None:
    """Every request is timed and logged; every answer says how much more its caller may ask for."""

    @blueprint.before_request
    def begin() -> None:
        g.rate_headers = None

    @blueprint.after_request
    def finish(response: Response) -> Response:
        if g.rate_headers is not None:
            response.headers.extend(g.rate_headers)
        _log_request(response)
        return response


def _log_request(response: Response) -> None:
    name = (request.endpoint or "").rpartition(".")[2]
    if response.status_code < 400 and name in _QUIET:  # noqa: PLR2004 - where refusals begin
        return
    caller = g.get("caller")
    _log.info(
        "request",
        request_id=g.request_id,
        method=request.method,
        route=name,
        status=response.status_code,
        organisation_id=caller.organisation_id if caller else None,
        subject=caller.subject if caller else None,
        milliseconds=round((time.perf_counter() - g.began) * 1000, 3),
    )
