"""What happens around every handler, in this order; whatever refuses first is the answer.

1. Who asks: the bearer token.
2. Not too often.
3. The request is read, strictly and within its limits.
4. A repetition under an Idempotency-Key gets its first answer.
5. The handler, whose use case asks the policy first.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Request, Response, g, request

from gateway.actions.desk import Desk
from gateway.rest.limits import CallerLimits
from gateway.rest.parsing import Reader
from gateway.rest.repeats import Kept, Repeats, key_of
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.rest.writing import JSON, file_response, json_bytes
from gateway.slots import Slots
from gateway.values import Bytes, Page

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What all routes share."""

    desk: Desk
    limits: CallerLimits
    repeats: Repeats
    slow: Slots


def make_view(route: Route, around: Surroundings) -> Callable[..., Response]:
    """The function that Flask calls for a route."""
    reader = Reader(route)
    identify = around.desk.parts.callers.identify

    def view(**path: str) -> Response:
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - werkzeug's way past the proxy
        caller = g.caller = identify(asked, g.request_id)
        g.rate_headers = around.limits.spend(caller)
        arguments = reader.read(asked, path)
        key = None if route.repeat is Repeat.NONE else key_of(asked.headers.get(IDEMPOTENCY_KEY))
        call = Call(desk=around.desk, caller=caller, idempotency_key=key)
        if route.slow:
            return _slowly(route, around.slow, call, arguments, asked)
        if key is not None and route.repeat is Repeat.GATEWAY:
            return _once(route, around.repeats, call, arguments, asked)
        return _respond(route, route.handler(call, **arguments), asked)

    return view


def _slowly(route: Route, slots: Slots, call: Call, arguments: dict[str, Any], asked: Request) -> Response:
    """Carry out what takes long, unless too much of that is under way: the others must not have to wait for it."""
    slot = slots.take(call.caller.organisation_id)
    sending = False
    try:
        answer = route.handler(call, **arguments)
        if isinstance(answer.value, Bytes):
            response = file_response(answer.value, slot.release)
            sending = True
            return response
        return _respond(route, answer, asked)
    finally:
        if not sending:
            slot.release()


def _once(route: Route, repeats: Repeats, call: Call, arguments: dict[str, Any], asked: Request) -> Response:
    """Carry a request out, or repeat its answer."""
    claimed = repeats.claim(call.caller, f"{asked.method} {asked.path}", call.idempotency_key or "", _content(asked))
    if isinstance(claimed, Kept):
        repeated = Response(claimed.body, claimed.status, claimed.headers, content_type=JSON)
        repeated.headers[REPLAYED] = "true"
        return repeated
    try:
        response = _respond(route, route.handler(call, **arguments), asked)
    except BaseException:
        repeats.give_up(claimed)
        raise
    headers = {name: value for name, value in response.headers if name in {"ETag", "Location"}}
    kept = Kept(status=response.status_code, headers=headers, body=response.get_data())
    repeats.keep(claimed, kept, withhold=route.secret)
    return response


def _content(asked: Request) -> bytes:
    """What a request says, as far as it decides whether two are the same."""
    return hashlib.sha256(asked.query_string).digest() + asked.get_data(cache=True)


def _respond(route: Route, answer: Answer, asked: Request) -> Response:
    headers = [("Content-Type", JSON), *answer.headers.items()]
    if answer.etag is not None:
        headers.append(("ETag", f'"{answer.etag}"'))
        if asked.if_none_match.contains_weak(answer.etag):
            return Response(status=304, headers=headers[-1:])
    if isinstance(answer.value, Page) and answer.value.next_cursor is not None:
        headers.append(("Link", f'<{_next_page(asked, answer.value.next_cursor)}>; rel="next"'))
    if answer.replayed:
        headers.append((REPLAYED, "true"))
    return Response(json_bytes(answer.value), answer.status or route.status, headers)


def _next_page(asked: Request, cursor: str) -> str:
    """The address of the next page (RFC 8288): this one, with its cursor."""
    query = [(name, value) for name, value in asked.args.items(multi=True) if name != "cursor"]
    return f"{asked.path}?{urlencode([*query, ('cursor', cursor)])}"
