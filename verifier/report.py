"""The verification report (`docs/spec/report.md`): what was checked, what was found, and the verdict."""

from dataclasses import dataclass
from typing import Any, Literal

from verifier.event import format_time
from verifier.findings import Finding
from verifier.session import Coverage, SessionEnd, Unfinished

Verdict = Literal["VERIFIED", "FAILED", "INDETERMINATE"]
TokenStatus = Literal["valid", "invalid", "pending", "unconfirmed", "untrusted"]

EXIT_CODES: dict[Verdict, int] = {"VERIFIED": 0, "FAILED": 1, "INDETERMINATE": 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was checked. `ok` is None when it could not be carried out."""

    name: str
    ok: bool | None
    proves: str
    """What it means that this holds, for a reader who knows nothing of hashes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenReport:
    """What became of one anchor. `time` is RFC 3339 in UTC, `time_accuracy` microseconds."""

    ok: bool
    status: TokenStatus
    backend: str
    authority: str
    sequence: int
    time: str | None = None
    time_accuracy: int | None = None
    qualified: str = "UNKNOWN"
    findings: tuple[Finding, ...] = ()
    revocation: str = "NO-EVIDENCE"
    signer: str = ""
    policy: str | None = None
    serial_number: str | None = None
    block: str | None = None
    """Public ledgers: the block that the token leads to, by its hash or height."""
    root: str = ""
    """What the trust in the token rests on: SHA-256 of the root certificate its signer was traced to, or the name of a
    public ledger; "" where the token is not ok."""
    covers: Coverage = "part"
    """How much of the chain the event that it vouches for commits to."""
    signer_key: str = ""
    """SHA-256 of the key that signed the token, or the name of a public ledger; "" where the token is not ok."""

    def to_json(self) -> dict[str, Any]:
        """Return the token's entry in the report."""
        return {
            "ok": self.ok,
            "status": self.status,
            "backend": self.backend,
            "authority": self.authority,
            "sequence": self.sequence,
            "covers": self.covers,
            "time": self.time,
            "time_accuracy": self.time_accuracy,
            "qualified": self.qualified,
            "revocation": self.revocation,
            "signer": self.signer,
            "policy": self.policy,
            "serial_number": self.serial_number,
            "block": self.block,
            "findings": [_finding(finding) for finding in self.findings],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The whole result of verifying one bundle."""

    verdict: Verdict
    chain_ok: bool
    first_divergent_sequence: int | None
    checks: tuple[Check, ...]
    tokens: tuple[TokenReport, ...]
    event_count: int
    """Events in the bundle, good or not."""
    intact_events: int
    """Events from the first on that are good; nothing after them is vouched for."""
    expected_event_count: int | None
    head: str
    organisation_id: str
    organisation_name: str
    chain_id: str
    chain_type: str
    closed: bool
    session_end: SessionEnd | None
    """Where the session ended, if the chain says so."""
    unfinished: tuple[Unfinished, ...]
    """Recordings and clips that an ended session left unfinished, or still waits for."""
    covered_events: int
    """Events from the first on that the required independent anchors vouch for."""
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as `docs/spec/report.md` describes it."""
        return {
            "verdict": self.verdict,
            "chain_integrity": {
                "ok": self.chain_ok,
                "first_divergent_sequence": self.first_divergent_sequence,
                "checks": [{"check": check.name, "ok": check.ok, "proves": check.proves} for check in self.checks],
            },
            "tokens": [token.to_json() for token in self.tokens],
            "event_count": self.event_count,
            "intact_events": self.intact_events,
            "expected_event_count": self.expected_event_count,
            "covered_events": self.covered_events,
            "head": self.head,
            "issuing_org_name": self.organisation_name,
            "issuing_org_id": self.organisation_id,
            "chain_id": self.chain_id,
            "chain_type": self.chain_type,
            "closed": self.closed,
            "session_end": None if self.session_end is None else self._ending(self.session_end),
            "findings": [_finding(finding) for finding in self.findings],
        }

    def _ending(self, end: SessionEnd) -> dict[str, Any]:
        return {
            "sequence": end.sequence,
            "closes_by": format_time(end.closes_by),
            "unfinished": [
                {"type": item.type, "item_id": item.item_id, "since_sequence": item.since_sequence}
                for item in self.unfinished
            ],
        }


def _finding(finding: Finding) -> dict[str, str]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "where": finding.where,
        "message": finding.message,
    }
