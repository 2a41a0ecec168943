"""The OpenAPI 3.1 document, generated from the routes, their models and the values they give."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, get_type_hints

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models import APISpec
from flask_openapi3.models.components import Components
from flask_openapi3.models.info import Info
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gateway.problems import MEDIA_TYPE, STATUS, TYPE_PREFIX, Code
from gateway.rest.repeats import MAX_KEY_CHARACTERS
from gateway.rest.routing import Repeat, Route
from gateway.rest.writing import JSON, ZIP

PREFIX = "/api/v1"
SECURITY = "bearer"
_REFERENCE = "#/components/schemas/"
_DESCRIPTION = (
    "Sessions and their events, anchors and bundles, recordings, clips and legal holds of your organisation. "
    "The organisation is that of your token; what belongs to another one does not exist for you."
)
# Every route may answer these; each has a body of the media type application/problem+json.
_COMMON = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_OF_BODIES = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
_OF_KEYS = (HTTPStatus.UNPROCESSABLE_ENTITY,)
_OF_TAGS: Mapping[str, tuple[HTTPStatus, ...]] = {
    "Proofs": (HTTPStatus.GONE,),
    "Clips": (HTTPStatus.GONE, HTTPStatus.BAD_GATEWAY),
    "Recordings": (HTTPStatus.GONE, HTTPStatus.BAD_GATEWAY),
    "Legal holds": (HTTPStatus.GONE,),
    "Webhooks": (HTTPStatus.NOT_IMPLEMENTED,),
    "Alert sources": (HTTPStatus.NOT_IMPLEMENTED,),
}


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457). `code` is for programs and never changes its meaning."""

    type: str = Field(pattern=f"^{TYPE_PREFIX}[A-Z_]+$")
    title: str
    status: int
    detail: str
    code: Code
    request_id: str
    field: str = Field(default="", description="The part of the request at fault, where there is one.")


class IdempotencyHeader(BaseModel):
    """The key under which a request may be sent again."""

    model_config = ConfigDict(populate_by_name=True)
    idempotency_key: str | None = Field(
        default=None,
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY_CHARACTERS,
        pattern="^[!#-~]+$",
        description="The same request with the same key gets the first answer and is not carried out twice.",
    )


class ConditionHeader(BaseModel):
    """What the caller has already."""

    model_config = ConfigDict(populate_by_name=True)
    if_none_match: str | None = Field(
        default=None,
        alias="If-None-Match",
        max_length=100,
        pattern='^"[0-9a-f]*"$',
        description="The ETag of what you have: the answer is 304 when it is still the same.",
    )


def add_routes(
    blueprint: APIBlueprint, routes: Iterable[Route], make_view: Callable[[Route], Callable[..., Response]]
) -> None:
    """Put the routes on a blueprint, which collects their documentation."""
    for route in routes:
        view = make_view(route)
        hints = get_type_hints(route.handler)
        view.__name__ = route.name
        view.__doc__ = route.handler.__doc__
        view.__annotations__ = {name: hints[name] for name in ("path", "query", "body") if name in hints}
        header = _header_of(route)
        if header is not None:
            view.__annotations__["header"] = header
        # Requests are read by `views`: strictly, within limits, and with refusals of our own.
        view.__delay_validate_request__ = True  # type: ignore[attr-defined]  # flask-openapi3 looks for it
        add = getattr(blueprint, route.method.lower())
        add(
            route.path.replace("{", "<").replace("}", ">"),
            operation_id=route.name,
            tags=[Tag(name=route.tag)],
            security=[{SECURITY: []}],
            responses=_responses(route),
        )(view)


def openapi_document(blueprint: APIBlueprint, routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The whole document."""
    components = Components(
        schemas=blueprint.components_schemas,
        securitySchemes={SECURITY: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    )
    spec = APISpec(
        openapi="3.1.0",
        info=Info(title="Indelible", version=version, description=_DESCRIPTION),
        paths=blueprint.paths,
        tags=blueprint.tags,
        components=components,
    )
    document: dict[str, Any] = spec.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    document["components"]["schemas"].update(_schemas(routes))
    for methods in document["paths"].values():
        for operation in methods.values():
            _tidy(operation)
    return document


def _header_of(route: Route) -> type[BaseModel] | None:
    if route.repeat is not Repeat.NONE:
        return IdempotencyHeader
    return ConditionHeader if route.etag else None


def _responses(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in (route.status, *route.also):
        found[str(int(status))] = {"description": status.phrase, "content": _content(route.answer)}
    if route.etag:
        found["304"] = {"description": "You have it already."}
    problem = {MEDIA_TYPE: {"schema": {"$ref": f"{_REFERENCE}Problem"}}}
    for status in sorted(set(_refusals(route))):
        codes = ", ".join(code for code in Code if STATUS[code] is status)
        found[str(int(status))] = {"description": f"{status.phrase}: {codes}", "content": problem}
    return found


def _refusals(route: Route) -> tuple[HTTPStatus, ...]:
    return (
        *_COMMON,
        *(_OF_BODIES if route.method in {"POST", "PUT", "PATCH"} else ()),
        *(_OF_KEYS if route.repeat is not Repeat.NONE else ()),
        *_OF_TAGS.get(route.tag, ()),
    )


def _content(answer: Any) -> dict[str, Any]:
    if answer is bytes:
        return {ZIP: {"schema": {"type": "string", "format": "binary"}}}
    return {JSON: {"schema": {"$ref": f"{_REFERENCE}{_name(answer)}"}}}


def _name(answer: Any) -> str:
    """What a type of answer is called: Session, or PageOfSession for a page of them."""
    arguments = getattr(answer, "__args__", ())
    if hasattr(answer, "__metadata__"):
        return "JsonObject"
    return f"PageOf{arguments[0].__name__}" if arguments else str(answer.__name__)


def _schemas(routes: Iterable[Route]) -> dict[str, Any]:
    """The schemas of all answers, and of problems."""
    schemas: dict[str, Any] = {}
    for answer in (
        *{_name(route.answer): route.answer for route in routes if route.answer is not bytes}.values(),
        Problem,
    ):
        schema = TypeAdapter(answer).json_schema(mode="serialization", ref_template=f"{_REFERENCE}{{model}}")
        schemas |= schema.pop("$defs", {})
        schemas[_name(answer)] = schema | {"title": _name(answer)}
    return schemas


def _tidy(operation: dict[str, Any]) -> None:
    """A parameter is left out, never null; and line ends of a docstring are no HTML."""
    if "description" in operation:
        operation["description"] = operation["description"].replace("<br/>", " ").strip()
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        choices = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
        if choices:
            schema |= choices[0]
        if schema.get("default", "") is None:
            del schema["default"]
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        schema.pop("title", None)
        parameter["schema"] = schema
