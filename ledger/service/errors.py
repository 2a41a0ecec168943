"""How refusals travel: a gRPC status code, a sentence, and google.rpc details for programs."""

from collections.abc import Mapping
from types import MappingProxyType

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types
from grpc_status import rpc_status
from indelible.ledger.v1 import ledger_pb2

from ledger.errors import LedgerError, Reason

ERROR_DOMAIN = "indelible"
MAX_MESSAGE_CHARACTERS = 1_000  # of a status message: it travels in a header, and some callers show it whole

# RESOURCE_EXHAUSTED, UNAVAILABLE and ABORTED tell clients to try again, so only passing troubles have them.
CODES: Mapping[Reason, grpc.StatusCode] = MappingProxyType(
    {
        Reason.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_PAYLOAD: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.RESERVED_KIND: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.ORGANISATION_UNKNOWN: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CHAIN_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.CHAIN_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        Reason.CHAIN_CLOSED: grpc.StatusCode.FAILED_PRECONDITION,
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


def code_number(reason: Reason) -> int:
    """The google.rpc.Code of a reason."""
    return int(code_pb2.Code.Value(CODES[reason].name))


def rich_status(error: LedgerError, request_id: str) -> grpc.Status:
    """The status of a refused call: ErrorInfo, BadRequest when a field is at fault, and the request's id."""
    details = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=error.metadata),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    if "field" in error.metadata and CODES[error.reason] is grpc.StatusCode.INVALID_ARGUMENT:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.metadata["field"], description=error.message[:MAX_MESSAGE_CHARACTERS], reason=error.reason
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    packed = []
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        packed.append(wrapped)
    return rpc_status.to_status(
        status_pb2.Status(
            code=code_number(error.reason), message=error.message[:MAX_MESSAGE_CHARACTERS], details=packed
        )
    )


def append_error(error: LedgerError) -> ledger_pb2.AppendError:
    """What one refused append of a stream is told."""
    return ledger_pb2.AppendError(
        code=code_number(error.reason),
        message=error.message[:MAX_MESSAGE_CHARACTERS],
        reason=error.reason,
        metadata=error.metadata,
    )
