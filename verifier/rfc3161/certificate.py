"""X.509 certificates (RFC 5280, section 4), read strictly and completely before anything is decided on them."""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime

from verifier.rfc3161 import der
from verifier.rfc3161.algorithms import AlgorithmId, read_algorithm
from verifier.rfc3161.names import (
    GeneralName,
    Name,
    NameConstraints,
    read_general_names,
    read_name,
    read_name_constraints,
)

# Certificates are 1 to 3 KiB; ones with long policy texts or many names stay far below this.
MAX_CERTIFICATE_SIZE = 64 * 1024
# The whole store of a Linux distribution is about 250 KiB of PEM.
MAX_CERTIFICATE_FILE_SIZE = 4 * 1024 * 1024
MAX_CERTIFICATES_IN_FILE = 1000
# RFC 5280, 4.1.2.2 says 20 octets; some old authorities used a few more.
MAX_SERIAL_OCTETS = 64

_CE = "2.5.29."
SUBJECT_KEY_ID = f"{_CE}14"
KEY_USAGE = f"{_CE}15"
PRIVATE_KEY_PERIOD = f"{_CE}16"
SUBJECT_ALT_NAME = f"{_CE}17"
BASIC_CONSTRAINTS = f"{_CE}19"
NAME_CONSTRAINTS = f"{_CE}30"
CRL_DISTRIBUTION_POINTS = f"{_CE}31"
CERTIFICATE_POLICIES = f"{_CE}32"
POLICY_MAPPINGS = f"{_CE}33"
AUTHORITY_KEY_ID = f"{_CE}35"
POLICY_CONSTRAINTS = f"{_CE}36"
EXTENDED_KEY_USAGE = f"{_CE}37"
INHIBIT_ANY_POLICY = f"{_CE}54"

# What may be marked critical here, because it is obeyed. CRL distribution points only say where evidence could be
# fetched, and nothing is fetched offline; the evidence that was kept is checked whoever published it.
UNDERSTOOD = frozenset(
    {
        KEY_USAGE,
        PRIVATE_KEY_PERIOD,
        SUBJECT_ALT_NAME,
        BASIC_CONSTRAINTS,
        NAME_CONSTRAINTS,
        CRL_DISTRIBUTION_POINTS,
        CERTIFICATE_POLICIES,
        POLICY_MAPPINGS,
        POLICY_CONSTRAINTS,
        EXTENDED_KEY_USAGE,
        INHIBIT_ANY_POLICY,
    }
)

# Bits of KeyUsage
DIGITAL_SIGNATURE, NON_REPUDIATION, KEY_CERT_SIGN, CRL_SIGN = 0, 1, 5, 6


@dataclass(frozen=True, slots=True)
class Policies:
    """The four extensions about certificate policies; None where an extension is absent."""

    asserted: frozenset[str] | None = None
    mappings: tuple[tuple[str, str], ...] = ()
    require_explicit: int | None = None
    inhibit_mapping: int | None = None
    inhibit_any: int | None = None


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
    if not encoded:
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
    if len(times) != 2 or len(serial.content) > MAX_SERIAL_OCTETS:  # noqa: PLR2004 - notBefore, notAfter
        raise der.DerError(f"{what} has a malformed validity or serial number")
    extensions = _read_extensions(rest, version)
    is_ca, path_length = _basic_constraints(extensions)
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
        key_usage=_key_usage(extensions),
        purposes=_purposes(extensions),
        key_id=_key_id(extensions),
        authority_key_id=_authority_key_id(extensions),
        alternative_names=_alternative_names(extensions),
        name_constraints=_name_constraints(extensions),
        crl_points=_crl_points(extensions),
        key_period=_key_period(extensions),
        policies=_policies(extensions),
    )


Extensions = dict[str, tuple[bool, bytes]]


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


def read_extensions(node: der.Node, what: str) -> Extensions:
    """Read an Extensions sequence into {oid: (critical, value)}; raises DerError, also for repeated ones."""
    result: Extensions = {}
    for member in der.sequence(node, what):
        parts = der.sequence(member, what)
        if len(parts) not in {2, 3}:
            raise der.DerError(f"{what} are malformed")
        oid = der.oid(parts[0], what)
        if oid in result:
            raise der.DerError(f"{what} contain {oid} twice")
        critical = der.boolean(parts[1], what) if len(parts) == 3 else False  # noqa: PLR2004 - critical given
        result[oid] = (critical, der.octets(parts[-1], what))
    return result


def _parsed(extensions: Extensions, oid: str) -> der.Node | None:
    return der.parse(extensions[oid][1]) if oid in extensions else None


