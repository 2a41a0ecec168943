"""The table of a service's methods: each RPC of the contract and what carries it out."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from ledger.serving.calls import MALFORMED


def method_table(contract: ServiceDescriptor, handlers: Mapping[str, Any]) -> grpc.GenericRpcHandler:
    """The whole service. Raises KeyError when a method of the contract has no handler."""
    methods = {method.name: _rpc(method, handlers[method.name]) for method in contract.methods}
    return grpc.method_handlers_generic_handler(contract.full_name, methods)


def _rpc(method: MethodDescriptor, handler: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    """The handler with its messages. They are read here, so that nonsense gets a clear refusal of ours."""
    request_type = message_factory.GetMessageClass(method.input_type)
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[method.client_streaming, method.server_streaming]
    return make(
        handler,
        request_deserializer=_parser(request_type),
        response_serializer=lambda message: message.SerializeToString(),
    )


def _parser(request_type: type[Message]) -> Callable[[bytes], object]:
    parse = request_type.FromString

    def read(data: bytes) -> object:
        try:
            return parse(data)
        except DecodeError:
            return MALFORMED

    return read
