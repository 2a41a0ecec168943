"""Typed clients of the ledger service, for asyncio and for threads."""

from ledger.client.batcher import Appended, Batcher
from ledger.client.blocking import BlockingLedgerClient
from ledger.client.channel import ClientTls
from ledger.client.client import LedgerClient
from ledger.client.errors import UNREACHABLE, ClientError
from ledger.client.pipeline import AppendStream
from ledger.client.values import (
    Anchor,
    Chain,
    CheckResult,
    CreatedLink,
    Event,
    NewEvent,
    Payload,
    PendingItem,
    Receipt,
)

__all__ = [
    "UNREACHABLE",
    "Anchor",
    "AppendStream",
    "Appended",
    "Batcher",
    "BlockingLedgerClient",
    "Chain",
    "CheckResult",
    "ClientError",
    "ClientTls",
    "CreatedLink",
    "Event",
    "LedgerClient",
    "NewEvent",
    "Payload",
    "PendingItem",
    "Receipt",
]
