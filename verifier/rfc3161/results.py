"""The values that go into and come out of the verification of one time-stamp token."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from verifier.findings import Finding
from verifier.rfc3161.codes import Check

TokenStatus = Literal["valid", "invalid", "untrusted"]
RevocationStatus = Literal["GOOD-AT-GENTIME", "NO-EVIDENCE", "REVOKED"]
QualifiedStatus = Literal["QUALIFIED", "NOT-QUALIFIED", "UNKNOWN"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TimestampTrust:
    """What the verifier's user trusts for one time-stamping authority.

    `roots` (DER) are the only trust anchors; `intermediates` (DER) merely help to build a path. An empty
    `policies` allows every TSA policy. `valid_from` and `valid_to` (aware, both ends included) bound the times that
    these roots may vouch for; they are consulted only for the root that the signer's path really ends at. Raises
    ValueError when one of them has no time zone.
    """

    roots: tuple[bytes, ...]
    intermediates: tuple[bytes, ...] = ()
    policies: frozenset[str] = frozenset()
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    def __post_init__(self) -> None:
        for instant in (self.valid_from, self.valid_to):
            if instant is not None and instant.tzinfo is None:
                raise ValueError("the period of a trusted root needs a time zone")


@dataclass(frozen=True, kw_only=True, slots=True)
class RevocationEvidence:
    """CRLs and OCSP responses (DER) found beside a token: hints, believed only once their signatures check."""

    crls: tuple[bytes, ...] = ()
    ocsp_responses: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenResult:
    """What became of one token.

    `status` is "invalid" when something is provably wrong, "untrusted" when nothing is wrong but no configured root
    was reached, "valid" otherwise; `ok` says the same as "valid". `time` is the token's genTime (aware, UTC) and
    `accuracy_microseconds` None when the token states none. `certificate_path` is DER, signer first, trusted root
    last, empty when none was built. `completed` lists the checks that ran to their end.
    """

    ok: bool
    status: TokenStatus
    time: datetime | None
    accuracy_microseconds: int | None
    policy: str | None
    serial_number: int | None
    signer: str
    revocation: RevocationStatus
    qualified: QualifiedStatus
    findings: tuple[Finding, ...]
    certificate_path: tuple[bytes, ...]
    completed: tuple[Check, ...] = ()
