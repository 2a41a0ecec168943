"""What a caller of the gateway is told when a service behind it refused."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from gateway.problems import Code, Problem
from ledger.client import UNREACHABLE, ClientError

RETRY_SECONDS = 5

# What the services call differently. Their other reasons are codes here, by the same name.
_CODES: Mapping[str, Code] = MappingProxyType(
    {
        "INVALID_ARGUMENT": Code.INVALID_REQUEST,
        "PERMISSION_DENIED": Code.FORBIDDEN,
        "STORE_UNAVAILABLE": Code.SERVICE_UNAVAILABLE,
        "LEDGER_UNAVAILABLE": Code.SERVICE_UNAVAILABLE,
        "LIVEKIT_UNAVAILABLE": Code.SERVICE_UNAVAILABLE,
        UNREACHABLE: Code.SERVICE_UNAVAILABLE,
        # The gateway's own token was refused: nothing the caller can mend.
        "UNAUTHENTICATED": Code.SERVICE_UNAVAILABLE,
    }
)
# For a reason that is newer than this gateway: what its gRPC status allows to be said. The reason goes along.
_BY_STATUS: Mapping[str, Code] = MappingProxyType(
    {
        "INVALID_ARGUMENT": Code.INVALID_REQUEST,
        "OUT_OF_RANGE": Code.INVALID_REQUEST,
        "NOT_FOUND": Code.NOT_FOUND,
        "ALREADY_EXISTS": Code.CONFLICT,
        "FAILED_PRECONDITION": Code.CONFLICT,
        "PERMISSION_DENIED": Code.FORBIDDEN,
        "UNAUTHENTICATED": Code.SERVICE_UNAVAILABLE,
        "RESOURCE_EXHAUSTED": Code.OVERLOADED,
        "UNAVAILABLE": Code.SERVICE_UNAVAILABLE,
        "UNIMPLEMENTED": Code.SERVICE_UNAVAILABLE,
        "DEADLINE_EXCEEDED": Code.SERVICE_UNAVAILABLE,
    }
)
_PASSING = frozenset({Code.DATABASE_UNAVAILABLE, Code.SERVICE_UNAVAILABLE, Code.OVERLOADED, Code.CLOCK_WENT_BACK})
# Fields of the contracts that have another name here.
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "chain_id": "session_id",
        "session_chain_id": "session_id",
        "page_token": "cursor",
        "page_size": "limit",
        "artefact": "file",
        "before": "before_seconds",
        "after": "after_seconds",
    }
)
_UNAVAILABLE = "A service behind the gateway cannot answer now. Try again in a moment."


def problem_of(error: ClientError) -> Problem:
    """The problem that a refusal is, for callers who never heard of the services."""
    code = _code_of(error)
    extensions: dict[str, object] = {}
    if code is Code.SEQUENCE_MISMATCH and "actual_sequence" in error.metadata:
        extensions["actual_sequence"] = int(error.metadata["actual_sequence"])
    if code is Code.CONFLICT:
        extensions["reason"] = error.reason
    if code is Code.INTERNAL:
        return Problem(code, "A service behind the gateway failed to carry this out; its log has the details.")
    return Problem(
        code,
        # Addresses and states of our machines are nobody's business.
        _UNAVAILABLE if code is Code.SERVICE_UNAVAILABLE else _sentence(error.message),
        field=_field_of(error),
        headers={"Retry-After": str(RETRY_SECONDS)} if code in _PASSING else None,
        extensions=extensions,
    )


def _code_of(error: ClientError) -> Code:
    if error.reason in _CODES:
        return _CODES[error.reason]
    try:
        return Code(error.reason)
    except ValueError:
        return _BY_STATUS.get(error.status, Code.INTERNAL)


def _field_of(error: ClientError) -> str | None:
    field = error.metadata.get("field", "").removeprefix("extraction.")
    name = re.match(r"[^.\[]*", field)
    if name is None or not field:
        return None
    return _FIELDS.get(name[0], name[0]) + field[name.end() :]


def _sentence(message: str) -> str:
    """The services begin some of their messages in lower case, and name their fields."""
    text = message[:1].upper() + message[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
