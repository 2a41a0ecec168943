"""How the evidence service's refusals travel: the gRPC status of each reason, and what an unexpected error tells."""

from collections.abc import Mapping
from types import MappingProxyType

import grpc

from ledger.refusals import RefusedError
from media.errors import MediaError, Reason

# RESOURCE_EXHAUSTED, UNAVAILABLE and ABORTED tell clients to try again, so only passing troubles have them.
CODES: Mapping[str, grpc.StatusCode] = MappingProxyType(
    {
        Reason.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.SOURCE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.CLIP_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.HOLD_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.ARTEFACT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.CHAIN_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.IDEMPOTENCY_CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
        Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
        Reason.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
        Reason.CLIP_NOT_PRESERVED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CLIP_DISPOSED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CLIP_HELD: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CLIP_ARCHIVED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CLIP_LOCKED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.RECORDINGS_NOT_CONFIGURED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.RECORDING_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.RECORDING_NOT_COMPLETED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.RECORDING_DISPOSED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.RECORDING_HELD: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.ROOM_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.ROOM_BUSY: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.SESSION_ENDED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CONSENT_MISSING: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.TOO_MANY_PARTICIPANTS: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.ANNOTATIONS_LATE: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.LIVEKIT_REFUSED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.LIVEKIT_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Reason.WEBHOOK_REFUSED: grpc.StatusCode.PERMISSION_DENIED,
        Reason.NO_FOOTAGE: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.FOOTAGE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Reason.FOOTAGE_UNREADABLE: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.NO_VIDEO: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.FOOTAGE_EMPTY: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.FOOTAGE_TRUNCATED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.UNSUPPORTED_CODEC: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.OUTSIDE_FOOTAGE: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.TOO_LARGE: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.TOO_SLOW: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CRASHED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.DERIVATIVE_WRONG: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.RAW_MISSING: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.RAW_CHANGED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.NOTHING_RECORDED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.STORED_MISMATCH: grpc.StatusCode.DATA_LOSS,
        Reason.STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Reason.LEDGER_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Reason.DATABASE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    }
)


def as_refusal(error: BaseException) -> RefusedError:
    """What a caller is told of `error`: of an unexpected one, nothing but that it happened."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, TimeoutError):
        return MediaError(Reason.OVERLOADED, "This took too long. Try again; repeating it is safe.")
    return MediaError(Reason.INTERNAL, "The evidence service failed to carry this out; its log has the details.")
