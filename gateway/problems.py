"""What the gateway says when it does not carry a request out: RFC 9457 problems with stable codes."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType

TYPE_PREFIX = "urn:indelible:problem:"
MEDIA_TYPE = "application/problem+json"


class Code(StrEnum):
    """Machine-readable codes. They are part of the interface: never renamed, never reused."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    INSUFFICIENT_SCOPE = "INSUFFICIENT_SCOPE"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    INVALID_REQUEST = "INVALID_REQUEST"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    TOO_LARGE = "TOO_LARGE"
    CONFLICT = "CONFLICT"
    RATE_LIMITED = "RATE_LIMITED"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    INTERNAL = "INTERNAL"


STATUS: Mapping[Code, HTTPStatus] = MappingProxyType(
    {
        Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
        Code.FORBIDDEN: HTTPStatus.FORBIDDEN,
        Code.INSUFFICIENT_SCOPE: HTTPStatus.FORBIDDEN,
        Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
        Code.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
        Code.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
        Code.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        Code.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        Code.CONFLICT: HTTPStatus.CONFLICT,
        Code.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
        Code.DATABASE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
        Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """A request that is not carried out: a code for programs, a sentence for people.

    `field` is the part of the request at fault, `headers` go with the answer, `extensions` are further members.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status = STATUS[code]
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})

    def document(self, request_id: str) -> dict[str, object]:
        """The body of the answer (RFC 9457 section 3)."""
        return {
            "type": f"{TYPE_PREFIX}{self.code}",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            "code": str(self.code),
            "request_id": request_id,
            **({"field": self.field} if self.field is not None else {}),
            **self.extensions,
        }


def not_found() -> Problem:
    """The same for what does not exist and for what belongs to another organisation: nobody learns which."""
    return Problem(Code.NOT_FOUND, "There is nothing of that name here.")
