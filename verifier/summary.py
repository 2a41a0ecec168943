"""The parts of a report that look at the whole: the list of checks, and what a reader must know beside the verdict."""

from verifier.anchors import covered_events
from verifier.artefacts import ARTEFACTS
from verifier.bundle import Bundle
from verifier.chain import ChainClaims, ChainResult
from verifier.event import format_time
from verifier.findings import Finding, Severity
from verifier.policy import BACKENDS, TrustPolicy
from verifier.report import Check, TokenReport
from verifier.statement import BundleStatement

_CHECKS = (
    (
        "files",
        "bag- bundle- events-",
        "Every file is byte for byte the one that was packed, none is missing and none was added.",
    ),
    (
        "lines",
        "event-not-canonical event-malformed event-too-long",
        "Every event is written in the one exact form the format allows, so there is only one way to read it.",
    ),
    ("sequence", "event-sequence", "The events are numbered 1, 2, 3 and so on: none was taken out or put in."),
    (
        "links",
        "event-prev-hash",
        "Every event carries the fingerprint of the one before it, so their order cannot be changed.",
    ),
    ("fingerprints", "event-hash", "Every event's fingerprint fits its contents: no letter of it was changed since."),
    ("time-order", "event-time-order", "The ledger's own clock never went back from one event to the next."),
    (
        "opening",
        "chain-genesis chain-identity chain-empty",
        "The first event names the chain and the organisation, so neither can be exchanged.",
    ),
    (
        "checkpoints",
        "checkpoint-tree-size checkpoint-merkle-root",
        "Every checkpoint's summary fits all events before it.",
    ),
    (
        "closing",
        "chain-after-close chain-reserved-kind",
        "Nothing follows the closing of the chain.",
    ),
    (
        "end",
        "chain-event-count chain-head",
        "The number of events and the last fingerprint are those that the bundle states.",
    ),
)
_SESSION = (
    "session-end",
    "session-",
    (
        "After the end of the session nothing was added but what tells of recordings and clips begun before, and the "
        "closing names those that were not finished."
    ),
)
_EXPECTED_COUNT = ("expected-count", "chain-expected-count", "The chain has the number of events that you know.")
_MAX_NAMED = 10
"""Unfinished recordings and clips named in a sentence; the report lists them all."""

_EXPECTED_HEAD = ("expected-head", "chain-expected-head", "The chain contains the event whose fingerprint you know.")


def chain_checks(chain: ChainResult, claims: ChainClaims, findings: list[Finding]) -> tuple[Check, ...]:
    """Return what was checked about files and chain; `ok` is None for what was not carried to the end."""
    wrong = [finding.code for finding in (*findings, *chain.findings) if finding.severity is Severity.ERROR]
    table = list(_CHECKS)
    if chain.end is not None or any(code.startswith("session-") for code in wrong):
        table.insert(-1, _SESSION)
    if claims.expected_count is not None:
        table.append(_EXPECTED_COUNT)
    if claims.expected_head is not None:
        table.append(_EXPECTED_HEAD)
    checks: list[Check] = []
    for name, codes, proves in table:
        failed = any(code.startswith(tuple(codes.split())) for code in wrong)
        unfinished = not chain.complete and name != "files"
        checks.append(Check(name=name, ok=False if failed else None if unfinished else True, proves=proves))
    return tuple(checks)


def general_findings(  # noqa: PLR0913 - it looks at the whole
    *,
    bundle: Bundle,
    statement: BundleStatement | None,
    chain: ChainResult,
    tokens: list[TokenReport],
    policy: TrustPolicy,
    sealed_left: int,
) -> list[Finding]:
    """Return the findings about the bundle as a whole."""
    findings = _organisation(statement, policy) + _tokens(chain, tokens, policy)
    if statement is not None and chain.ok:
        findings += _export_time(statement, chain)
    if chain.ok:
        findings += _coverage(chain, tokens, policy)
    if chain.ok and chain.genesis is not None and chain.genesis.chain_type == "session":
        findings += _ending(chain)
    if sealed_left:
        text = f"{sealed_left} members of events are sealed and not disclosed: unreadable here, but not damaged."
        findings.append(Finding(code="sealed-not-disclosed", severity=Severity.INFO, message=text))
    if not chain.ok and any(path.startswith(ARTEFACTS) for path in bundle.sizes):
        text = "The files of clips were not compared with the chain, since the chain itself is not intact."
        findings.append(Finding(code="artefacts-not-compared", severity=Severity.WARNING, message=text))
    return findings


