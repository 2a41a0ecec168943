"""How the ledger's refusals travel: the gRPC status of each reason, and what is told of an unexpected error."""

from collections.abc import Mapping
from types import MappingProxyType

import grpc
from indelible.ledger.v1 import ledger_pb2

from ledger.errors import LedgerError, Reason
from ledger.serving.status import MAX_MESSAGE_CHARACTERS, code_number

# RESOURCE_EXHAUSTED, UNAVAILABLE and ABORTED tell clients to try again, so only passing troubles have them.
CODES: Mapping[str, grpc.StatusCode] = MappingProxyType(
    {
        Reason.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_PAYLOAD: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.RESERVED_KIND: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.ORGANISATION_UNKNOWN: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CHAIN_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.CHAIN_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        Reason.CHAIN_CLOSED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.SESSION_ENDED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.PROCESSING_PENDING: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.SEQUENCE_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.IDEMPOTENCY_CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
        Reason.CLOCK_WENT_BACK: grpc.StatusCode.UNAVAILABLE,
        Reason.LINK_UNKNOWN: grpc.StatusCode.NOT_FOUND,
        Reason.LINK_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.LINK_REVOKED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
        Reason.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
        Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.DATABASE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    }
)


def as_refusal(error: BaseException) -> LedgerError:
    """What a caller is told of `error`: of an unexpected one, nothing but that it happened."""
    if isinstance(error, LedgerError):
        return error
    if isinstance(error, TimeoutError):
        return LedgerError(
            Reason.DATABASE_UNAVAILABLE,
            "The database did not answer in time. Try again; an append repeated with its idempotency key is safe.",
        )
    return LedgerError(Reason.INTERNAL, "The ledger failed to carry this out; its log has the details.")


def append_error(error: LedgerError) -> ledger_pb2.AppendError:
    """What one refused append of a stream is told."""
    return ledger_pb2.AppendError(
        code=code_number(CODES[error.reason]),
        message=error.message[:MAX_MESSAGE_CHARACTERS],
        reason=error.reason,
        metadata=error.metadata,
    )
