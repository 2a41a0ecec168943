"""Strict, offline verification of RFC 3161 time-stamp tokens.

Own implementation, written from RFC 3161, 5035, 5280, 5652, 5816 and 6960; only hashing and the public-key
operations are left to a library. `verify_token` is the way in; `docs/spec/rfc3161.md` is the specification.
"""

from verifier.rfc3161.certificate import load_certificates
from verifier.rfc3161.codes import Check
from verifier.rfc3161.results import RevocationEvidence, TimestampTrust, TokenResult
from verifier.rfc3161.verify import requested_imprint, stated_imprint, verify_token

__all__ = [
    "Check",
    "RevocationEvidence",
    "TimestampTrust",
    "TokenResult",
    "load_certificates",
    "requested_imprint",
    "stated_imprint",
    "verify_token",
]
