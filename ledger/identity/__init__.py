"""Who is calling: bearer tokens and the keys they are checked with, for every service of the product."""

from ledger.identity.blocking import BlockingIdentity
from ledger.identity.keys import KeyFile, KeySource, open_keys
from ledger.identity.opening import Identity
from ledger.identity.tokens import Authenticator, Caller, UnauthenticatedError, require_scope

__all__ = [
    "Authenticator",
    "BlockingIdentity",
    "Caller",
    "Identity",
    "KeyFile",
    "KeySource",
    "UnauthenticatedError",
    "open_keys",
    "require_scope",
]
