"""What a call to the ledger can fail with."""

from collections.abc import Mapping
from typing import cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # it ships no types
from grpc_status import rpc_status
from indelible.ledger.v1 import ledger_pb2

# The service could not be reached, or did not answer in time; `reason` of errors that carry none of the ledger's.
UNREACHABLE = "UNREACHABLE"

_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED})
# How gRPC itself names a connection that broke in the middle of a call. The ledger's own errors carry a reason.
_BROKEN = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED})
# By their numbers: google.rpc.Code.
_CODES = {int(code.value[0]): code for code in grpc.StatusCode}
# gRPC says it of a message that is too large, which no repetition makes smaller.
_OVERSIZE = "larger than max"


class ClientError(Exception):
    """A call that failed: `reason` for programs (those of the ledger, or UNREACHABLE), `message` for people.

    `metadata` says what it is about (`field`, `actual_sequence` and the like), `request_id` finds it in the service's
    log, `retryable` tells whether repeating the call may help, and `status` is the name of the gRPC status, for
    programs that meet a reason newer than they are.
    """

    def __init__(  # noqa: PLR0913 - a code of each of the two kinds, and what is known beside them
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
        retryable: bool = False,
        status: str = "UNKNOWN",
    ) -> None:
        super().__init__(f"{message} [{reason}]")
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.request_id = request_id
        self.retryable = retryable
        self.status = status

    @property
    def unreachable(self) -> bool:
        """Whether no answer of the ledger was received at all."""
        return self.reason == UNREACHABLE


def from_rpc_error(error: grpc.RpcError, name: str) -> ClientError:
    """The error a failed call to a service, called `name`, stands for; of asyncio's calls and of blocking ones."""
    code = error.code()
    details = error.details() or code.name
    reason, metadata, request_id = _read_details(error)
    retryable = code in _PASSING and _OVERSIZE not in details
    if reason:
        return ClientError(
            reason, details, metadata=metadata, request_id=request_id, retryable=retryable, status=code.name
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ClientError(UNREACHABLE, f"The {name} did not answer in time.", status=code.name)
    if code is grpc.StatusCode.UNAVAILABLE or code in _BROKEN:
        return ClientError(UNREACHABLE, f"The {name} cannot be reached: {details}", retryable=True, status=code.name)
    return ClientError(code.name, details, retryable=retryable, status=code.name)


def from_append_error(error: ledger_pb2.AppendError) -> ClientError:
    """The error that one append of several failed with."""
    code = _CODES.get(error.code, grpc.StatusCode.UNKNOWN)
    return ClientError(
        error.reason, error.message, metadata=error.metadata, retryable=code in _PASSING, status=code.name
    )


def _read_details(error: grpc.RpcError) -> tuple[str, dict[str, str], str]:
    """Reason, metadata and request id from google.rpc details; a foreign server's nonsense counts as none."""
    reason, metadata, request_id = "", {}, ""
    try:
        status = rpc_status.from_call(cast(grpc.Call, error))  # it has the methods that are used
        for detail in status.details if status else ():
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                reason, metadata = info.reason, dict(info.metadata)
            elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
                request_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id
    except (ValueError, DecodeError):
        return "", {}, ""
    return reason, metadata, request_id
