"""Why the evidence service refused something: a reason for programs, a sentence for people, and what it is about."""

from collections.abc import Mapping
from enum import StrEnum

from ledger.refusals import RefusedError


class Reason(StrEnum):
    """Machine-readable reasons. They are part of the interface: never renamed, never reused."""

    # The request
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    CLIP_NOT_FOUND = "CLIP_NOT_FOUND"
    HOLD_NOT_FOUND = "HOLD_NOT_FOUND"
    ARTEFACT_NOT_FOUND = "ARTEFACT_NOT_FOUND"
    CHAIN_NOT_FOUND = "CHAIN_NOT_FOUND"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"

    # The state of a clip
    CLIP_NOT_PRESERVED = "CLIP_NOT_PRESERVED"
    CLIP_DISPOSED = "CLIP_DISPOSED"
    CLIP_HELD = "CLIP_HELD"
    CLIP_ARCHIVED = "CLIP_ARCHIVED"
    CLIP_LOCKED = "CLIP_LOCKED"

    # Recordings
    RECORDINGS_NOT_CONFIGURED = "RECORDINGS_NOT_CONFIGURED"
    RECORDING_NOT_FOUND = "RECORDING_NOT_FOUND"
    RECORDING_NOT_COMPLETED = "RECORDING_NOT_COMPLETED"
    RECORDING_DISPOSED = "RECORDING_DISPOSED"
    RECORDING_HELD = "RECORDING_HELD"
    ROOM_NOT_FOUND = "ROOM_NOT_FOUND"
    ROOM_BUSY = "ROOM_BUSY"
    SESSION_ENDED = "SESSION_ENDED"
    CONSENT_MISSING = "CONSENT_MISSING"
    TOO_MANY_PARTICIPANTS = "TOO_MANY_PARTICIPANTS"
    ANNOTATIONS_LATE = "ANNOTATIONS_LATE"
    LIVEKIT_REFUSED = "LIVEKIT_REFUSED"
    LIVEKIT_UNAVAILABLE = "LIVEKIT_UNAVAILABLE"
    WEBHOOK_REFUSED = "WEBHOOK_REFUSED"

    # The footage
    NO_FOOTAGE = "NO_FOOTAGE"
    FOOTAGE_UNAVAILABLE = "FOOTAGE_UNAVAILABLE"
    FOOTAGE_UNREADABLE = "FOOTAGE_UNREADABLE"
    NO_VIDEO = "NO_VIDEO"
    FOOTAGE_EMPTY = "FOOTAGE_EMPTY"
    FOOTAGE_TRUNCATED = "FOOTAGE_TRUNCATED"
    UNSUPPORTED_CODEC = "UNSUPPORTED_CODEC"
    OUTSIDE_FOOTAGE = "OUTSIDE_FOOTAGE"
    TOO_LARGE = "TOO_LARGE"
    TOO_SLOW = "TOO_SLOW"
    CRASHED = "CRASHED"
    DERIVATIVE_WRONG = "DERIVATIVE_WRONG"
    RAW_MISSING = "RAW_MISSING"
    RAW_CHANGED = "RAW_CHANGED"
    NOTHING_RECORDED = "NOTHING_RECORDED"

    # The store and the services around
    STORED_MISMATCH = "STORED_MISMATCH"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    LEDGER_UNAVAILABLE = "LEDGER_UNAVAILABLE"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    OVERLOADED = "OVERLOADED"
    INTERNAL = "INTERNAL"


class MediaError(RefusedError):
    """A request that was not carried out, or a clip that could not be preserved."""

    def __init__(self, reason: Reason, message: str, metadata: Mapping[str, str] | None = None) -> None:
        """`metadata` says what it is about: `field` (a path), `clip_id`, `covers_from` and the like."""
        super().__init__(reason, message, metadata)
        self.reason: Reason = reason
