"""Which scope each method needs. A method that is not in the table cannot be called: denied by default."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from indelible.ledger.v1 import ledger_pb2

from ledger.identity import Caller, require_scope

READ = "ledger:read"
APPEND = "ledger:append"
CLOSE = "ledger:close"
EXPORT = "ledger:export"
LINKS = "ledger:links"
# Besides EXPORT, to receive what sealed members say.
DISCLOSE = "ledger:disclose"
ERASE = "ledger:erase"
# Besides APPEND, for the kinds below: what the evidence service says must not be anybody else's word.
EVIDENCE = "ledger:evidence"
EVIDENCE_KINDS = ("clip.", "consent.", "hold.", "recording.", "retention.")
# The same for what the gateway says of who was given access.
DECISIONS = "ledger:decisions"
DECISION_KINDS = ("access.",)

METHOD_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "OpenChain": CLOSE,
        "AppendEvents": APPEND,
        "AppendEventStream": APPEND,
        "BatchAppendEvents": APPEND,
        "CheckpointChain": CLOSE,
        "EndSession": CLOSE,
        "CloseChain": CLOSE,
        "GetChain": READ,
        "ListChains": READ,
        "ListEvents": READ,
        "StreamEvents": READ,
        "ListAnchors": READ,
        "CheckChain": READ,
        "ExportBundle": EXPORT,
        "CreateVerifyLink": LINKS,
        "RevokeVerifyLink": LINKS,
        "EraseDisclosures": ERASE,
    }
)
# Methods whose request carries its own permission.
PUBLIC_METHODS = frozenset({"ExportLinkedBundle"})


def require_kinds(caller: Caller, events: Iterable[ledger_pb2.NewEvent]) -> None:
    """Raises LedgerError (PERMISSION_DENIED) for kinds that need a scope the caller's token lacks."""
    for event in events:
        if event.kind.startswith(EVIDENCE_KINDS):
            require_scope(caller, EVIDENCE)
        if event.kind.startswith(DECISION_KINDS):
            require_scope(caller, DECISIONS)
