"""The signing-certificate attributes (RFC 2634, 5.4; RFC 5035, 3): which certificate the signer says it used.

Without them, another certificate for the same key could be put in the place of the signer's.
"""

from dataclasses import dataclass
from hmac import compare_digest

from verifier.rfc3161 import codes, der
from verifier.rfc3161.algorithms import NotAllowedError, digest_of, read_algorithm, read_hash
from verifier.rfc3161.certificate import Certificate
from verifier.rfc3161.codes import Broken
from verifier.rfc3161.names import Name, read_general_names, same_name
from verifier.rfc3161.response import Report
from verifier.rfc3161.signed_data import SignerInfo

_SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"


@dataclass(frozen=True, slots=True)
class EssEntry:
    """The first, and only binding, entry of one attribute; `issuers` and `serial_number` are None when not given."""

    hash_name: str
    certificate_hash: bytes
    issuers: tuple[Name, ...] | None
    serial_number: int | None

    def hashes(self, certificate: Certificate) -> bool:
        """Whether the entry's hash is that of `certificate`."""
        return compare_digest(self.certificate_hash, digest_of(self.hash_name, certificate.encoded))


def read_ess(signer: SignerInfo, report: Report) -> tuple[EssEntry, ...]:
    """The entry of each signing-certificate attribute; raises Broken when there is none or one is malformed."""
    legacy = signer.attributes.get(_SIGNING_CERTIFICATE)
    current = signer.attributes.get(_SIGNING_CERTIFICATE_V2)
    if legacy is None and current is None:
        raise Broken(codes.ESS_MISSING, "The signed attributes do not say which certificate signed (RFC 5035).")
    try:
        entries = [_read_entry(values, legacy=values is legacy) for values in (legacy, current) if values is not None]
    except der.DerError as error:
        raise Broken(
            codes.ESS_MALFORMED, f"The attribute that names the signing certificate is bad: {error}."
        ) from error
    except NotAllowedError as error:
        raise Broken(codes.ESS_HASH, f"The attribute that names the signing certificate is weak: {error}.") from error
    if current is None:
        report(
            codes.ESS_LEGACY,
            "The signing certificate is named in the older way, by a SHA-1 hash (ESSCertID); that is allowed by"
            " RFC 5816 and the signature itself does not depend on it.",
        )
    return tuple(entries)


def _read_entry(values: tuple[der.Node, ...], *, legacy: bool) -> EssEntry:
    what = "the signing certificate"
    if len(values) != 1:
        raise der.DerError("it does not have exactly one value")
    members = der.sequence(values[0], what)
    certificates = der.sequence(members[0], what) if members else ()
    if not certificates or len(members) > 2:  # noqa: PLR2004 - certificates and policies
        raise der.DerError("it names no certificate")
    fields = list(der.sequence(certificates[0], what))
    # RFC 5035, 4: the hash algorithm of the second version is SHA-256 unless stated.
    hash_name = "sha1" if legacy else "sha256"
    if not legacy and fields and fields[0].is_universal(der.SEQUENCE):
        hash_name = read_hash(read_algorithm(fields.pop(0), what))
    if not fields or len(fields) > 2:  # noqa: PLR2004 - hash and issuer
        raise der.DerError("its entry is malformed")
    certificate_hash = der.octets(fields.pop(0), what)
    if not fields:
        return EssEntry(hash_name, certificate_hash, None, None)
    issuer_serial = der.sequence(fields[0], what)
    if len(issuer_serial) != 2:  # noqa: PLR2004 - issuer and serial number
        raise der.DerError("its entry is malformed")
    names = read_general_names(der.sequence(issuer_serial[0], what), what)
    issuers = tuple(name.value for name in names if isinstance(name.value, Name))
    return EssEntry(hash_name, certificate_hash, issuers, der.integer(issuer_serial[1], what))


def check_ess(entries: tuple[EssEntry, ...], certificate: Certificate) -> None:
    """Hold the signer's certificate against every entry; raises Broken."""
    for entry in entries:
        if not entry.hashes(certificate):
            raise Broken(
                codes.ESS_MISMATCH, "The certificate supplied for the signer is not the one that the signature names."
            )
        if entry.issuers is None:
            continue
        if entry.serial_number != certificate.serial_number or not any(
            same_name(issuer, certificate.issuer) for issuer in entry.issuers
        ):
            raise Broken(
                codes.ESS_ISSUER,
                "The issuer or serial number that the signature names is not that of the signer's certificate.",
            )
