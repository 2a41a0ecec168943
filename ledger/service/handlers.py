"""The table of the service's methods: each RPC of the contract and what carries it out."""

import asyncio

import grpc
from indelible.ledger.v1 import ledger_pb2

from ledger.service.appends import Appends
from ledger.service.bundles import Bundles
from ledger.service.chains import MAX_CHECK_SECONDS, Chains
from ledger.service.errors import CODES, as_refusal
from ledger.service.permissions import METHOD_SCOPES, PUBLIC_METHODS
from ledger.serving.calls import CallGuard, Interface
from ledger.serving.methods import method_table
from ledger.store import LedgerStore
from ledger.telemetry import Metrics
from ledger.verify_links import LinkKeys

SERVICE = "indelible.ledger.v1.LedgerService"

INTERFACE = Interface(
    service=SERVICE,
    scopes=METHOD_SCOPES,
    public=PUBLIC_METHODS,
    # Every append is counted, none is logged: at full load the log would cost more than the appends.
    quiet=frozenset({"AppendEvents", "AppendEventStream", "BatchAppendEvents"}),
    codes=CODES,
    as_refusal=as_refusal,
)


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
        "BatchAppendEvents": guard.unary("BatchAppendEvents", appends.batch_append_events, seconds=None),
        "CheckpointChain": guard.unary("CheckpointChain", chains.checkpoint_chain),
        "EndSession": guard.unary("EndSession", chains.end_session),
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
        "EraseDisclosures": guard.unary("EraseDisclosures", chains.erase_disclosures),
        "ExportLinkedBundle": guard.public_stream("ExportLinkedBundle", bundles.export_linked_bundle),
    }
    contract = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"]
    return method_table(contract, handlers)
