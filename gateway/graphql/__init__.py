"""GraphQL at /graphql: the operations of REST as one typed schema, with what leads from one thing to another."""

from concurrent.futures import ThreadPoolExecutor

from flask import Blueprint, Flask, Request, Response, g, request

from gateway.actions.desk import Desk
from gateway.graphql.asking import Shared
from gateway.graphql.schema import make_schema
from gateway.graphql.view import PATH, Door
from gateway.parts import Parts
from gateway.rest import keep_manners
from gateway.rest.cors import allow_origins
from gateway.rest.repeats import Repeats

# For the calls of all requests together: they wait for the services behind the gateway.
THREADS = 32


def register(app: Flask, parts: Parts) -> None:
    """Serve GraphQL, beside REST and within the same limits of callers."""
    shared = Shared(
        limits=app.extensions["indelible.limits"],
        threads=ThreadPoolExecutor(THREADS, thread_name_prefix="graphql"),
        slow=app.extensions["indelible.slow"],
    )
    door = Door(
        schema=make_schema(introspection=parts.settings.graphql_introspection),
        desk=Desk.of(parts),
        repeats=Repeats(parts.records),
        shared=shared,
    )
    blueprint = Blueprint("graphql", __name__)
    keep_manners(blueprint)
    allow_origins(blueprint, parts.settings.cors_origins)

    @blueprint.post(PATH)
    def graphql() -> Response:
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's way past the proxy
        caller = g.caller = parts.callers.identify(asked, g.request_id)
        g.rate_headers = shared.limits.spend(caller)
        return door.answer(asked, caller)

    app.register_blueprint(blueprint)
