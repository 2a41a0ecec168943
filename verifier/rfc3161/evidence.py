"""What one piece of revocation evidence says about one certificate."""

from dataclasses import dataclass
from datetime import datetime

from verifier.rfc3161 import der
from verifier.rfc3161.algorithms import AlgorithmId, NotAllowedError, read_scheme, verify_signature
from verifier.rfc3161.certificate import Certificate

# CRLReason (RFC 5280, 5.3.1) of a key that fell into other hands; `None` stands for no reason given.
_COMPROMISES = frozenset({None, 1, 2, 10})
REMOVED_FROM_CRL = 8


class UnusableError(ValueError):
    """A piece of evidence that proves nothing; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawal:
    """A certificate was revoked: from when on, and for what reason (CRLReason, or None when not given)."""

    since: datetime
    reason: int | None

    def voids(self, time: datetime) -> bool:
        """Whether what was signed at `time` is void (RFC 3161, 4)."""
        return self.reason in _COMPROMISES or time >= self.since


@dataclass(frozen=True, kw_only=True, slots=True)
class Clean:
    """A certificate is not listed as revoked in a piece of evidence about the period given.

    `covers_expired_since` is the earliest expiry for which the evidence still lists expired certificates, if stated.
    """

    this_update: datetime
    next_update: datetime | None
    covers_expired_since: datetime | None = None

    def covers(self, time: datetime, certificate: Certificate) -> bool:
        """Whether this shows that `certificate` was good at `time`."""
        if self.this_update <= time:
            return self.next_update is not None and time <= self.next_update
        # Expired certificates are dropped from lists, so later evidence says nothing about them unless it says so.
        if self.this_update <= certificate.not_after:
            return True
        return self.covers_expired_since is not None and self.covers_expired_since <= certificate.not_after


def check_evidence_signature(key: der.Node, algorithm: AlgorithmId, signature: bytes, signed_part: bytes) -> None:
    """Whether `key` signed a piece of evidence; raises UnusableError."""
    try:
        scheme = read_scheme(algorithm)
        good = scheme.hash_name != "sha1" and verify_signature(key, scheme, signature, signed_part)
    except (NotAllowedError, der.DerError) as error:
        raise UnusableError(str(error)) from error
    if not good:
        raise UnusableError("its signature is not good, or is made with SHA-1")
