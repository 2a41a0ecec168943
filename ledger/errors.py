"""Why the ledger refused something: a reason for programs, a sentence for people, and what it is about."""

from collections.abc import Mapping
from enum import StrEnum

from ledger.refusals import RefusedError


class Reason(StrEnum):
    """Machine-readable reasons. They are part of the interface: never renamed, never reused."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    INVALID_PAYLOAD = "INVALID_PAYLOAD"
    RESERVED_KIND = "RESERVED_KIND"
    TOO_LARGE = "TOO_LARGE"
    ORGANISATION_UNKNOWN = "ORGANISATION_UNKNOWN"
    CHAIN_NOT_FOUND = "CHAIN_NOT_FOUND"
    CHAIN_EXISTS = "CHAIN_EXISTS"
    CHAIN_CLOSED = "CHAIN_CLOSED"
    SESSION_ENDED = "SESSION_ENDED"
    PROCESSING_PENDING = "PROCESSING_PENDING"
    SEQUENCE_MISMATCH = "SEQUENCE_MISMATCH"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    CLOCK_WENT_BACK = "CLOCK_WENT_BACK"
    LINK_UNKNOWN = "LINK_UNKNOWN"
    LINK_EXPIRED = "LINK_EXPIRED"
    LINK_REVOKED = "LINK_REVOKED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    OVERLOADED = "OVERLOADED"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    INTERNAL = "INTERNAL"


class LedgerError(RefusedError):
    """A request the ledger did not carry out. Nothing of it was written, unless the reason is DATABASE_UNAVAILABLE:
    then it may have been, and repeating it with the same idempotency key is safe and tells.
    """  # noqa: D205 - the exception to the rule belongs in the first sentence

    def __init__(self, reason: Reason, message: str, metadata: Mapping[str, str] | None = None) -> None:
        """`metadata` says what it is about: `field` (a path), `chain_id`, `actual_sequence` and the like."""
        super().__init__(reason, message, metadata)
        self.reason: Reason = reason