def _basic_constraints(extensions: Extensions) -> tuple[bool | None, int | None]:
    node = _parsed(extensions, BASIC_CONSTRAINTS)
    if node is None:
        return None, None
    what = "the basic constraints"
    members = list(der.sequence(node, what))
    is_ca = der.boolean(members.pop(0), what) if members and members[0].is_universal(der.BOOLEAN) else False
    length = der.integer(members.pop(0), what) if members else None
    if members or (length is not None and length < 0):
        raise der.DerError(f"{what} are malformed")
    return is_ca, length


def _key_usage(extensions: Extensions) -> frozenset[int] | None:
    node = _parsed(extensions, KEY_USAGE)
    return None if node is None else der.named_bits(node, "the key usage")


def _purposes(extensions: Extensions) -> frozenset[str] | None:
    node = _parsed(extensions, EXTENDED_KEY_USAGE)
    if node is None:
        return None
    what = "the extended key usage"
    return frozenset(der.oid(member, what) for member in der.sequence(node, what))


def _key_id(extensions: Extensions) -> bytes | None:
    node = _parsed(extensions, SUBJECT_KEY_ID)
    return None if node is None else der.octets(node, "the subject key identifier")


def _authority_key_id(extensions: Extensions) -> bytes | None:
    node = _parsed(extensions, AUTHORITY_KEY_ID)
    if node is None:
        return None
    members = der.sequence(node, "the authority key identifier")
    return next((member.content for member in members if member.is_context(0)), None)


def _alternative_names(extensions: Extensions) -> tuple[GeneralName, ...]:
    what = "the alternative names"
    node = _parsed(extensions, SUBJECT_ALT_NAME)
    return () if node is None else read_general_names(der.sequence(node, what), what)


def _name_constraints(extensions: Extensions) -> NameConstraints | None:
    return read_name_constraints(extensions[NAME_CONSTRAINTS][1]) if NAME_CONSTRAINTS in extensions else None


def _crl_points(extensions: Extensions) -> frozenset[bytes]:
    node = _parsed(extensions, CRL_DISTRIBUTION_POINTS)
    if node is None:
        return frozenset()
    what = "the CRL distribution points"
    points = [part for point in der.sequence(node, what) for part in der.sequence(point, what) if part.is_context(0)]
    return frozenset().union(*(full_names(point) for point in points))


def full_names(node: der.Node) -> frozenset[bytes]:
    """The encoded general names in a tagged DistributionPointName (RFC 5280, 4.2.1.13); none for a relative one."""
    choice = der.explicit(node, 0, "the distribution point")
    return frozenset(name.encoded for name in choice.children) if choice.is_context(0) else frozenset()


def _key_period(extensions: Extensions) -> tuple[datetime | None, datetime | None]:
    node = _parsed(extensions, PRIVATE_KEY_PERIOD)
    if node is None:
        return None, None
    what = "the private key usage period"
    times: dict[int, datetime] = {}
    for member in der.sequence(node, what):
        if member.tag_class != der.CONTEXT or member.constructed or member.number not in {0, 1}:
            raise der.DerError(f"{what} is malformed")
        times[member.number] = der.generalized_time_content(member.content, what)
    return times.get(0), times.get(1)


def _policies(extensions: Extensions) -> Policies:
    what = "the certificate policies"
    asserted = _parsed(extensions, CERTIFICATE_POLICIES)
    mappings = _parsed(extensions, POLICY_MAPPINGS)
    constraints = _parsed(extensions, POLICY_CONSTRAINTS)
    inhibit_any = _parsed(extensions, INHIBIT_ANY_POLICY)
    skips = {}
    for member in der.sequence(constraints, what) if constraints else ():
        if member.tag_class != der.CONTEXT or member.constructed or member.number not in {0, 1}:
            raise der.DerError("the policy constraints are malformed")
        skips[member.number] = der.integer_content(member.content, what)
    return Policies(
        asserted=None if asserted is None else frozenset(_first_oid(m, what) for m in der.sequence(asserted, what)),
        mappings=tuple(_mapping(m, what) for m in der.sequence(mappings, what)) if mappings else (),
        require_explicit=skips.get(0),
        inhibit_mapping=skips.get(1),
        inhibit_any=None if inhibit_any is None else der.integer(inhibit_any, what),
    )


def _first_oid(node: der.Node, what: str) -> str:
    members = der.sequence(node, what)
    if not members:
        raise der.DerError(f"{what} are malformed")
    return der.oid(members[0], what)


def _mapping(node: der.Node, what: str) -> tuple[str, str]:
    members = der.sequence(node, what)
    if len(members) != 2:  # noqa: PLR2004 - issuer's policy, subject's policy
        raise der.DerError(f"{what} are malformed")
    return der.oid(members[0], what), der.oid(members[1], what)
