"""The signed message (CMS SignedData, RFC 5652, section 5) that carries the authority's statement."""

from collections.abc import Iterator
from dataclasses import dataclass

from verifier.rfc3161 import codes, der
from verifier.rfc3161.algorithms import AlgorithmId, read_algorithm
from verifier.rfc3161.certificate import Certificate, certificate_from
from verifier.rfc3161.codes import Broken
from verifier.rfc3161.names import Name, read_name
from verifier.rfc3161.response import Report
from verifier.rfc3161.results import RevocationEvidence

_PKCS9 = "1.2.840.113549.1.9."
SIGNED_DATA = "1.2.840.113549.1.7.2"
TST_INFO = f"{_PKCS9}16.1.4"

_CERTIFICATE_VALUES = f"{_PKCS9}16.2.23"
_REVOCATION_VALUES = f"{_PKCS9}16.2.24"
_ADOBE_REVOCATION = "1.2.840.113583.1.1.8"
_OCSP_IN_CMS = "1.3.6.1.5.5.7.16.2"


@dataclass(frozen=True, slots=True)
class SignerId:
    """What names the signer's certificate: issuer and serial number, or a subject key identifier."""

    issuer: Name | None
    serial_number: int | None
    key_id: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SignerInfo:
    """The one SignerInfo. `attributes` are the signed ones by type; `signed_bytes` is what was signed."""

    version: int
    signer_id: SignerId
    digest_algorithm: AlgorithmId
    signature_algorithm: AlgorithmId
    attributes: dict[str, tuple[der.Node, ...]]
    signed_bytes: bytes
    signature: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedData:
    """A parsed token: the statement's octets as received, its signer, and hints that nobody vouches for."""

    content: bytes
    signer: SignerInfo
    certificates: tuple[Certificate, ...]
    more_certificates: tuple[Certificate, ...]
    evidence: RevocationEvidence


def read_signed_data(token: der.Node, report: Report) -> SignedData:
    """Read the ContentInfo and what is in it; raises Broken."""
    try:
        return _parse_signed_data(_unwrap(token), report)
    except der.DerError as error:
        raise Broken(codes.SIGNED_DATA_MALFORMED, f"The signed message cannot be read: {error}.") from error


def _unwrap(token: der.Node) -> list[der.Node]:
    outer = der.sequence(token, "the token")
    if len(outer) != 2 or der.oid(outer[0], "the token's type") != SIGNED_DATA:  # noqa: PLR2004 - type, content
        raise Broken(codes.NOT_SIGNED_DATA, "The token is not a signed message (CMS SignedData).")
    fields = der.sequence(der.explicit(outer[1], 0, "the token's content"), "the signed message")
    if len(fields) < 4:  # noqa: PLR2004 - RFC 5652, 5.1: the mandatory fields
        raise der.DerError("the signed message lacks a field")
    return list(fields)


def _parse_signed_data(fields: list[der.Node], report: Report) -> SignedData:
    version = der.integer(fields.pop(0), "the signed message's version")
    digests = [read_algorithm(node, "a digest algorithm") for node in der.set_of(fields.pop(0), "the digests")]
    content = _read_content(fields.pop(0))
    certificate_nodes = _implicit_set(fields.pop(0)) if fields[0].is_context(0) else ()
    revocation_nodes = _implicit_set(fields.pop(0)) if fields and fields[0].is_context(1) else ()
    if len(fields) != 1:
        raise der.DerError("the signed message has fields that do not belong there")
    signers = der.set_of(fields[0], "the set of signers")
    if len(signers) != 1:
        raise Broken(codes.SIGNER_COUNT, f"The token has {len(signers)} signers; it must have exactly one.")
    signer, unsigned = _read_signer(signers[0])
    if version not in {3, _version(certificate_nodes, revocation_nodes)}:
        report(
            codes.SIGNED_DATA_VERSION, f"The signed message has a version, {version}, that does not fit its content."
        )
    if not any(algorithm.same_as(signer.digest_algorithm) for algorithm in digests):
        report(codes.DIGEST_UNLISTED, "The signer's digest algorithm is not in the message's list of digests.")
    return SignedData(
        content=content,
        signer=signer,
        certificates=_read_certificates(certificate_nodes, report),
        more_certificates=tuple(_certificate_values(unsigned)),
        evidence=_evidence(revocation_nodes, {**signer.attributes, **unsigned}),
    )


def _implicit_set(node: der.Node) -> tuple[der.Node, ...]:
    if not node.constructed:
        raise der.DerError("a set in it is not constructed")
    return node.children


def _version(certificates: tuple[der.Node, ...], revocation: tuple[der.Node, ...]) -> int:
    """RFC 5652, 5.1. Authorities that enclose OCSP responses have been seen to leave it at 3, which does no harm."""
    if any(node.is_context(3) for node in certificates) or any(node.is_context(1) for node in revocation):
        return 5
    return 4 if any(node.is_context(2) for node in certificates) else 3


