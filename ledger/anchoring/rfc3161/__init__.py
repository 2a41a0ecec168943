"""The backend for RFC 3161 time-stamp authorities: ask over HTTP, verify in full, collect what proves it later."""

from ledger.anchoring.rfc3161.authority import TimestampAuthority
from ledger.anchoring.rfc3161.configuration import BACKEND, AuthorityConfiguration, BasicAuth

__all__ = ["BACKEND", "AuthorityConfiguration", "BasicAuth", "TimestampAuthority"]
