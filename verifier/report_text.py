"""The report as a person reads it: each check, what it proves, and what the whole does not prove."""

from collections.abc import Iterator

from verifier.layout import check, fact, findings, not_proved, opening, safe, wrapped
from verifier.report import Report, TokenReport
from verifier.statement import OPENTIMESTAMPS, RFC3161, TEZOS

_MARKS = {True: "holds", False: "FAILS", None: "not checked to the end"}
_MEANINGS = {
    "VERIFIED": "The record is intact, and somebody you trust vouches that it existed at the times below.",
    "FAILED": "Something about this record is provably wrong. Do not rely on it.",
    "INDETERMINATE": "Nothing is provably wrong, but what you trust does not suffice to call the record genuine.",
}
_STATUSES = {
    "valid": "valid",
    "invalid": "NOT VALID",
    "pending": "not obtained yet",
    "unconfirmed": "cannot be confirmed here",
    "untrusted": "in order, but nobody you trust vouches for it",
}
_COVERS = {
    "part": "",
    "session": ": the whole session up to its end, as it was when it ended",
    "processing": ": the whole session, and the processing of its recordings and clips so far",
    "chain": ": the whole chain, with its closing",
}
_NOT_PROVED = (
    "That what was recorded is true: only that it was recorded, in this order, and not changed since.",
    (
        "The times of single events: these are the ledger's own statement. Proved are the times of the anchors, and "
        "that everything before an anchored checkpoint existed by then."
    ),
    (
        "That nothing was left unrecorded, or cut off after the last anchor, unless you know the count or the last "
        "fingerprint from elsewhere (--expect-count, --expect-head)."
    ),
)


def render(report: Report) -> str:
    """Return the report as plain text, without its last line end."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield from opening(report.verdict, _MEANINGS[report.verdict])
    yield fact("Chain", f"{safe(report.chain_id) or '(not known)'} {_state(report)}")
    organisation = f"{safe(report.organisation_name) or '(not known)'} {safe(f'({report.organisation_id})')}"
    yield fact("Organisation", organisation)
    counted = f"{report.event_count}, of which {report.intact_events} intact and {report.covered_events} covered"
    yield fact("Events", f"{counted} by the anchors you require")
    if report.first_divergent_sequence is not None:
        fault = f"event {report.first_divergent_sequence}; nothing from there on is vouched for"
        yield fact("First fault", fault)
    yield fact("Fingerprint", f"{report.head} (of event {report.intact_events})")
    yield ""
    yield "What was checked"
    for checked in report.checks:
        yield from check(checked.name, _MARKS[checked.ok], checked.proves)
    if report.tokens:
        yield ""
        yield "Anchors: what others say about this record"
        for token in report.tokens:
            yield from _token(token)
    if report.findings:
        yield ""
        yield "Findings"
        yield from findings(report.findings)
    yield from not_proved(_NOT_PROVED)


def _state(report: Report) -> str:
    if not report.chain_type or not report.chain_ok:
        return ""
    if report.chain_type == "operations":
        return "(operations log, never closed)"
    if report.session_end is not None and not report.closed:
        return "(session, ended; its chain is NOT closed yet)"
    return "(session, closed)" if report.closed else "(session, NOT closed)"


def _token(token: TokenReport) -> Iterator[str]:
    yield f"  event {token.sequence}, {safe(token.authority)} ({token.backend}): {_STATUSES[token.status]}"
    if token.ok and token.time is not None:
        accuracy = f", give or take {token.time_accuracy / 1_000_000:g} s" if token.time_accuracy else ""
        yield from wrapped(
            f"Events 1 to {token.sequence} existed, exactly as they are here, at {token.time}{accuracy}"
            f"{_COVERS[token.covers]}. {_voucher(token)}",
            indent=4,
        )
        if token.backend == RFC3161:
            yield from wrapped(f"Revocation: {token.revocation}. Qualified under eIDAS: {token.qualified}.", indent=4)
    yield from findings(token.findings, indent=4)


def _voucher(token: TokenReport) -> str:
    """Who vouches for the time of a token."""
    if token.backend == TEZOS:
        return f"The Tezos network vouches for it by block {token.block}; sent by {safe(token.signer)}."
    if token.backend == OPENTIMESTAMPS:
        network = "The Bitcoin network" if token.root == "bitcoin" else "A test network, where anybody can make blocks,"
        return f"{network} vouches for it by block {token.block}."
    return f"Signed by {safe(token.signer)}."
