"""POST /graphql: one operation for each request, and nothing around it that REST does not have as well.

What is refused before there is an operation is a problem as in REST: no token, no JSON, too often. From then on errors
are those of GraphQL: with status 400 when nothing was carried out, else with 200 and what there is.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Request, Response
from graphql import FieldNode, GraphQLError
from pydantic import BaseModel, ConfigDict, Field
from strawberry.types.execution import PreExecutionError

from gateway.actions.desk import Desk
from gateway.auth.values import GatewayCaller
from gateway.graphql.asking import Conversation, Shared
from gateway.graphql.errors import refused, told
from gateway.graphql.limits import Document, check_limits, read_document
from gateway.graphql.operations import Operation
from gateway.graphql.schema import GatewaySchema
from gateway.problems import Code, Problem
from gateway.rest.events import MAX_APPEND_BYTES
from gateway.rest.limits import read_json
from gateway.rest.parsing import validated
from gateway.rest.repeats import Kept, Repeats, key_of
from gateway.rest.routing import Call, Repeat
from gateway.rest.views import IDEMPOTENCY_KEY, REPLAYED

PATH = "/graphql"
MAX_BODY_BYTES = MAX_APPEND_BYTES
JSON = "application/json"
GRAPHQL_JSON = "application/graphql-response+json"


class Asked(BaseModel):
    """The body of a request (GraphQL over HTTP)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    query: str = Field(min_length=1)
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815 - as the specification spells it
    extensions: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """What all requests share."""

    schema: GatewaySchema
    desk: Desk
    repeats: Repeats
    shared: Shared

    def answer(self, request: Request, caller: GatewayCaller) -> Response:
        """The answer to a request. Raises Problem when it is none of GraphQL."""
        asked = _read(request)
        key = key_of(request.headers.get(IDEMPOTENCY_KEY))
        try:
            document = read_document(asked.query, asked.operationName)
            check_limits(self.schema.graphql, document, asked.variables or {}, self.schema.calls)
            once = self._once(document) if key is not None and document.writes else None
        except Problem as problem:
            return _response(request, 400, {"errors": [refused(problem, caller.request_id)]})
        if key is None or once is None or once.route.repeat is not Repeat.GATEWAY:
            return self._execute(request, asked, document, caller, key if once else None)[0]
        return self._claimed(request, asked, document, caller, once, key)

    def _once(self, document: Document) -> Operation | None:
        """The one field that a key is for. Raises Problem: under one key there is one thing to do."""
        selected = document.operation.selection_set.selections
        if len(selected) != 1 or not isinstance(selected[0], FieldNode):
            raise Problem(
                Code.INVALID_REQUEST,
                f"With an {IDEMPOTENCY_KEY}, a mutation has one field.",
                field=IDEMPOTENCY_KEY,
            )
        return self.schema.operations.get(selected[0].name.value)

    def _claimed(  # noqa: PLR0913, PLR0917 - a request, taken apart
        self, request: Request, asked: Asked, document: Document, caller: GatewayCaller, once: Operation, key: str
    ) -> Response:
        """Carry a mutation out, or repeat its answer."""
        try:
            claimed = self.repeats.claim(caller, f"POST {PATH}", key, request.get_data(cache=True))
        except Problem as problem:
            return _response(request, 400, {"errors": [refused(problem, caller.request_id)]})
        if isinstance(claimed, Kept):
            repeated = Response(claimed.body, claimed.status, content_type=_media_type(request))
            repeated.headers[REPLAYED] = "true"
            return repeated
        done = False
        try:
            response, done = self._execute(request, asked, document, caller, key)
        finally:
            if not done:
                self.repeats.give_up(claimed)
        if done:
            kept = Kept(status=response.status_code, headers={}, body=response.get_data())
            self.repeats.keep(claimed, kept, withhold=once.route.secret)
        return response

    def _execute(
        self, request: Request, asked: Asked, document: Document, caller: GatewayCaller, key: str | None
    ) -> tuple[Response, bool]:
        """The answer, and whether something was changed for it."""

        async def run() -> tuple[Any, bool]:
            call = Call(desk=self.desk, caller=caller, idempotency_key=key)
            conversation = Conversation(document.document, call, self.shared)
            name = document.operation.name
            result = await self.schema.execute(
                asked.query,
                variable_values=asked.variables,
                context_value=conversation,
                operation_name=None if name is None else name.value,
            )
            return result, conversation.done

        result, done = asyncio.run(run())
        errors: list[GraphQLError] = result.errors or []
        body: dict[str, Any] = {} if not errors else {"errors": told(errors, caller.request_id)}
        unstarted = isinstance(result, PreExecutionError) or (result.data is None and not _paths(errors))
        if unstarted:
            return _response(request, 400, body), done
        return _response(request, 200, {"data": result.data, **body}), done


def _paths(errors: list[GraphQLError]) -> bool:
    """Whether an error is one of a field, and not of the request."""
    return any(error.path is not None for error in errors)


def _read(request: Request) -> Asked:
    """The body. Raises Problem."""
    if request.query_string:
        raise Problem(Code.INVALID_REQUEST, "This address takes no query; send it in the body.")
    if request.mimetype != JSON:
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, f"The body must be JSON, with Content-Type: {JSON}.")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise Problem(Code.TOO_LARGE, f"The body has more than {MAX_BODY_BYTES:,} bytes.")
    return validated(Asked, read_json(request.get_data(cache=True), MAX_BODY_BYTES))


def _response(request: Request, status: int, body: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, content_type=_media_type(request))


def _media_type(request: Request) -> str:
    """The newer media type for those who ask for it."""
    best = request.accept_mimetypes.best_match([JSON, GRAPHQL_JSON], default=JSON)
    return best or JSON
