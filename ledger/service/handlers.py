"""The table of the service's methods: each RPC of the contract and what carries it out."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from indelible.ledger.v1 import ledger_pb2

from ledger.service.appends import Appends
from ledger.service.bundles import Bundles
from ledger.service.calls import MALFORMED, MAX_CHECK_SECONDS, SERVICE, CallGuard
from ledger.service.chains import Chains
from ledger.store import LedgerStore
from ledger.telemetry import Metrics
from ledger.verify_links import LinkKeys


def make_handler(  # noqa: PLR0913 - everything the handlers work with
    *,
    store: LedgerStore,
    link_keys: LinkKeys,
    public_url: str,
    guard: CallGuard,
    metrics: Metrics,
    stopping: asyncio.Event,
) -> grpc.GenericRpcHandler:
    """The whole service. Raises KeyError when a method of the contract has no handler or no scope."""
    chains = Chains(store, stopping)
    appends = Appends(store, metrics, stopping)
    bundles = Bundles(store, link_keys, public_url, metrics)
    handlers = {
        "OpenChain": guard.unary("OpenChain", chains.open_chain),
        # The store's own time limits end an append; a timer for each would cost more than the permission check.
        "AppendEvents": guard.unary("AppendEvents", appends.append_events, seconds=None),
        "AppendEventStream": guard.stream("AppendEventStream", appends.append_event_stream),
        "CheckpointChain": guard.unary("CheckpointChain", chains.checkpoint_chain),
        "CloseChain": guard.unary("CloseChain", chains.close_chain),
        "GetChain": guard.unary("GetChain", chains.get_chain),
        "ListChains": guard.unary("ListChains", chains.list_chains),
        "ListEvents": guard.unary("ListEvents", chains.list_events),
        "StreamEvents": guard.stream("StreamEvents", chains.stream_events),
        "ListAnchors": guard.unary("ListAnchors", chains.list_anchors),
        "ExportBundle": guard.stream("ExportBundle", bundles.export_bundle),
        "CheckChain": guard.unary("CheckChain", chains.check_chain, MAX_CHECK_SECONDS),
        "CreateVerifyLink": guard.unary("CreateVerifyLink", bundles.create_verify_link),
        "RevokeVerifyLink": guard.unary("RevokeVerifyLink", bundles.revoke_verify_link),
        "ExportLinkedBundle": guard.public_stream("ExportLinkedBundle", bundles.export_linked_bundle),
    }
    contract = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"]
    methods = {method.name: _rpc(method, handlers[method.name]) for method in contract.methods}
    return grpc.method_handlers_generic_handler(SERVICE, methods)


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
