"""A result in words for readers who are not engineers: every check, what it shows, and what is not proved."""

from collections.abc import Iterator, Sequence

from verifier import layout
from verifier.findings import Severity
from verifier.layout import fact, not_proved, opening
from verifier.rfc3161.codes import Check, all_rules
from verifier.rfc3161.results import TokenResult

_CHECKS = {
    Check.FORM: ("form", "The file is one complete time-stamp, and the authority granted it."),
    Check.CONTENT: (
        "message",
        "It is a message signed by exactly one signer, with algorithms that are accepted today.",
    ),
    Check.STATEMENT: ("statement", "The authority's statement in it is complete and says when it was made."),
    Check.IMPRINT: ("data", "The statement is about exactly this data; one changed bit would show."),
    Check.REQUEST: ("request", "The statement answers the request that was sent, and is not an old one sent again."),
    Check.SIGNER: ("signer", "The signing certificate is the one that the signature itself names."),
    Check.SIGNATURE: ("signature", "The statement was signed with that certificate's key and not changed since."),
    Check.CERTIFICATE: ("certificate", "The certificate was valid at that time and is for time-stamping alone."),
    Check.PATH: ("trust", "A root that you trust vouches for the signer."),
    Check.REVOCATION: ("revocation", "Evidence shows that no certificate had been withdrawn at the time stated."),
}
_QUALIFIED = {
    "QUALIFIED": "yes, by the trusted list that you supplied, at the time stated",
    "NOT-QUALIFIED": "no, not by the trusted list that you supplied, at the time stated",
    "UNKNOWN": "not known: that takes a trusted list and a path to a trusted root",
}
_REVOCATION = {
    "GOOD-AT-GENTIME": "evidence shows that no certificate had been revoked at the time stated",
    "NO-EVIDENCE": "no complete evidence at hand, in either direction",
    "REVOKED": "a certificate was revoked",
}
_MEANINGS = {
    "valid": "The data existed, exactly as it is, at the time below: an authority that you trust says so.",
    "invalid": "The time-stamp proves nothing about this data. What is wrong is told below.",
    "untrusted": (
        "Nothing is wrong, but nobody whom you trust vouches for the time-stamp. Anybody can make such a time-stamp: "
        "it proves nothing until its authority's root certificate is named with --trust-root."
    ),
}
_NOT_PROVED = (
    "Who made the data, or whether what it says is true.",
    "That the data did not exist even earlier.",
)


def explain(result: TokenResult, verdict: str, heading: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The result as lines of text; `heading` says what was checked."""
    yield from opening(verdict, _MEANINGS[result.status])
    accuracy = result.accuracy_microseconds
    stated = "the authority states no accuracy" if accuracy is None else f"accurate to {accuracy / 1e6:g} s"
    for title, text in heading:
        yield fact(title, text)
    if result.time is not None:
        yield fact("Time", f"{result.time.isoformat()} ({stated})")
    if result.signer:
        yield fact("Authority", result.signer)
    if result.policy is not None:
        yield fact("Policy", f"{result.policy}, serial number {result.serial_number}")
    yield fact("Qualified", _QUALIFIED[result.qualified])
    yield fact("Revocation", _REVOCATION[result.revocation])
    yield ""
    yield "What was checked"
    for check, (title, shows) in _CHECKS.items():
        yield from layout.check(title, *_outcome(result, check, shows))
    if result.findings:
        yield ""
        yield "Findings"
        yield from layout.findings(result.findings)
    if result.status == "valid":
        yield from not_proved(_NOT_PROVED)


def _outcome(result: TokenResult, check: Check, shows: str) -> tuple[str, str]:
    """How a check ended, and what it shows or would show."""
    rules = {rule.code: rule for rule in all_rules()}
    wrong = [
        rules[finding.code]
        for finding in result.findings
        if finding.severity is Severity.ERROR and rules[finding.code].check is check
    ]
    if any(not rule.trust_only for rule in wrong):
        return "FAILS", shows
    if wrong:
        return "open: it takes a root that you trust", shows
    if check is Check.REVOCATION and check in result.completed and result.revocation == "NO-EVIDENCE":
        return "open", "Nothing at hand says that a certificate had been withdrawn, or that none had."
    if check in result.completed:
        return "holds", shows
    if check is Check.REQUEST and Check.SIGNER in result.completed:
        return "not checked", "No request was supplied to compare with."
    return "not reached", shows