def _read_content(node: der.Node) -> bytes:
    what = "the enclosed content"
    members = der.sequence(node, what)
    if not members or der.oid(members[0], what) != TST_INFO:
        raise Broken(codes.CONTENT_TYPE, "What is signed is not a time-stamp statement (id-ct-TSTInfo).")
    if len(members) != 2 or not members[1].is_context(0):  # noqa: PLR2004 - type and content
        raise Broken(codes.CONTENT_MISSING, "The token does not contain the statement that it signs.")
    return der.octets(der.explicit(members[1], 0, what), what)


Attributes = dict[str, tuple[der.Node, ...]]


def _read_signer(node: der.Node) -> tuple[SignerInfo, Attributes]:
    what = "the signer's entry"
    fields = list(der.sequence(node, what))
    if len(fields) < 5:  # noqa: PLR2004 - RFC 5652, 5.3: the mandatory fields
        raise der.DerError(f"{what} lacks a field")
    version = der.integer(fields.pop(0), "the signer's version")
    signer_id = _read_signer_id(fields.pop(0))
    digest_algorithm = read_algorithm(fields.pop(0), "the signer's digest algorithm")
    if not fields[0].is_context(0):
        raise Broken(codes.ATTRIBUTES_MISSING, "The token has no signed attributes.")
    attributes_node = fields.pop(0)
    if len(fields) not in {2, 3} or (len(fields) == 3 and not fields[2].is_context(1)):  # noqa: PLR2004 - unsigned
        raise der.DerError(f"{what} has fields that do not belong there")
    unsigned = _read_attributes(fields[2], unique=False) if len(fields) == 3 else {}  # noqa: PLR2004 - as above
    if not der.is_sorted_set(_implicit_set(attributes_node)):
        raise Broken(codes.ATTRIBUTES_UNSORTED, "The signed attributes are not in the order that DER prescribes.")
    signer = SignerInfo(
        version=version,
        signer_id=signer_id,
        digest_algorithm=digest_algorithm,
        signature_algorithm=read_algorithm(fields[0], "the signature algorithm"),
        attributes=_read_attributes(attributes_node, unique=True),
        # RFC 5652, 5.4: the signature is over the attributes tagged as a SET OF, not as [0].
        signed_bytes=bytes([0x20 | der.SET]) + attributes_node.encoded[1:],
        signature=der.octets(fields[1], "the signature"),
    )
    return signer, unsigned


def _read_signer_id(node: der.Node) -> SignerId:
    what = "the signer's identifier"
    if node.is_context(0) and not node.constructed:
        return SignerId(None, None, node.content)
    members = der.sequence(node, what)
    if len(members) != 2:  # noqa: PLR2004 - issuer and serial number
        raise der.DerError(f"{what} is malformed")
    return SignerId(read_name(members[0], what), der.integer(members[1], what), None)


def _read_attributes(node: der.Node, *, unique: bool) -> Attributes:
    what = "an attribute"
    result: Attributes = {}
    for member in _implicit_set(node):
        parts = der.sequence(member, what)
        if len(parts) != 2:  # noqa: PLR2004 - type and values
            raise Broken(codes.ATTRIBUTES_MALFORMED, "An attribute of the signature is malformed.")
        kind = der.oid(parts[0], what)
        if unique and kind in result:
            raise Broken(codes.ATTRIBUTE_REPEATED, f"The signed attribute {kind} occurs more than once.")
        result[kind] = result.get(kind, ()) + der.set_of(parts[1], what)
    return result


def _read_certificates(nodes: tuple[der.Node, ...], report: Report) -> tuple[Certificate, ...]:
    found = []
    for node in nodes:
        if not node.is_universal(der.SEQUENCE):
            report(codes.FOREIGN_CERTIFICATE, "The token encloses a certificate of another kind; it is ignored.")
            continue
        try:
            found.append(certificate_from(node))
        except der.DerError as error:
            report(codes.FOREIGN_CERTIFICATE, f"A certificate in the token cannot be read and is ignored: {error}.")
    return tuple(found)


def _certificate_values(unsigned: Attributes) -> Iterator[Certificate]:
    # Hints from an unsigned attribute: what cannot be read is simply not used.
    for value in unsigned.get(_CERTIFICATE_VALUES, ()):
        for node in value.children:
            try:
                yield certificate_from(node)
            except der.DerError:
                continue


def _evidence(nodes: tuple[der.Node, ...], attributes: Attributes) -> RevocationEvidence:
    """Every CRL and OCSP response that the token encloses; whoever uses them checks them."""
    crls = [node.encoded for node in nodes if node.is_universal(der.SEQUENCE)]
    responses = [
        node.children[1].encoded
        for node in nodes
        if node.is_context(1) and len(node.children) == 2 and _is_oid(node.children[0], _OCSP_IN_CMS)  # noqa: PLR2004
    ]
    for kind in (_REVOCATION_VALUES, _ADOBE_REVOCATION):
        for group in (child for value in attributes.get(kind, ()) for child in value.children):
            listed = [item.encoded for holder in group.children for item in holder.children]
            if group.is_context(0):
                crls += listed
            elif group.is_context(1):
                responses += listed
    return RevocationEvidence(crls=tuple(crls), ocsp_responses=tuple(responses))


def _is_oid(node: der.Node, dotted: str) -> bool:
    try:
        return der.oid(node, "a format") == dotted
    except der.DerError:
        return False
