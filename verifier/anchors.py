"""The check of a bundle's anchors: what the outside world says about the chain's checkpoints."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from verifier.bundle import Bundle, read_limited
from verifier.evidence import Evidence
from verifier.findings import Finding, Severity
from verifier.ledger_tokens import opentimestamps_token, tezos_token
from verifier.opentimestamps import BitcoinTrust, check_proof
from verifier.opentimestamps.headers import block_hash
from verifier.policy import TrustPolicy
from verifier.report import TokenReport
from verifier.rfc3161 import TimestampTrust, verify_token
from verifier.rfc3161.certificate import read_certificate
from verifier.statement import OPENTIMESTAMPS, RFC3161, TEZOS, AnchorStatement, PendingAnchor
from verifier.tezos import Observer, TezosTrust, check_receipt
from verifier.tezos.receipt import UnusableReceiptError, parse_aggregation

ANCHORS = "data/anchors/"
MAX_ANCHOR_BYTES = 64 * 1024
"""The largest time-stamp a verifier parses."""

CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far a ledger's clock may run ahead of an authority's before it is worth a warning."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def check_anchor_files(bundle: Bundle, anchors: tuple[AnchorStatement, ...]) -> list[Finding]:
    """Every file under data/anchors belongs to exactly one anchor, and every anchor has its files."""
    named = [path for anchor in anchors for path in anchor.files.values()]
    present = {path for path in bundle.sizes if path.startswith(ANCHORS)}
    findings = [_error("anchor-file-unlisted", path, "belongs to no anchor") for path in sorted(present - set(named))]
    findings += [_error("anchor-file-missing", path, "is not there") for path in sorted(set(named) - present)]
    if len(set(named)) != len(named):
        findings.append(_error("anchor-file-unlisted", ANCHORS, "holds a file that belongs to two anchors"))
    return findings


def judge_anchor(  # noqa: PLR0913 - each is a separate piece of what an anchor is judged by
    anchor: AnchorStatement,
    *,
    bundle: Bundle,
    checkpoint: tuple[str, int] | None,
    policy: TrustPolicy,
    evidence: Evidence,
    observer: Observer | None = None,
) -> TokenReport:
    """Judge one anchor against `checkpoint`: hash and time of the intact checkpoint event at its sequence, if any.

    1. The chain has an intact checkpoint event there, and its hash is the digest that bundle.json names.
    2. The backend's own rules hold for its files over the hash *of the chain*.
    3. Somebody whom the user trusts for this authority vouches for it: a root for the signer, for a public ledger a
       block. `observer` is asked about blocks; with None nobody is.
    """
    where = f"{ANCHORS}{anchor.sequence}-{anchor.backend}-{anchor.authority}"
    findings: list[Finding] = []
    if checkpoint is None:
        text = f"The chain has no intact checkpoint at event {anchor.sequence}, so this anchor proves nothing."
        findings.append(Finding(code="anchor-event-missing", severity=Severity.ERROR, where=where, message=text))
    elif checkpoint[0] != anchor.digest:
        text = f"bundle.json says that {anchor.digest} was anchored, but event {anchor.sequence} has {checkpoint[0]}."
        findings.append(Finding(code="anchor-digest-mismatch", severity=Severity.ERROR, where=where, message=text))
    report = TokenReport(
        ok=False,
        status="invalid" if findings else "unconfirmed",
        backend=anchor.backend,
        authority=anchor.authority,
        sequence=anchor.sequence,
    )
    files = {role: read_limited(bundle, path, MAX_ANCHOR_BYTES) for role, path in anchor.files.items()}
    usable = {role: content for role, content in files.items() if content is not None}
    digest = bytes.fromhex(checkpoint[0] if checkpoint else anchor.digest)
    if anchor.backend not in _JUDGES:
        text = (
            f"This program cannot verify anchors of the kind {anchor.backend!r}, so this one counts for nothing here."
        )
        finding = Finding(code="anchor-backend-unsupported", severity=Severity.WARNING, where=where, message=text)
        return replace(report, findings=(*findings, finding))
    if usable.keys() != files.keys():
        findings.append(_error("anchor-file-unusable", where, "has a file that is missing, damaged or too large"))
        return replace(report, status="invalid", findings=tuple(findings))
    judged = _JUDGES[anchor.backend](anchor, usable, digest, policy, evidence, observer)
    findings += [replace(finding, where=finding.where or where) for finding in judged.findings]
    if checkpoint is not None:
        findings += _compare_clocks(judged, checkpoint[1], where)
    # What the chain contradicts stays invalid, however good the anchor is in itself.
    sound = report.status != "invalid"
    return replace(
        judged,
        ok=sound and judged.ok,
        status=judged.status if sound else "invalid",
        root=judged.root if sound else "",
        signer_key=judged.signer_key if sound else "",
        findings=tuple(findings),
    )


def pending_report(pending: PendingAnchor) -> TokenReport:
    """Return the entry of an anchor that had not been obtained when the bundle was made."""
    text = f"{pending.authority} had been asked to vouch for event {pending.sequence}, but had not answered at export."
    finding = Finding(code="anchor-pending", severity=Severity.INFO, where=f"event {pending.sequence}", message=text)
    return TokenReport(
        ok=False,
        status="pending",
        backend=pending.backend,
        authority=pending.authority,
        sequence=pending.sequence,
        findings=(finding,),
    )


def covered_events(tokens: list[TokenReport], policy: TrustPolicy) -> int:
    """Return up to which event the tokens that are ok give all that the policy requires; 0 if nowhere.

    An anchor of a later checkpoint covers everything before it, so tokens are counted from the newest down. They are
    independent of each other only as far as their authorities, their roots and their signers' keys all differ: a copy
    of one token under another name adds nothing, also where a second certificate for its root's key is trusted there.
    """
    authorities: set[str] = set()
    roots: set[str] = set()
    keys: set[str] = set()
    backends: set[str] = set()
    for token in sorted((token for token in tokens if token.ok), key=lambda token: -token.sequence):
        authorities.add(token.authority)
        roots.add(token.root)
        keys.add(token.signer_key)
        backends.add(token.backend)
        if min(len(authorities), len(roots), len(keys)) >= policy.require and backends >= set(policy.require_backends):
            return token.sequence
    return 0


def _trust(authority: str, policy: TrustPolicy) -> tuple[TimestampTrust, ...]:
    configured = policy.authorities.get(authority)
    trust = (configured,) if configured is not None else ()
    return (*trust, TimestampTrust(roots=policy.extra_roots)) if policy.extra_roots else trust


def _judge_rfc3161(
    anchor: AnchorStatement,
    files: dict[str, bytes],
    digest: bytes,
    policy: TrustPolicy,
    evidence: Evidence,
    _observer: Observer | None,
) -> TokenReport:
    result = verify_token(
        files["response"],
        digest=digest,
        trust=_trust(anchor.authority, policy),
        hints=evidence.certificates,
        query=files["request"],
        revocation=evidence.revocation,
        trusted_lists=policy.trusted_lists,
    )
    return TokenReport(
        ok=result.ok,
        status=result.status,
        backend=anchor.backend,
        authority=anchor.authority,
        sequence=anchor.sequence,
        time=result.time.isoformat(timespec="microseconds").replace("+00:00", "Z") if result.time else None,
        time_accuracy=result.accuracy_microseconds,
        qualified=result.qualified,
        revocation=result.revocation,
        signer=result.signer,
        policy=result.policy,
        serial_number=None if result.serial_number is None else str(result.serial_number),
        root=hashlib.sha256(result.certificate_path[-1]).hexdigest() if result.ok else "",
        signer_key=_key_of(result.certificate_path[0]) if result.ok else "",
        findings=result.findings,
    )


def _judge_tezos(
    anchor: AnchorStatement,
    files: dict[str, bytes],
    digest: bytes,
    policy: TrustPolicy,
    _evidence: Evidence,
    observer: Observer | None,
) -> TokenReport:
    trust = policy.tezos.get(anchor.authority)
    # Without a table of this name nobody said which nodes to ask.
    result = check_receipt(
        files["receipt"], value=digest, trust=trust or TezosTrust(), observer=observer if trust else None
    )
    token = tezos_token(result, authority=anchor.authority, sequence=anchor.sequence)
    if result.receipt is None:
        return token
    try:
        same = parse_aggregation(anchor.aggregation) == result.receipt.aggregation
    except UnusableReceiptError:
        same = False
    if same:
        return token
    text = "bundle.json and the receipt differ about where the digest stands under the anchored value."
    error = Finding(code="anchor-aggregation-mismatch", severity=Severity.ERROR, message=text)
    return replace(token, ok=False, status="invalid", root="", signer_key="", findings=(error, *token.findings))


def _judge_opentimestamps(
    anchor: AnchorStatement,
    files: dict[str, bytes],
    digest: bytes,
    policy: TrustPolicy,
    evidence: Evidence,
    _observer: Observer | None,
) -> TokenReport:
    trust = policy.bitcoin.get(anchor.authority, BitcoinTrust(headers={}))
    result = check_proof(files["proof"], digest=digest, headers=trust.headers, network=trust.network)
    if result.status == "anchored-unchecked":
        hint = check_proof(files["proof"], digest=digest, headers=evidence.headers, network=trust.network)
        if hint.ok and hint.height is not None:
            note = _header_hint(hint.height, evidence.headers[hint.height])
            result = replace(result, findings=(*result.findings, note))
    return opentimestamps_token(result, authority=anchor.authority, sequence=anchor.sequence, network=trust.network)


def _header_hint(height: int, header: bytes) -> Finding:
    text = (
        f"The bundle brings a header for block {height} that fits and carries the work it declares. If a source that "
        f"you trust shows that block with the hash {block_hash(header)}, the proof holds: give it in your policy."
    )
    return Finding(code="ots-header-hint", severity=Severity.INFO, message=text)


_JUDGES = {RFC3161: _judge_rfc3161, TEZOS: _judge_tezos, OPENTIMESTAMPS: _judge_opentimestamps}


def _compare_clocks(token: TokenReport, occurred_at: int, where: str) -> list[Finding]:
    if token.time is None:
        return []
    stated = datetime.fromisoformat(token.time)
    # In microseconds: the times of a hostile chain need not fit what adding to a datetime allows.
    tolerance = CLOCK_TOLERANCE // _MICROSECOND + (token.time_accuracy or 0)
    if (stated - _EPOCH) // _MICROSECOND + tolerance >= occurred_at:
        return []
    text = "The ledger dates this checkpoint later than the authority saw it: the ledger's clock was wrong."
    return [Finding(code="anchor-before-event", severity=Severity.WARNING, where=where, message=text)]


def _key_of(certificate: bytes) -> str:
    return hashlib.sha256(read_certificate(certificate).public_key.encoded).hexdigest()


def _error(code: str, path: str, text: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, where=path, message=f"{path} {text}.")