def _ending(chain: ChainResult) -> list[Finding]:
    if chain.end is None:
        if chain.closed:
            return []
        text = "This session has not been closed: events may have followed that are not in this bundle."
        return [Finding(code="chain-not-closed", severity=Severity.WARNING, message=text)]
    where = f"event {chain.end.sequence}"
    names = ", ".join(f"{item.type} {item.item_id}" for item in chain.unfinished[:_MAX_NAMED])
    if len(chain.unfinished) > _MAX_NAMED:
        names += f" and {len(chain.unfinished) - _MAX_NAMED} more"
    if not chain.closed:
        text = (
            f"The session ended with event {chain.end.sequence}. Its chain is not closed: until "
            f"{format_time(chain.end.closes_by)} at the latest it waits for {names or 'nothing any more'}, and what "
            "came of it may have followed and not be in this bundle."
        )
        return [Finding(code="session-processing-pending", severity=Severity.WARNING, where=where, message=text)]
    if not chain.unfinished:
        return []
    text = (
        f"When the chain was closed, this was not finished: {names}. What became of it is not on this chain; the "
        "organisation's operations log may tell."
    )
    return [Finding(code="session-items-unfinished", severity=Severity.WARNING, where=where, message=text)]


def _organisation(statement: BundleStatement | None, policy: TrustPolicy) -> list[Finding]:
    if statement is None:
        return []
    expected = (policy.organisation_id, policy.organisation_name)
    stated = (statement.organisation_id, statement.organisation_name)
    if all(want is None or want == have for want, have in zip(expected, stated, strict=True)):
        return []
    text = f"The bundle is of {stated[1]!r} ({stated[0]}), which is not the organisation that your policy names."
    return [Finding(code="organisation-unexpected", severity=Severity.ERROR, message=text)]


def _export_time(statement: BundleStatement, chain: ChainResult) -> list[Finding]:
    newest = max([chain.last_time, *(anchor.obtained_at for anchor in statement.anchors)])
    if newest == statement.exported_at:
        return []
    text = (
        f"bundle.json states exported_at as {format_time(statement.exported_at)}, but the newest thing in the bundle "
        f"is of {format_time(newest)}."
    )
    return [Finding(code="exported-at-mismatch", severity=Severity.ERROR, where="data/bundle.json", message=text)]


def _tokens(chain: ChainResult, tokens: list[TokenReport], policy: TrustPolicy) -> list[Finding]:
    findings = [
        Finding(
            code="token-failed",
            severity=Severity.WARNING,
            where=f"event {token.sequence}",
            message=f"The anchor of {token.authority} for event {token.sequence} is NOT valid. See its own findings.",
        )
        for token in tokens
        if token.status == "invalid"
    ]
    if not any(token.status != "pending" and token.backend in BACKENDS for token in tokens):
        text = "The bundle has no anchor that this program can verify, so nobody outside vouches for when it existed."
        findings.append(Finding(code="anchors-missing", severity=Severity.WARNING, message=text))
    elif policy.trusts_nobody:
        text = "You named nobody whom you trust to date documents. Use --trust or --trust-root."
        findings.append(Finding(code="trust-missing", severity=Severity.WARNING, message=text))
    elif chain.ok and not covered_events(tokens, policy):
        kinds = f", of the kinds {', '.join(policy.require_backends)}" if policy.require_backends else ""
        text = f"Your policy asks for {policy.require} independent good anchor(s){kinds}; the bundle has fewer."
        findings.append(Finding(code="anchors-insufficient", severity=Severity.WARNING, message=text))
    return findings


def _coverage(chain: ChainResult, tokens: list[TokenReport], policy: TrustPolicy) -> list[Finding]:
    covered = covered_events(tokens, policy)
    if not covered or covered == chain.event_count:
        return []
    text = (
        f"Only events 1 to {covered} are covered by anchors. Events {covered + 1} to {chain.event_count} came later: "
        "they fit the chain, but only its keeper vouches for them."
    )
    if chain.end is not None and covered > chain.end.sequence:
        text += " The session itself, up to its end, is covered as a whole; what came later is the processing after it."
    return [
        Finding(
            code="events-after-last-anchor",
            severity=Severity.WARNING,
            where=f"events {covered + 1} to {chain.event_count}",
            message=text,
        )
    ]
