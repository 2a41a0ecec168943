"""What went wrong, as GraphQL tells it: the codes are those of REST."""

from collections.abc import Iterable
from typing import Any

import structlog
from graphql import GraphQLError

from gateway.problems import Code, Problem

MAX_MESSAGE_CHARACTERS = 1_000

_log = structlog.stdlib.get_logger("gateway")
_FAILED = "The gateway failed to carry this out; its log has the details."


def told(errors: Iterable[GraphQLError], request_id: str) -> list[dict[str, Any]]:
    """The `errors` of an answer. What nobody expected is logged, and not told."""
    return [_told(error, request_id) for error in errors]


def refused(problem: Problem, request_id: str) -> dict[str, Any]:
    """A request that was not carried out at all."""
    return {"message": _sentence(problem.detail), "extensions": _extensions(problem, request_id)}


def _told(error: GraphQLError, request_id: str) -> dict[str, Any]:
    problem = _problem_of(error, request_id)
    answer = refused(problem, request_id)
    formatted = error.formatted
    return answer | {name: formatted[name] for name in ("locations", "path") if formatted.get(name)}


def _problem_of(error: GraphQLError, request_id: str) -> Problem:
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if isinstance(cause, Problem):
        return cause
    # At no field it is the document or a variable; an error of an argument names the place in the document, which one
    # of a value that does not fit its type cannot.
    if error.path is None or (isinstance(cause, GraphQLError) and cause.nodes):
        return Problem(Code.INVALID_REQUEST, error.message)
    _log.error("a resolver failed", request_id=request_id, path=error.path, exc_info=cause or error)
    return Problem(Code.INTERNAL, _FAILED)


def _sentence(message: str) -> str:
    """Messages about a request quote it, and it may hold half of a surrogate pair."""
    return message[:MAX_MESSAGE_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


def _extensions(problem: Problem, request_id: str) -> dict[str, object]:
    document = problem.document(request_id)
    return {name: value for name, value in document.items() if name not in {"type", "title", "detail"}}
