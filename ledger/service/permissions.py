"""Which scope each method needs. A method that is not in the table cannot be called: denied by default."""

from collections.abc import Mapping
from types import MappingProxyType

READ = "ledger:read"
APPEND = "ledger:append"
CLOSE = "ledger:close"
EXPORT = "ledger:export"
LINKS = "ledger:links"
# Besides EXPORT, to receive what sealed members say.
DISCLOSE = "ledger:disclose"
ERASE = "ledger:erase"

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
        "EraseDisclosures": ERASE,
    }
)
# Methods whose request carries its own permission.
PUBLIC_METHODS = frozenset({"ExportLinkedBundle"})
