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
    WEBHOOKS_NOT_CONFIGURED = "WEBHOOKS_NOT_CONFIGURED"
    INTERNAL = "INTERNAL"

    # The state of what a request is about
    INVALID_PAYLOAD = "INVALID_PAYLOAD"
    RESERVED_KIND = "RESERVED_KIND"
    ORGANISATION_UNKNOWN = "ORGANISATION_UNKNOWN"
    CHAIN_EXISTS = "CHAIN_EXISTS"
    CHAIN_CLOSED = "CHAIN_CLOSED"
    SESSION_ENDED = "SESSION_ENDED"
    PROCESSING_PENDING = "PROCESSING_PENDING"
    SEQUENCE_MISMATCH = "SEQUENCE_MISMATCH"
    LINK_EXPIRED = "LINK_EXPIRED"
    LINK_REVOKED = "LINK_REVOKED"
    CLIP_NOT_PRESERVED = "CLIP_NOT_PRESERVED"
    CLIP_DISPOSED = "CLIP_DISPOSED"
    CLIP_HELD = "CLIP_HELD"
    CLIP_ARCHIVED = "CLIP_ARCHIVED"
    CLIP_LOCKED = "CLIP_LOCKED"
    RECORDINGS_NOT_CONFIGURED = "RECORDINGS_NOT_CONFIGURED"
    RECORDING_NOT_COMPLETED = "RECORDING_NOT_COMPLETED"
    RECORDING_DISPOSED = "RECORDING_DISPOSED"
    RECORDING_HELD = "RECORDING_HELD"
    CONSENT_MISSING = "CONSENT_MISSING"
    ROOM_BUSY = "ROOM_BUSY"
    TOO_MANY_PARTICIPANTS = "TOO_MANY_PARTICIPANTS"
    ANNOTATIONS_LATE = "ANNOTATIONS_LATE"
    LIVEKIT_REFUSED = "LIVEKIT_REFUSED"

    # Repeating a request
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    IDEMPOTENCY_IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"
    IDEMPOTENCY_ANSWER_WITHHELD = "IDEMPOTENCY_ANSWER_WITHHELD"

    # The services behind the gateway
    OVERLOADED = "OVERLOADED"
    CLOCK_WENT_BACK = "CLOCK_WENT_BACK"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    STORED_MISMATCH = "STORED_MISMATCH"


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
        Code.WEBHOOKS_NOT_CONFIGURED: HTTPStatus.NOT_IMPLEMENTED,
        Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
        Code.INVALID_PAYLOAD: HTTPStatus.BAD_REQUEST,
        Code.RESERVED_KIND: HTTPStatus.BAD_REQUEST,
        Code.ORGANISATION_UNKNOWN: HTTPStatus.FORBIDDEN,
        Code.CHAIN_EXISTS: HTTPStatus.CONFLICT,
        Code.CHAIN_CLOSED: HTTPStatus.CONFLICT,
        Code.SESSION_ENDED: HTTPStatus.CONFLICT,
        Code.PROCESSING_PENDING: HTTPStatus.CONFLICT,
        Code.SEQUENCE_MISMATCH: HTTPStatus.CONFLICT,
        Code.LINK_EXPIRED: HTTPStatus.GONE,
        Code.LINK_REVOKED: HTTPStatus.GONE,
        Code.CLIP_NOT_PRESERVED: HTTPStatus.CONFLICT,
        Code.CLIP_DISPOSED: HTTPStatus.GONE,
        Code.CLIP_HELD: HTTPStatus.CONFLICT,
        Code.CLIP_ARCHIVED: HTTPStatus.CONFLICT,
        Code.CLIP_LOCKED: HTTPStatus.CONFLICT,
        Code.RECORDINGS_NOT_CONFIGURED: HTTPStatus.CONFLICT,
        Code.RECORDING_NOT_COMPLETED: HTTPStatus.CONFLICT,
        Code.RECORDING_DISPOSED: HTTPStatus.GONE,
        Code.RECORDING_HELD: HTTPStatus.CONFLICT,
        Code.CONSENT_MISSING: HTTPStatus.CONFLICT,
        Code.ROOM_BUSY: HTTPStatus.CONFLICT,
        Code.TOO_MANY_PARTICIPANTS: HTTPStatus.CONFLICT,
        Code.ANNOTATIONS_LATE: HTTPStatus.CONFLICT,
        Code.LIVEKIT_REFUSED: HTTPStatus.CONFLICT,
        Code.IDEMPOTENCY_CONFLICT: HTTPStatus.UNPROCESSABLE_ENTITY,
        Code.IDEMPOTENCY_IN_PROGRESS: HTTPStatus.CONFLICT,
        Code.IDEMPOTENCY_ANSWER_WITHHELD: HTTPStatus.CONFLICT,
        Code.OVERLOADED: HTTPStatus.SERVICE_UNAVAILABLE,
        Code.CLOCK_WENT_BACK: HTTPStatus.SERVICE_UNAVAILABLE,
        Code.SERVICE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
        Code.STORED_MISMATCH: HTTPStatus.BAD_GATEWAY,
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
