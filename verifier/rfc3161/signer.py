"""The signer's entry and certificate: which one it is, and what the signed attributes say about both."""

from collections.abc import Iterable
from hmac import compare_digest

from verifier.rfc3161 import codes, der
from verifier.rfc3161.algorithms import (
    NotAllowedError,
    SignatureScheme,
    digest_of,
    read_algorithm,
    read_algorithm_content,
    read_hash,
    read_scheme,
    verify_signature,
)
from verifier.rfc3161.certificate import Certificate
from verifier.rfc3161.codes import Broken
from verifier.rfc3161.ess import EssEntry
from verifier.rfc3161.names import DIRECTORY, GeneralName, same_general_name, same_name
from verifier.rfc3161.response import Report
from verifier.rfc3161.signed_data import TST_INFO, SignedData, SignerId, SignerInfo
from verifier.rfc3161.statement import Statement

_PKCS9 = "1.2.840.113549.1.9."
_CONTENT_TYPE = f"{_PKCS9}3"
_MESSAGE_DIGEST = f"{_PKCS9}4"
_ALGORITHM_PROTECTION = f"{_PKCS9}52"


def check_signer_info(signed: SignedData, report: Report) -> SignatureScheme:
    """Check the signer's entry against the message and return how it was signed; raises Broken."""
    signer = signed.signer
    # RFC 5652, 5.3: the version follows from how the signer is identified.
    expected = 1 if signer.signer_id.key_id is None else 3
    if signer.version != expected:
        report(codes.SIGNER_VERSION, f"The signer's entry has version {signer.version} instead of {expected}.")
    try:
        digest = read_hash(signer.digest_algorithm)
    except NotAllowedError as error:
        raise Broken(codes.DIGEST_NOT_ALLOWED, f"The signer's digest is not acceptable: {error}.") from error
    try:
        scheme = read_scheme(signer.signature_algorithm, digest)
    except (NotAllowedError, der.DerError) as error:
        raise Broken(codes.SIGNATURE_ALGORITHM, f"The signature is not acceptable: {error}.") from error
    if scheme.hash_name != digest:
        raise Broken(
            codes.ALGORITHMS_DISAGREE,
            f"The signature is made with {scheme.hash_name}, but the message is digested with {digest}.",
        )
    _check_content_type(signer)
    _check_message_digest(signer, digest, signed.content)
    _check_algorithm_protection(signer)
    return scheme


def _single(signer: SignerInfo, kind: str) -> der.Node | None:
    values = signer.attributes.get(kind, ())
    return values[0] if len(values) == 1 else None


def _check_content_type(signer: SignerInfo) -> None:
    value = _single(signer, _CONTENT_TYPE)
    try:
        right = value is not None and der.oid(value, "the content type") == TST_INFO
    except der.DerError:
        right = False
    if not right:
        raise Broken(
            codes.CONTENT_TYPE_ATTRIBUTE,
            "The signed attributes do not say, once, that a time-stamp statement is signed.",
        )


def _check_message_digest(signer: SignerInfo, digest: str, content: bytes) -> None:
    value = _single(signer, _MESSAGE_DIGEST)
    if value is None or not value.is_universal(der.OCTET_STRING):
        raise Broken(codes.MESSAGE_DIGEST_MISSING, "The signed attributes do not contain one digest of the statement.")
    if not compare_digest(value.content, digest_of(digest, content)):
        raise Broken(
            codes.MESSAGE_DIGEST_MISMATCH, "The statement is not the one that was signed: its digest is different."
        )


def _check_algorithm_protection(signer: SignerInfo) -> None:
    # RFC 6211: the algorithms repeated where the signature covers them.
    if _ALGORITHM_PROTECTION not in signer.attributes:
        return
    value = _single(signer, _ALGORITHM_PROTECTION)
    try:
        members = () if value is None else der.sequence(value, "the algorithm protection")
        right = (
            len(members) == 2  # noqa: PLR2004 - digest and signature algorithm
            and members[1].is_context(1)
            and read_algorithm(members[0], "a digest algorithm").same_as(signer.digest_algorithm)
            and read_algorithm_content(members[1], "a signature algorithm").same_as(signer.signature_algorithm)
        )
    except der.DerError:
        right = False
    if not right:
        raise Broken(
            codes.ALGORITHM_PROTECTION, "The algorithms named beside the signature are not those that were signed."
        )


def find_signer(
    signed: SignedData, hints: Iterable[Certificate], named: tuple[EssEntry, ...], report: Report
) -> Certificate:
    """The certificate that the signer identifier names, fixed from here on; raises Broken when there is none.

    Only the identifier counts, never the place in a list or what a certificate looks like (CVE-2026-39984). Should
    several different certificates answer to it, the signed attribute decides among them.
    """
    pool = (*signed.certificates, *signed.more_certificates, *hints)
    matches = list({c.encoded: c for c in pool if answers_to(c, signed.signer.signer_id)}.values())
    if not matches:
        raise Broken(
            codes.SIGNER_CERTIFICATE_MISSING,
            "The certificate of the signer is neither in the token nor among the certificates supplied, so the"
            " signature cannot be checked.",
        )
    if len(matches) > 1:
        report(codes.SIGNER_AMBIGUOUS, "Several different certificates answer to the signer's identifier.")
    return next((c for c in matches if all(entry.hashes(c) for entry in named)), matches[0])


def answers_to(certificate: Certificate, wanted: SignerId) -> bool:
    """Whether the signer identifier names this certificate."""
    if wanted.issuer is None:
        return certificate.key_id is not None and certificate.key_id == wanted.key_id
    return certificate.serial_number == wanted.serial_number and same_name(certificate.issuer, wanted.issuer)


def check_tsa_name(statement: Statement, certificate: Certificate, report: Report) -> None:
    """RFC 3161, 2.4.2: the authority's name in the statement is one of the certificate's subject names."""
    name = statement.tsa_name
    if name is None:
        return
    own = (GeneralName(DIRECTORY, certificate.subject), *certificate.alternative_names)
    if not any(same_general_name(name, candidate) for candidate in own):
        report(codes.TSA_NAME, "The authority named in the statement is not the one named in the signer's certificate.")


def check_signature(signed: SignedData, scheme: SignatureScheme, certificate: Certificate) -> None:
    """The signature over the signed attributes, with the certificate's key; raises Broken."""
    try:
        good = verify_signature(certificate.public_key, scheme, signed.signer.signature, signed.signer.signed_bytes)
    except (NotAllowedError, der.DerError) as error:
        raise Broken(codes.KEY_NOT_ALLOWED, f"The signer's key is not acceptable: {error}.") from error
    if not good:
        raise Broken(codes.SIGNATURE_INVALID, "The signature is not the signer's over this statement.")
