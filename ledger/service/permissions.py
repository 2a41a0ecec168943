"""Which scope each method needs. A method that is not in the table cannot be called: denied by default."""

from collections.abc import Mapping
from types import MappingProxyType

from ledger.errors import LedgerError, Reason
from ledger.service.auth import Caller

READ = "ledger:read"
APPEND = "ledger:append"
CLOSE = "ledger:close"
EXPORT = "ledger:export"
LINKS = "ledger:links"
# Besides EXPORT, to receive what sealed members say.
DISCLOSE = "ledger:disclose"

METHOD_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "OpenChain": CLOSE,
        "AppendEvents": APPEND,
        "AppendEventStream": APPEND,
        "CheckpointChain": CLOSE,
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
    }
)
# Methods whose request carries its own permission.
PUBLIC_METHODS = frozenset({"ExportLinkedBundle"})


def require_scope(caller: Caller, scope: str) -> None:
    """Raises LedgerError (PERMISSION_DENIED) unless the caller's token carries `scope`."""
    if scope not in caller.scopes:
        raise LedgerError(
            Reason.PERMISSION_DENIED, f"This token does not permit that: it lacks the scope {scope}.", {"scope": scope}
        )
