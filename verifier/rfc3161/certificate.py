"""X.509 certificates (RFC 5280, section 4), read strictly and completely before anything is decided on them."""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime

from verifier.rfc3161 import der
from verifier.rfc3161 import extensions as ext
from verifier.rfc3161.algorithms import AlgorithmId, read_algorithm
from verifier.rfc3161.extensions import Extensions, Policies, read_extensions
from verifier.rfc3161.names import GeneralName, Name, NameConstraints, read_name

# Certificates are 1 to 3 KiB; ones with long policy texts or many names stay far below this.
MAX_CERTIFICATE_SIZE = 64 * 1024
# The whole store of a Linux distribution is about 250 KiB of PEM.
MAX_CERTIFICATE_FILE_SIZE = 4 * 1024 * 1024
MAX_CERTIFICATES_IN_FILE = 1000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Certificate:
    """One certificate. Fields of absent extensions are None (or empty); `critical` are the OIDs marked critical.

    `public_key` is the SubjectPublicKeyInfo; `crl_points` the encoded names of where its revocation list is published.
    """

    encoded: bytes
    signed_part: bytes
    version: int
    serial_number: int
    issuer: Name
    subject: Name
    subject_encoded: bytes
    not_before: datetime
    not_after: datetime
    public_key: der.Node
    signature_algorithm: AlgorithmId
    signature: bytes
    extensions: frozenset[str]
    critical: frozenset[str]
    is_ca: bool | None
    path_length: int | None
    key_usage: frozenset[int] | None
    purposes: frozenset[str] | None
    key_id: bytes | None
    authority_key_id: bytes | None
    alternative_names: tuple[GeneralName, ...]
    name_constraints: NameConstraints | None
    crl_points: frozenset[bytes]
    key_period: tuple[datetime | None, datetime | None]
    policies: Policies

    @property
    def readable(self) -> str:
        """The subject for people."""
        return self.subject.readable or f"serial number {self.serial_number}"


def load_certificates(data: bytes) -> tuple[bytes, ...]:
    """The certificates (DER) in a file of one DER or any number of PEM certificates.

    Raises ValueError, with a text that says which one and why, when one cannot be read or there is none.
    """
    if len(data) > MAX_CERTIFICATE_FILE_SIZE:
        raise ValueError(f"the file is larger than {MAX_CERTIFICATE_FILE_SIZE} bytes")
    encoded = _unwrap_pem(data) if b"-----BEGIN" in data else (data,)
    if not encoded or not data.strip():
        raise ValueError("the file contains no certificate")
    if len(encoded) > MAX_CERTIFICATES_IN_FILE:
        raise ValueError(f"the file contains more than {MAX_CERTIFICATES_IN_FILE} certificates")
    for number, certificate in enumerate(encoded, start=1):
        try:
            read_certificate(certificate)
        except der.DerError as error:
            raise ValueError(f"certificate {number} in the file cannot be read: {error}") from error
    return encoded


_PEM = re.compile(
    rb"-----BEGIN (?:X509 )?CERTIFICATE-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*?)"
    rb"-----END (?:X509 )?CERTIFICATE-----"
)


def _unwrap_pem(data: bytes) -> tuple[bytes, ...]:
    found = _PEM.findall(data)
    if len(found) != data.count(b"-----BEGIN"):
        raise ValueError("the file has PEM blocks that are not certificates, or damaged ones")
    try:
        return tuple(base64.b64decode(b"".join(block.split()), validate=True) for block in found)
    except binascii.Error as error:
        raise ValueError("a PEM block in the file is not valid base64") from error


def read_certificate(data: bytes) -> Certificate:
    """Read one certificate; raises DerError when it is not strict DER or not what RFC 5280 describes."""
    return certificate_from(der.parse(data, max_size=MAX_CERTIFICATE_SIZE))


def certificate_from(node: der.Node) -> Certificate:
    """Read a certificate that was already parsed; raises DerError."""
    what = "the certificate"
    outer = der.sequence(node, what)
    if len(outer) != 3:  # noqa: PLR2004 - RFC 5280, 4.1: signed part, algorithm, signature
        raise der.DerError(f"{what} does not have three parts")
    fields = list(der.sequence(outer[0], what))
    version = 1
    if fields and fields[0].is_context(0):
        version = der.integer(der.explicit(fields.pop(0), 0, what), "the certificate's version") + 1
    if len(fields) < 6 or version not in {1, 2, 3}:  # noqa: PLR2004 - RFC 5280, 4.1: the mandatory fields
        raise der.DerError(f"{what} lacks a field or has an unknown version")
    serial, algorithm, issuer, validity, subject, public_key, *rest = fields
    outer_algorithm = read_algorithm(outer[1], "the certificate's signature algorithm")
    # RFC 5280, 4.1.1.2: the algorithm inside the signed part must be the one outside.
    if not outer_algorithm.same_as(read_algorithm(algorithm, "the certificate's inner signature algorithm")):
        raise der.DerError(f"{what} names two different signature algorithms")
    times = der.sequence(validity, "the validity")
    if len(times) != 2:  # noqa: PLR2004 - notBefore, notAfter
        raise der.DerError(f"{what} has a malformed validity")
    extensions = _read_extensions(rest, version)
    is_ca, path_length = ext.read_basic_constraints(extensions)
    return Certificate(
        encoded=node.encoded,
        signed_part=outer[0].encoded,
        version=version,
        serial_number=der.integer(serial, "the serial number"),
        issuer=read_name(issuer, "the issuer's name"),
        subject=read_name(subject, "the subject's name"),
        subject_encoded=subject.encoded,
        not_before=der.certificate_time(times[0], "the start of validity"),
        not_after=der.certificate_time(times[1], "the end of validity"),
        public_key=public_key,
        signature_algorithm=outer_algorithm,
        signature=der.bit_string(outer[2], "the certificate's signature"),
        extensions=frozenset(extensions),
        critical=frozenset(oid for oid, (critical, _) in extensions.items() if critical),
        is_ca=is_ca,
        path_length=path_length,
        key_usage=ext.read_key_usage(extensions),
        purposes=ext.read_purposes(extensions),
        key_id=ext.read_key_id(extensions),
        authority_key_id=ext.read_authority_key_id(extensions),
        alternative_names=ext.read_alternative_names(extensions),
        name_constraints=ext.read_name_constraints(extensions),
        crl_points=ext.read_crl_points(extensions),
        key_period=ext.read_key_period(extensions),
        policies=ext.read_policies(extensions),
    )


def _read_extensions(rest: list[der.Node], version: int) -> Extensions:
    what = "the certificate's extensions"
    numbers = [node.number for node in rest if node.tag_class == der.CONTEXT]
    if len(numbers) != len(rest) or numbers != sorted(set(numbers)) or not set(numbers) <= {1, 2, 3}:
        raise der.DerError("the certificate has fields that do not belong there")
    if not rest or rest[-1].number != 3:  # noqa: PLR2004 - RFC 5280, 4.1: [3] extensions
        return {}
    if version != 3:  # noqa: PLR2004 - RFC 5280, 4.1.2.1
        raise der.DerError("a certificate with extensions must have version 3")
    return read_extensions(der.explicit(rest[-1], 3, what), what)
