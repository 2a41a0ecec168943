"""OCSP responses (RFC 6960)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from verifier.rfc3161 import der
from verifier.rfc3161.algorithms import (
    HASH_OIDS,
    AlgorithmId,
    NotAllowedError,
    digest_of,
    read_algorithm,
    read_scheme,
    verify_signature,
)
from verifier.rfc3161.certificate import Certificate, certificate_from
from verifier.rfc3161.evidence import Clean, UnusableError, Withdrawal, check_evidence_signature
from verifier.rfc3161.extensions import DIGITAL_SIGNATURE, UNDERSTOOD, read_extensions
from verifier.rfc3161.names import Name, read_name, same_name

_BASIC = "1.3.6.1.5.5.7.48.1.1"
_OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
_ARCHIVE_CUTOFF = "1.3.6.1.5.5.7.48.1.6"
_WHAT = "the OCSP response"
_CERT_ID_FIELDS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class OcspResponse:
    """A parsed BasicOCSPResponse; its single answers are left as elements until one of them is asked for."""

    signed_part: bytes
    algorithm: AlgorithmId
    signature: bytes
    responder_name: Name | None
    responder_key_hash: bytes | None
    produced_at: datetime
    answers: tuple[der.Node, ...]
    certificates: tuple[Certificate, ...]


def read_ocsp(data: bytes) -> OcspResponse:
    """Read an OCSPResponse or the BasicOCSPResponse inside one; raises DerError or UnusableError."""
    outer = der.sequence(der.parse(data), _WHAT)
    if outer and outer[0].is_universal(der.ENUMERATED):
        if len(outer) != 2 or der.enumerated(outer[0], "its status") != 0:  # noqa: PLR2004 - status and content
            raise UnusableError("the responder gave no answer")
        holder = der.sequence(der.explicit(outer[1], 0, _WHAT), _WHAT)
        if len(holder) != 2 or der.oid(holder[0], "its type") != _BASIC:  # noqa: PLR2004 - type and content
            raise UnusableError("it is of an unknown type")
        outer = der.sequence(der.parse(der.octets(holder[1], _WHAT)), _WHAT)
    if len(outer) not in {3, 4}:
        raise der.DerError(f"{_WHAT} lacks a field")
    fields = list(der.sequence(outer[0], _WHAT))
    if fields and fields[0].is_context(0):
        fields.pop(0)
    if len(fields) not in {3, 4}:
        raise der.DerError(f"{_WHAT} lacks a field")
    _refuse_critical(fields[3:])
    by_name = fields[0].is_context(1)
    responder = der.explicit(fields[0], 1 if by_name else 2, "its responder")
    return OcspResponse(
        signed_part=outer[0].encoded,
        algorithm=read_algorithm(outer[1], "its signature algorithm"),
        signature=der.bit_string(outer[2], "its signature"),
        responder_name=read_name(responder, "its responder") if by_name else None,
        responder_key_hash=None if by_name else der.octets(responder, "its responder"),
        produced_at=der.generalized_time(fields[1], "its date"),
        answers=der.sequence(fields[2], _WHAT),
        certificates=tuple(_certificates(outer[3:])),
    )


def _certificates(holders: tuple[der.Node, ...]) -> Iterator[Certificate]:
    for holder in holders:
        for node in der.sequence(der.explicit(holder, 0, _WHAT), _WHAT):
            yield certificate_from(node)


def _refuse_critical(holders: list[der.Node]) -> None:
    for holder in holders:
        extensions = read_extensions(der.explicit(holder, 1, _WHAT), _WHAT)
        if any(critical for critical, _ in extensions.values()):
            raise UnusableError("it has a critical extension that is not understood here")


def ask_ocsp(response: OcspResponse, certificate: Certificate, issuer: Certificate) -> Clean | Withdrawal:
    """What the response says about `certificate`, issued by `issuer`; raises UnusableError or DerError."""
    for answer in response.answers:
        fields = list(der.sequence(answer, _WHAT))
        if len(fields) < 3:  # noqa: PLR2004 - certificate, status, date
            raise der.DerError(f"{_WHAT} has a malformed answer")
        if _is_about(fields[0], certificate, issuer):
            responder = _responder(response, issuer)
            check_evidence_signature(responder.public_key, response.algorithm, response.signature, response.signed_part)
            return _read_answer(fields[1:])
    raise UnusableError("it is about another certificate")


def _is_about(node: der.Node, certificate: Certificate, issuer: Certificate) -> bool:
    members = der.sequence(node, "its certificate")
    if len(members) != _CERT_ID_FIELDS:
        raise der.DerError("its certificate is malformed")
    # The hashes only say whose certificate is meant, so SHA-1, which everybody uses here, does no harm.
    hash_name = HASH_OIDS.get(read_algorithm(members[0], "its hash").oid)
    return (
        hash_name is not None
        and der.integer(members[3], "its serial number") == certificate.serial_number
        and der.octets(members[1], "its name hash") == digest_of(hash_name, issuer.subject_encoded)
        and der.octets(members[2], "its key hash") == digest_of(hash_name, _key_bits(issuer))
    )


def _key_bits(certificate: Certificate) -> bytes:
    return der.bit_string(certificate.public_key.children[1], "the public key")


def _responder(response: OcspResponse, issuer: Certificate) -> Certificate:
    """RFC 6960, 4.2.2.2: the issuer itself, or somebody to whom the issuer itself gave that purpose."""
    if _is_responder(response, issuer):
        return issuer
    for candidate in response.certificates:
        if _is_responder(response, candidate) and _is_delegate(candidate, issuer, response.produced_at):
            return candidate
    raise UnusableError("its responder is not authorised by the issuer")


def _is_responder(response: OcspResponse, certificate: Certificate) -> bool:
    if response.responder_name is not None:
        return same_name(response.responder_name, certificate.subject)
    return response.responder_key_hash == digest_of("sha1", _key_bits(certificate))


def _is_delegate(candidate: Certificate, issuer: Certificate, when: datetime) -> bool:
    if (
        not same_name(candidate.issuer, issuer.subject)
        or _OCSP_SIGNING not in (candidate.purposes or ())
        or not candidate.not_before <= when <= candidate.not_after
        or (candidate.key_usage is not None and DIGITAL_SIGNATURE not in candidate.key_usage)
        or candidate.critical - UNDERSTOOD
    ):
        return False
    try:
        scheme = read_scheme(candidate.signature_algorithm)
        return scheme.hash_name != "sha1" and verify_signature(
            issuer.public_key, scheme, candidate.signature, candidate.signed_part
        )
    except (NotAllowedError, der.DerError):
        return False


def _read_answer(fields: list[der.Node]) -> Clean | Withdrawal:
    status = fields[0]
    this_update = der.generalized_time(fields[1], "its date")
    next_update, cutoff = None, None
    for member in fields[2:]:
        if member.is_context(0):
            next_update = der.generalized_time(der.explicit(member, 0, "its next date"), "its next date")
        elif member.is_context(1):
            extensions = read_extensions(der.explicit(member, 1, _WHAT), _WHAT)
            if any(critical for critical, _ in extensions.values()):
                raise UnusableError("it has a critical extension that is not understood here")
            if _ARCHIVE_CUTOFF in extensions:
                cutoff = der.generalized_time(der.parse(extensions[_ARCHIVE_CUTOFF][1]), "its archive cutoff")
        else:
            raise der.DerError(f"{_WHAT} has a malformed answer")
    if status.is_context(0):
        return Clean(this_update=this_update, next_update=next_update, covers_expired_since=cutoff)
    if status.is_context(1):
        if not status.children:
            raise der.DerError(f"{_WHAT} has a malformed answer")
        since = der.generalized_time(status.children[0], "its revocation date")
        reason = (
            der.enumerated(der.explicit(status.children[1], 0, "its reason"), "its reason")
            if status.children[1:]
            else None
        )
        return Withdrawal(since=since, reason=reason)
    raise UnusableError("the responder does not know the certificate")
