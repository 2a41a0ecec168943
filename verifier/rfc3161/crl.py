"""Certificate revocation lists (RFC 5280, section 5)."""

from dataclasses import dataclass
from datetime import datetime

from verifier.rfc3161 import der
from verifier.rfc3161.algorithms import AlgorithmId, read_algorithm
from verifier.rfc3161.certificate import Certificate
from verifier.rfc3161.evidence import REMOVED_FROM_CRL, Clean, UnusableError, Withdrawal, check_evidence_signature
from verifier.rfc3161.extensions import CRL_SIGN, Extensions, full_names, read_extensions
from verifier.rfc3161.names import Name, read_name, same_name

# Lists of time-stamping authorities are a few KiB; a busy CA's list of 50,000 entries is about 2 MiB.
MAX_CRL_SIZE = 4 * 1024 * 1024

# The list, its three parts, and the fields of the signed part: entries stay closed.
_HEADER_LEVELS = 3

_CE = "2.5.29."
_REASON_CODE = f"{_CE}21"
_INVALIDITY_DATE = f"{_CE}24"
_DELTA = f"{_CE}27"
_ISSUING_POINT = f"{_CE}28"
_EXPIRED_ON_CRL = f"{_CE}60"
_WHAT = "the revocation list"


@dataclass(frozen=True, kw_only=True, slots=True)
class Crl:
    """A parsed list; its `entries` are not opened until one of them is asked for."""

    signed_part: bytes
    algorithm: AlgorithmId
    signature: bytes
    issuer: Name
    this_update: datetime
    next_update: datetime | None
    entries: der.Node | None
    extensions: Extensions


def read_crl(data: bytes) -> Crl:
    """Read a list; raises DerError."""
    outer = der.sequence(der.parse(data, max_size=MAX_CRL_SIZE, levels=_HEADER_LEVELS), _WHAT)
    if len(outer) != 3:  # noqa: PLR2004 - RFC 5280, 5.1: signed part, algorithm, signature
        raise der.DerError(f"{_WHAT} does not have three parts")
    fields = list(der.sequence(outer[0], _WHAT))
    if fields and fields[0].is_universal(der.INTEGER) and der.integer(fields.pop(0), "its version") != 1:
        raise der.DerError(f"{_WHAT} has an unknown version")
    if len(fields) < 3:  # noqa: PLR2004 - the mandatory fields
        raise der.DerError(f"{_WHAT} lacks a field")
    algorithm = read_algorithm(der.opened(outer[1]), "its signature algorithm")
    if not algorithm.same_as(read_algorithm(der.opened(fields.pop(0)), "its inner signature algorithm")):
        raise der.DerError(f"{_WHAT} names two different signature algorithms")
    issuer = read_name(der.opened(fields.pop(0)), "its issuer's name")
    this_update = der.certificate_time(fields.pop(0), "its date")
    next_update = None
    if fields and fields[0].number in {der.UTC_TIME, der.GENERALIZED_TIME}:
        next_update = der.certificate_time(fields.pop(0), "its next date")
    entries = fields.pop(0) if fields and fields[0].is_universal(der.SEQUENCE) else None
    extensions: Extensions = {}
    if fields and fields[0].is_context(0):
        extensions = read_extensions(der.explicit(der.opened(fields.pop(0)), 0, _WHAT), _WHAT)
    if fields:
        raise der.DerError(f"{_WHAT} has fields that do not belong there")
    return Crl(
        signed_part=outer[0].encoded,
        algorithm=algorithm,
        signature=der.bit_string(outer[2], "its signature"),
        issuer=issuer,
        this_update=this_update,
        next_update=next_update,
        entries=entries,
        extensions=extensions,
    )


def ask_crl(crl: Crl, certificate: Certificate, issuer: Certificate) -> Clean | Withdrawal:
    """What the list says about `certificate`, issued by `issuer`; raises UnusableError or DerError."""
    if not same_name(crl.issuer, issuer.subject):
        raise UnusableError("it is the list of another authority")
    if issuer.key_usage is not None and CRL_SIGN not in issuer.key_usage:
        raise UnusableError("its authority's key is not meant for signing lists")
    check_evidence_signature(issuer.public_key, crl.algorithm, crl.signature, crl.signed_part)
    partial = _is_partial(crl.extensions, certificate)
    withdrawal = _find_entry(crl.entries, certificate.serial_number) if crl.entries else None
    if withdrawal is not None:
        return withdrawal
    if partial:
        raise UnusableError("it does not cover this certificate")
    expired = crl.extensions.get(_EXPIRED_ON_CRL)
    since = der.generalized_time(der.parse(expired[1]), "its coverage") if expired else None
    return Clean(this_update=crl.this_update, next_update=crl.next_update, covers_expired_since=since)


def _find_entry(entries: der.Node, serial_number: int) -> Withdrawal | None:
    for entry in der.members(entries, _WHAT):
        fields = der.sequence(entry, _WHAT)
        if len(fields) not in {2, 3}:
            raise der.DerError(f"{_WHAT} has a malformed entry")
        if der.integer(fields[0], "a serial number") != serial_number:
            continue
        since = der.certificate_time(fields[1], "a revocation date")
        reason = None
        for oid, (critical, value) in (read_extensions(fields[2], _WHAT) if fields[2:] else {}).items():
            if oid == _REASON_CODE:
                reason = der.enumerated(der.parse(value), "a reason")
            elif oid == _INVALIDITY_DATE:
                since = min(since, der.generalized_time(der.parse(value), "a date of invalidity"))
            elif critical:
                # Among them certificateIssuer: the entry of an indirect list may be about somebody else's certificate.
                raise UnusableError("it has a critical entry extension that is not understood here")
        return None if reason == REMOVED_FROM_CRL else Withdrawal(since=since, reason=reason)
    return None


def _is_partial(extensions: Extensions, certificate: Certificate) -> bool:
    """Whether the list need not contain `certificate` even if that is revoked; raises UnusableError."""
    for oid, (critical, _) in extensions.items():
        if critical and oid not in {_DELTA, _ISSUING_POINT}:
            raise UnusableError("it has a critical extension that is not understood here")
    partial = _DELTA in extensions
    if _ISSUING_POINT in extensions:
        partial = _point_excludes(der.parse(extensions[_ISSUING_POINT][1]), certificate) or partial
    return partial


def _point_excludes(point: der.Node, certificate: Certificate) -> bool:
    # RFC 5280, 5.2.5: [1] only end entities, [2] only authorities, [3] some reasons, [4] indirect, [5] attributes.
    excluded = False
    for member in der.sequence(point, "its issuing point"):
        if member.is_context(0):
            excluded = excluded or not full_names(member) & certificate.crl_points
        elif member.is_context(4) and der.boolean_content(member.content, "its indirect flag"):
            raise UnusableError("it is an indirect list")
        elif member.is_context(1):
            excluded = excluded or bool(certificate.is_ca)
        elif member.is_context(2):
            excluded = excluded or not certificate.is_ca
        else:
            excluded = True
    return excluded
