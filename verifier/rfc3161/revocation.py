"""Whether certificates of a path had been withdrawn, as far as the evidence at hand tells (RFC 3161, 4).

Evidence is believed only when it is signed by the certificate's own issuer, or by a responder which that issuer
authorised, whoever supplied it. Nothing is fetched.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import pairwise

from verifier.rfc3161 import codes, der
from verifier.rfc3161.certificate import Certificate
from verifier.rfc3161.crl import Crl, ask_crl, read_crl
from verifier.rfc3161.evidence import Clean, UnusableError, Withdrawal
from verifier.rfc3161.ocsp import OcspResponse, ask_ocsp, read_ocsp
from verifier.rfc3161.response import Report
from verifier.rfc3161.results import RevocationEvidence, RevocationStatus

# A bundle is written with so many pieces of evidence at most: none of them may be one that is not looked at.
MAX_EVIDENCE = 150
# Only a list that its authority signed is searched, at about a third of a second per MiB.
MAX_EVIDENCE_SIZE = 16 * 1024 * 1024

_Question = Callable[[Certificate, Certificate], Clean | Withdrawal]


def judge_revocation(
    path: tuple[Certificate, ...], evidence: RevocationEvidence, time: datetime, report: Report
) -> RevocationStatus:
    """What the evidence says about every certificate of `path` below the root, for a token made at `time`."""
    questions = [*_read_all(evidence.crls, _crl_question, report)]
    questions += _read_all(evidence.ocsp_responses, _ocsp_question, report)
    status: RevocationStatus = "GOOD-AT-GENTIME"
    for certificate, issuer in pairwise(path):
        answers = [answer for question in questions if (answer := _ask(question, certificate, issuer)) is not None]
        withdrawals = [answer for answer in answers if isinstance(answer, Withdrawal)]
        name = certificate.readable
        if any(withdrawal.voids(time) for withdrawal in withdrawals):
            report(codes.REVOKED, f"The certificate of {name} was revoked, and that voids this time-stamp.")
            return "REVOKED"
        if withdrawals:
            since = min(withdrawal.since for withdrawal in withdrawals)
            report(
                codes.REVOKED_LATER,
                f"The certificate of {name} was revoked at {since.isoformat()}, after this time-stamp and for a reason"
                " that leaves earlier ones valid.",
            )
        elif not any(isinstance(answer, Clean) and answer.covers(time, certificate) for answer in answers):
            report(
                codes.NO_REVOCATION_EVIDENCE,
                f"No evidence at hand shows that the certificate of {name} had not been revoked at the time stated.",
            )
            status = "NO-EVIDENCE"
    return status


def _read_all(items: Iterable[bytes], read: Callable[[bytes], _Question], report: Report) -> list[_Question]:
    questions = []
    size = 0
    for number, data in enumerate(items):
        size += len(data)
        if number == MAX_EVIDENCE or size > MAX_EVIDENCE_SIZE:
            report(codes.REVOCATION_UNUSABLE, "There is more revocation evidence than is read; the rest is ignored.")
            break
        try:
            questions.append(read(data))
        except (der.DerError, UnusableError) as error:
            report(codes.REVOCATION_UNUSABLE, f"A piece of revocation evidence cannot be used: {error}.")
    return questions


def _crl_question(data: bytes) -> _Question:
    crl: Crl = read_crl(data)
    return lambda certificate, issuer: ask_crl(crl, certificate, issuer)


def _ocsp_question(data: bytes) -> _Question:
    response: OcspResponse = read_ocsp(data)
    return lambda certificate, issuer: ask_ocsp(response, certificate, issuer)


def _ask(question: _Question, certificate: Certificate, issuer: Certificate) -> Clean | Withdrawal | None:
    # Most evidence is about other certificates; that it does not fit this one is nothing to report.
    try:
        return question(certificate, issuer)
    except (der.DerError, UnusableError):
        return None
