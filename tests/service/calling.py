"""Calling the service by method name, as a test that enumerates the contract does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import message_factory
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # it ships no types
from grpc_status import rpc_status
from indelible.ledger.v1 import ledger_pb2

from ledger.service.handlers import SERVICE

CONTRACT = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"]
METHODS = [method.name for method in CONTRACT.methods]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    fields: list[str]
    request_id: str


def call(address: str, method: str, request: Any, headers: Any = ()) -> list[Any] | Refusal:
    """The answers to one request (bytes go as they are), or the refusal."""
    with grpc.insecure_channel(address) as channel:
        return call_on(channel, method, request, headers)


def call_on(channel: grpc.Channel, method: str, request: Any, headers: Any = ()) -> list[Any] | Refusal:
    described = CONTRACT.methods_by_name[method]
    data = request if isinstance(request, bytes) else request.SerializeToString()
    read = message_factory.GetMessageClass(described.output_type).FromString
    path = f"/{SERVICE}/{method}"
    try:
        if described.client_streaming:
            requests: Iterator[bytes] = iter([data])
            return list(channel.stream_stream(path, bytes, read)(requests, timeout=60, metadata=headers))
        if described.server_streaming:
            return list(channel.unary_stream(path, bytes, read)(data, timeout=60, metadata=headers))
        return [channel.unary_unary(path, bytes, read)(data, timeout=60, metadata=headers)]
    except grpc.RpcError as error:
        return refusal_of(error)


# Methods that answer each append by itself.
JOINT = frozenset({"AppendEventStream", "BatchAppendEvents"})


def request_of(method: str, **fields: Any) -> Any:
    """A request for `method` with those of `fields` it has."""
    if method == "AppendEventStream":
        return ledger_pb2.AppendEventStreamRequest(append=request_of("AppendEvents", **fields))
    if method == "BatchAppendEvents":
        return ledger_pb2.BatchAppendEventsRequest(requests=[request_of("AppendEvents", **fields)])
    described = CONTRACT.methods_by_name[method].input_type
    known = {name: value for name, value in fields.items() if name in described.fields_by_name}
    return message_factory.GetMessageClass(described)(**known)


def refusal_of(error: Any) -> Refusal:
    info, fields, request_id = error_details_pb2.ErrorInfo(), [], ""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
            assert info.domain == "indelible"
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            fields = [violation.field for violation in bad.field_violations]
        elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
            request_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id
    return Refusal(
        code=error.code(),
        message=error.details(),
        reason=info.reason,
        metadata=dict(info.metadata),
        fields=fields,
        request_id=request_id,
    )


def refused(answer: list[Any] | Refusal) -> Refusal:
    assert isinstance(answer, Refusal), f"expected a refusal, got {answer}"
    return answer


def refused_append(answer: list[Any] | Refusal) -> ledger_pb2.AppendError:
    """Why the one append of a stream or a batch was refused, where the call itself was not."""
    assert isinstance(answer, list), f"expected an answer, got {answer}"
    outcome = answer[0].outcomes[0] if isinstance(answer[0], ledger_pb2.BatchAppendEventsResponse) else answer[0]
    assert outcome.HasField("error"), f"expected a refusal, got {outcome}"
    error: ledger_pb2.AppendError = outcome.error
    return error
