"""A result in words for readers who are not engineers: every check, what it shows, and what is not proved."""

from collections.abc import Iterator

from verifier.findings import Severity
from verifier.rfc3161.codes import Check, all_rules
from verifier.rfc3161.results import TokenResult

_CHECKS = {
    Check.FORM: ("Form", "The file is one complete time-stamp, and the authority granted it."),
    Check.CONTENT: (
        "Message",
        "It is a message signed by exactly one signer, with algorithms that are accepted today.",
    ),
    Check.STATEMENT: ("Statement", "The authority's statement in it is complete and says when it was made."),
    Check.IMPRINT: ("Data", "The statement is about exactly this data; one changed bit would show."),
    Check.REQUEST: ("Request", "The statement answers the request that was sent, and is not an old one sent again."),
    Check.SIGNER: ("Signer", "The signing certificate is the one that the signature itself names."),
    Check.SIGNATURE: ("Signature", "The statement was signed with that certificate's key and not changed since."),
    Check.CERTIFICATE: ("Certificate", "The certificate was valid at that time and is for time-stamping alone."),
    Check.PATH: ("Trust", "A root that you trust vouches for the signer."),
    Check.REVOCATION: ("Revocation", "Evidence shows that no certificate had been withdrawn at the time stated."),
}
_MARKS = {Severity.ERROR: "because", Severity.WARNING: "note", Severity.INFO: "note"}

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
_MEANING = {
    "valid": (
        "What this proves: the data existed, exactly as it is, at the time stated, and an authority that you trust",
        "says so. What it does not prove: who made the data, whether what it says is true, or that it did not exist",
        "even earlier.",
    ),
    "invalid": ("What this means: the time-stamp proves nothing about this data. What is wrong is named above.",),
    "untrusted": (
        "What this means: nothing was found to be wrong, but nobody whom you trust vouches for the time-stamp. Anybody",
        "can make such a time-stamp; it proves nothing until its authority's root certificate is named with",
        "--trust-root.",
    ),
}


def explain(result: TokenResult) -> Iterator[str]:
    """The result as lines of text."""
    accuracy = result.accuracy_microseconds
    stated = "the authority states no accuracy" if accuracy is None else f"accurate to {accuracy / 1e6:g} s"
    if result.time is not None:
        yield f"Time         {result.time.isoformat()} ({stated})"
    if result.signer:
        yield f"Authority    {result.signer}"
    if result.policy is not None:
        yield f"Policy       {result.policy}, serial number {result.serial_number}"
    yield f"Qualified    {_QUALIFIED[result.qualified]}"
    yield f"Revocation   {_REVOCATION[result.revocation]}"
    yield ""
    yield from _checks(result)
    yield ""
    yield from _MEANING[result.status]


def _checks(result: TokenResult) -> Iterator[str]:
    rules = {rule.code: rule for rule in all_rules()}
    for check, (title, shows) in _CHECKS.items():
        findings = [finding for finding in result.findings if rules[finding.code].check is check]
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        if any(not rules[finding.code].trust_only for finding in errors):
            yield f"[ FAILED ] {title}"
        elif errors:
            yield f"[ open   ] {title}"
        else:
            yield _outcome(result, check, title, shows)
        for finding in findings:
            yield f"             {_MARKS[finding.severity]}: {finding.message} ({finding.code})"


def _outcome(result: TokenResult, check: Check, title: str, shows: str) -> str:
    if check is Check.REVOCATION and check in result.completed and result.revocation == "NO-EVIDENCE":
        return f"[ open   ] {title}: nothing at hand says that a certificate had been withdrawn, or that none had."
    if check in result.completed:
        return f"[ passed ] {title}: {shows}"
    if check is Check.REQUEST and Check.SIGNER in result.completed:
        return f"[ --     ] {title}: not checked, for no request was supplied."
    return f"[ --     ] {title}: not reached."
