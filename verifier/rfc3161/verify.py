"""The verification of one time-stamp token.

What must hold, in this order:

1. form: the input is one complete, strictly encoded value of bounded size, and the authority granted the time-stamp
   (RFC 3161, 2.4.2; X.690, 10);
2. content: it is a CMS signed message around a time-stamp statement, with exactly one signer, acceptable algorithms
   that agree with one another, and signed attributes that fit the statement (RFC 5652, 5; RFC 6211);
3. statement: the statement (TSTInfo) is readable and within its ranges, under an acceptable policy;
4. imprint: it is about the data at hand;
5. request: when the request is at hand, it answers that request (policy, nonce, certificate);
6. signer: the signer's certificate is the one that the signature names, by identifier and by hash (RFC 5035, 5816);
7. signature: that certificate's key signed the statement;
8. certificate: that certificate was valid at the time stated and is for time-stamping alone (RFC 3161, 2.3);
9. path: a root trusted by the user vouches for it (RFC 5280, 6);
10. revocation: no evidence at hand says that a certificate of the path had been withdrawn (RFC 3161, 4).

A breach of 1, 2, 6 or 7, or a statement or request that cannot be read, ends the procedure, for nothing after it would
mean anything; all other breaches are collected.
Hostile input gives findings, never an exception.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from verifier.findings import Finding, Severity
from verifier.rfc3161 import codes, der
from verifier.rfc3161.certificate import Certificate, read_certificate
from verifier.rfc3161.codes import Broken, Check, Rule
from verifier.rfc3161.ess import check_ess, read_ess
from verifier.rfc3161.extensions import DIGITAL_SIGNATURE, EXTENDED_KEY_USAGE, NON_REPUDIATION, UNDERSTOOD
from verifier.rfc3161.path import TIME_STAMPING, Anchor, Question, find_path
from verifier.rfc3161.qualified import qualified_status
from verifier.rfc3161.response import Report, read_response
from verifier.rfc3161.results import (
    QualifiedStatus,
    RevocationEvidence,
    RevocationStatus,
    TimestampTrust,
    TokenResult,
    TokenStatus,
)
from verifier.rfc3161.revocation import judge_revocation
from verifier.rfc3161.signed_data import SignedData, read_signed_data
from verifier.rfc3161.signer import answers_to, check_signature, check_signer_info, check_tsa_name, find_signer
from verifier.rfc3161.statement import (
    Imprint,
    Statement,
    check_answer,
    check_imprint,
    read_request,
    read_statement,
)

_NO_EVIDENCE = RevocationEvidence()


def verify_token(  # noqa: PLR0913 - each is a separate, optional piece of what the caller knows
    token: bytes,
    *,
    digest: bytes,
    hash_algorithm: str = "sha256",
    trust: Sequence[TimestampTrust],
    hints: Sequence[bytes | Certificate] = (),
    query: bytes | None = None,
    revocation: RevocationEvidence = _NO_EVIDENCE,
    trusted_lists: Sequence[bytes] = (),
    at: datetime | None = None,
    required_policies: frozenset[str] = frozenset(),
    allow_granted_with_mods: bool = False,
) -> TokenResult:
    """Verify a TimeStampResp or a bare TimeStampToken over `digest`, made with `hash_algorithm`.

    `trust` is what the user trusts; `hints` are certificates (DER, or read already) nobody trusts, from a bundle or
    elsewhere. `query` is the request as sent. `revocation` and what the token itself encloses is evidence, believed
    when its signatures check. `trusted_lists` are ETSI TS 119 612 lists that the user obtained authentically.
    Certificates are judged at the token's own time, or at `at` (aware). Never raises for hostile bytes; raises
    ValueError if `at` is naive.
    """
    if at is not None and at.tzinfo is None:
        raise ValueError("the time to judge certificates at needs a time zone")
    judgement = _Judgement()
    task = _Task(
        token=token,
        imprint=Imprint(hash_algorithm, digest),
        trust=tuple(trust),
        hints=tuple(hints),
        query=query,
        revocation=revocation,
        trusted_lists=tuple(trusted_lists),
        at=at,
        required_policies=required_policies,
        allow_granted_with_mods=allow_granted_with_mods,
    )
    try:
        _carry_out(task, judgement)
    except Broken as broken:
        judgement.report(broken.rule, broken.message)
    return judgement.result()


def stated_imprint(token: bytes) -> tuple[str, bytes] | None:
    """The digest algorithm and digest that a token is about, as far as it says; None when that cannot be read.

    Says nothing about the token being good. Meant for choosing how to digest the data that it is checked against.
    """
    unheard = _Judgement().report
    try:
        node = read_response(token, allow_granted_with_mods=True, report=unheard)
        imprint = read_statement(read_signed_data(node, unheard).content, unheard).imprint
    except Broken:
        return None
    return imprint.hash_name, imprint.digest


def requested_imprint(query: bytes) -> tuple[str, bytes] | None:
    """The digest algorithm and digest in a request (TimeStampReq); None when it cannot be read."""
    try:
        imprint = read_request(query).imprint
    except Broken:
        return None
    return imprint.hash_name, imprint.digest


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """The arguments of `verify_token`, as one value."""

    token: bytes
    imprint: Imprint
    trust: tuple[TimestampTrust, ...]
    hints: tuple[bytes | Certificate, ...]
    query: bytes | None
    revocation: RevocationEvidence
    trusted_lists: tuple[bytes, ...]
    at: datetime | None
    required_policies: frozenset[str]
    allow_granted_with_mods: bool


@dataclass(slots=True)
class _Judgement:
    """What has been found so far."""

    rules: list[Rule] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    completed: list[Check] = field(default_factory=list)
    statement: Statement | None = None
    signer: str = ""
    path: tuple[Certificate, ...] = ()
    revocation: RevocationStatus = "NO-EVIDENCE"
    qualified: QualifiedStatus = "UNKNOWN"

    def report(self, rule: Rule, message: str) -> None:
        self.rules.append(rule)
        self.findings.append(rule.says(message))

    def result(self) -> TokenResult:
        errors = [rule for rule in self.rules if rule.severity is Severity.ERROR]
        status: TokenStatus = "untrusted"
        if any(not rule.trust_only for rule in errors):
            status = "invalid"
        elif not errors and Check.REVOCATION in self.completed:
            # The last check: without it, finding nothing wrong would only mean that nobody looked.
            status = "valid"
        statement = self.statement
        return TokenResult(
            ok=status == "valid",
            status=status,
            time=statement.time if statement else None,
            accuracy_microseconds=statement.accuracy_microseconds if statement else None,
            policy=statement.policy if statement else None,
            serial_number=statement.serial_number if statement else None,
            signer=self.signer,
            revocation=self.revocation,
            qualified=self.qualified,
            findings=tuple(self.findings),
            certificate_path=tuple(certificate.encoded for certificate in self.path),
            completed=tuple(self.completed),
        )


def _carry_out(task: _Task, judgement: _Judgement) -> None:
    report, done = judgement.report, judgement.completed.append

    node = read_response(task.token, allow_granted_with_mods=task.allow_granted_with_mods, report=report)
    done(Check.FORM)

    signed = read_signed_data(node, report)
    scheme = check_signer_info(signed, report)
    done(Check.CONTENT)

    statement = judgement.statement = read_statement(signed.content, report)
    if task.required_policies and statement.policy not in task.required_policies:
        report(
            codes.POLICY_NOT_ALLOWED, f"The time-stamp was made under policy {statement.policy}, which is not allowed."
        )
    done(Check.STATEMENT)

    check_imprint(statement, task.imprint, report)
    done(Check.IMPRINT)

    anchors = tuple(_read_anchors(task.trust, report))
    hints = (*_read_hints(task), *(anchor.certificate for anchor in anchors))
    named = read_ess(signed.signer, report)
    if task.query is not None:
        _check_request(task.query, signed, statement, report)
        done(Check.REQUEST)

    signer = find_signer(signed, hints, named, report)
    judgement.signer = signer.readable
    check_ess(named, signer)
    check_tsa_name(statement, signer, report)
    done(Check.SIGNER)

    check_signature(signed, scheme, signer)
    done(Check.SIGNATURE)

    when = task.at or statement.time
    _check_signer_certificate(signer, when=when, time=statement.time, report=report)
    done(Check.CERTIFICATE)

    question = Question(when=when, time=statement.time, policy=statement.policy)
    outcome = find_path(signer, anchors, (*signed.certificates, *signed.more_certificates, *hints), question)
    for rule, message in outcome.faults:
        report(rule, message)
    judgement.path = outcome.path
    if not outcome.path:
        return
    done(Check.PATH)

    evidence = _merge(signed.evidence, task.revocation)
    judgement.revocation = judge_revocation(outcome.path, evidence, statement.time, report)
    judgement.qualified = qualified_status(outcome.path, statement.time, task.trusted_lists, report)
    done(Check.REVOCATION)


def _read_anchors(trust: Iterable[TimestampTrust], report: Report) -> Iterator[Anchor]:
    for authority in trust:
        for root in dict.fromkeys(authority.roots):
            try:
                yield Anchor(read_certificate(root), authority)
            except der.DerError as error:
                report(codes.ROOT_UNREADABLE, f"A configured root cannot be read and is not used: {error}.")


def _read_hints(task: _Task) -> Iterator[Certificate]:
    configured = (certificate for authority in task.trust for certificate in authority.intermediates)
    for hint in dict.fromkeys((*configured, *task.hints)):
        try:
            yield hint if isinstance(hint, Certificate) else read_certificate(hint)
        except der.DerError:
            # A hint that cannot be read is no hint; if it was needed, its absence is what gets reported.
            continue


def _check_request(query: bytes, signed: SignedData, statement: Statement, report: Report) -> None:
    request = read_request(query)
    has_signer = any(answers_to(certificate, signed.signer.signer_id) for certificate in signed.certificates)
    check_answer(statement, request, has_signer=has_signer, has_any=bool(signed.certificates), report=report)


def _check_signer_certificate(certificate: Certificate, *, when: datetime, time: datetime, report: Report) -> None:
    """The key signs time-stamps and nothing else (RFC 3161, 2.3), within its periods (RFC 3280, 4.2.1.4)."""
    if certificate.purposes is None or TIME_STAMPING not in certificate.purposes:
        report(codes.SIGNER_PURPOSE, "The signer's certificate is not for time-stamping.")
    elif certificate.purposes != {TIME_STAMPING}:
        report(codes.SIGNER_PURPOSE, "The signer's certificate is not for time-stamping alone.")
    elif EXTENDED_KEY_USAGE not in certificate.critical:
        report(codes.SIGNER_PURPOSE_NOT_CRITICAL, "The signer's certificate does not mark its purpose as critical.")
    if certificate.is_ca:
        report(codes.SIGNER_IS_CA, "The signer's certificate is that of a certification authority.")
    usage = certificate.key_usage
    if usage is not None and (not usage or usage - {DIGITAL_SIGNATURE, NON_REPUDIATION}):
        report(codes.SIGNER_KEY_USAGE, "The signer's key is not meant for signing, or for more than signing.")
    if not certificate.not_before <= when <= certificate.not_after:
        report(codes.SIGNER_VALIDITY, f"The signer's certificate was not valid at {when.isoformat()}.")
    start, end = certificate.key_period
    if (start is not None and time < start) or (end is not None and time > end):
        report(codes.SIGNER_KEY_PERIOD, "The signer's key was used outside of the period set for it.")
    for oid in sorted(certificate.critical - UNDERSTOOD):
        report(codes.SIGNER_EXTENSION, f"The signer's certificate has a critical extension not understood here: {oid}.")


def _merge(one: RevocationEvidence, other: RevocationEvidence) -> RevocationEvidence:
    return RevocationEvidence(
        crls=tuple(dict.fromkeys((*one.crls, *other.crls))),
        ocsp_responses=tuple(dict.fromkeys((*one.ocsp_responses, *other.ocsp_responses))),
    )
