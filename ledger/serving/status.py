"""How refusals travel: a gRPC status code, a sentence, and google.rpc details for programs."""

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types
from grpc_status import rpc_status

from ledger.refusals import RefusedError

ERROR_DOMAIN = "indelible"
MAX_MESSAGE_CHARACTERS = 1_000  # of a status message: it travels in a header, and some callers show it whole


def code_number(code: grpc.StatusCode) -> int:
    """The google.rpc.Code of a status."""
    return int(code_pb2.Code.Value(code.name))


def rich_status(error: RefusedError, code: grpc.StatusCode, request_id: str) -> grpc.Status:
    """The status of a refused call: ErrorInfo, BadRequest when a field is at fault, and the request's id."""
    details = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=error.metadata),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    if "field" in error.metadata and code is grpc.StatusCode.INVALID_ARGUMENT:
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
        status_pb2.Status(code=code_number(code), message=error.message[:MAX_MESSAGE_CHARACTERS], details=packed)
    )
