"""From a request to the models a handler asks for."""

from collections.abc import Mapping
from typing import Any, TypeVar, get_origin, get_type_hints

from flask import Request
from pydantic import BaseModel, ValidationError

from gateway.problems import Code, Problem
from gateway.rest.limits import read_json
from gateway.rest.routing import Route

Model = TypeVar("Model", bound=BaseModel)

_JSON = "application/json"


class Reader:
    """What one route reads, found out once: the models, and which parts of the query may come several times."""

    def __init__(self, route: Route) -> None:
        hints = get_type_hints(route.handler)
        self._path: type[BaseModel] | None = hints.get("path")
        self._query: type[BaseModel] | None = hints.get("query")
        self._body: type[BaseModel] | None = hints.get("body")
        self._max_body_bytes = route.max_body_bytes
        self._lists = {
            name
            for name, field in (self._query.model_fields.items() if self._query else ())
            if get_origin(field.annotation) is list
        }

    def read(self, request: Request, path: Mapping[str, str]) -> dict[str, BaseModel]:
        """The handler's arguments. Raises Problem."""
        read: dict[str, BaseModel] = {}
        if self._path is not None:
            read["path"] = validated(self._path, path)
        if self._query is not None:
            read["query"] = validated(self._query, self._query_of(request))
        elif request.query_string:
            raise Problem(Code.INVALID_REQUEST, "This address takes no query.")
        if self._body is not None:
            read["body"] = validated(self._body, self._body_of(request))
        return read

    def _query_of(self, request: Request) -> dict[str, Any]:
        query: dict[str, Any] = {}
        for name, values in request.args.lists():
            if name in self._lists:
                query[name] = values
            elif len(values) > 1:
                raise Problem(Code.INVALID_REQUEST, f"{name[:64]} stands in the query more than once.", field=name[:64])
            else:
                query[name] = values[0]
        return query

    def _body_of(self, request: Request) -> Any:
        length = request.content_length
        if length is not None and length > self._max_body_bytes:
            raise Problem(Code.TOO_LARGE, f"The body has more than {self._max_body_bytes:,} bytes.")
        body = request.get_data(cache=True)
        if not body:
            return {}
        if request.mimetype != _JSON:
            raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, f"The body must be JSON, with Content-Type: {_JSON}.")
        return read_json(body, self._max_body_bytes)


def validated(model: type[Model], value: Any) -> Model:
    """The value as `model` has it. Raises Problem (INVALID_REQUEST), which names the member at fault."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = _place(first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    raise Problem(Code.INVALID_REQUEST, f"{field or 'The body'}: {what}.", field=field or None)


def _place(parts: tuple[int | str, ...]) -> str:
    """Where it is, as one would write it: events[0].kind. Names of the caller's own may be anything: they are cut."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part[:64]}"
    return text.removeprefix(".").encode("utf-8", "replace").decode()[:256]
