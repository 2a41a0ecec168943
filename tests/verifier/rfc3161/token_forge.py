"""A forge of time-stamp tokens: good ones, and ones in which any single rule is broken.

It has its own DER writer and shares nothing with the verifier, so that both would have to be wrong in the same way.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

DATA_DIGEST = hashlib.sha256(b"the data").digest()
POLICY = "1.2.3.4.1"
TIME = "20240601120000Z"

TST_INFO = "1.2.840.113549.1.9.16.1.4"
SIGNED_DATA = "1.2.840.113549.1.7.2"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12"
SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
ALGORITHM_PROTECTION = "1.2.840.113549.1.9.52"
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"

HASH_OIDS = {
    "md5": "1.2.840.113549.2.5",
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
    "sha3-256": "2.16.840.1.101.3.4.2.8",
    "shake256": "2.16.840.1.101.3.4.2.12",
}
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sha3-256": hashes.SHA3_256,
}
_ECDSA = {
    "sha1": "1.2.840.10045.4.1",
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
    "sha3-256": "2.16.840.1.101.3.4.3.10",
}
_RSA = {
    "sha1": "1.2.840.113549.1.1.5",
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def seq(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def set_of(*parts: bytes) -> bytes:
    return tlv(0x31, *sorted(parts))


def context(number: int, *parts: bytes, constructed: bool = True) -> bytes:
    return tlv(0x80 | number | (0x20 if constructed else 0), *parts)


def integer(value: int) -> bytes:
    return tlv(2, integer_content(value))


def integer_content(value: int) -> bytes:
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return value.to_bytes(size, signed=True)


def octets(value: bytes) -> bytes:
    return tlv(4, value)


def bits(value: bytes, unused: int = 0) -> bytes:
    return tlv(3, bytes([unused]), value)


def boolean(value: bool) -> bytes:  # noqa: FBT001 - the value is the point
    return tlv(1, b"\xff" if value else b"\x00")


def oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = b""
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        content += bytes(reversed(groups))
    return tlv(6, content)


NULL = b"\x05\x00"


def generalized(text: str) -> bytes:
    return tlv(24, text.encode())


def name(common_name: str, organisation: str = "Forge") -> bytes:
    return seq(
        set_of(seq(oid("2.5.4.10"), tlv(12, organisation.encode()))),
        set_of(seq(oid("2.5.4.3"), tlv(12, common_name.encode()))),
    )


def hash_algorithm(hash_name: str) -> bytes:
    return seq(oid(HASH_OIDS[hash_name]), NULL)


def digest(hash_name: str, data: bytes) -> bytes:
    if hash_name == "shake256":
        return hashlib.shake_256(data).digest(64)
    return hashlib.new(hash_name.replace("sha3-", "sha3_"), data).digest()


def pss_algorithm(hash_name: str, *, mask: str | None = None, salt: int = 32) -> bytes:
    mask_function = seq(oid("1.2.840.113549.1.1.8"), hash_algorithm(mask or hash_name))
    parameters = seq(context(0, hash_algorithm(hash_name)), context(1, mask_function), context(2, integer(salt)))
    return seq(oid("1.2.840.113549.1.1.10"), parameters)


@dataclass(frozen=True)
class Key:
    private: PrivateKey

    @property
    def spki(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def algorithm(self, hash_name: str) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return seq(oid("1.3.101.112"))
        if isinstance(self.private, ed448.Ed448PrivateKey):
            return seq(oid("1.3.101.113"))
        if isinstance(self.private, rsa.RSAPrivateKey):
            return seq(oid(_RSA[hash_name]), NULL)
        return seq(oid(_ECDSA[hash_name]))

    @cache  # noqa: B019 - a signature differs each time it is made; the same recipe must give the same bytes
    def sign(self, data: bytes, hash_name: str = "sha256", *, pss: bool = False) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
            return self.private.sign(data)
        algorithm = _HASHES[hash_name]()
        if isinstance(self.private, rsa.RSAPrivateKey):
            pad = padding.PSS(padding.MGF1(algorithm), 32) if pss else padding.PKCS1v15()
            return self.private.sign(data, pad, algorithm)
        return self.private.sign(data, ec.ECDSA(algorithm))


@cache
def key(label: str, kind: str = "p256") -> Key:
    """The same key for the same label, for as long as the tests run."""
    makers: dict[str, Callable[[], PrivateKey]] = {
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "p192": lambda: ec.generate_private_key(ec.SECP192R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ed448": ed448.Ed448PrivateKey.generate,
    }
    return Key(makers[kind]())


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    return seq(oid(dotted), *([boolean(True)] if critical else []), octets(value))


def basic_constraints(*, ca: bool = True, path_length: int | None = None) -> bytes:
    value = seq(*([boolean(True)] if ca else []), *([] if path_length is None else [integer(path_length)]))
    return extension("2.5.29.19", value, critical=True)


def key_usage(*numbers: int) -> bytes:
    value = 0
    for number in numbers:
        value |= 0x8000 >> number
    return extension("2.5.29.15", bits(value.to_bytes(2)), critical=True)


def purposes(*dotted: str, critical: bool = True) -> bytes:
    return extension("2.5.29.37", seq(*(oid(item) for item in dotted)), critical=critical)


def key_id(certified: Key) -> bytes:
    return hashlib.sha256(certified.spki).digest()[:20]


CA_EXTENSIONS = (basic_constraints(), key_usage(5, 6))
SIGNER_EXTENSIONS = (key_usage(0), purposes(TIME_STAMPING))


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A recipe; `replace` one ingredient to break one rule."""

    subject: str
    issuer: str
    key: Key
    signed_by: Key
    serial: int = 7
    not_before: str = "20200101000000Z"
    not_after: str = "20300101000000Z"
    extensions: Sequence[bytes] = CA_EXTENSIONS
    version: int = 3
    hash_name: str = "sha256"
    algorithm: bytes | None = None
    spki: bytes | None = None

    @property
    def der(self) -> bytes:
        algorithm = self.algorithm or self.signed_by.algorithm(self.hash_name)
        tbs = seq(
            *([context(0, integer(self.version - 1))] if self.version > 1 else []),
            integer(self.serial),
            algorithm,
            name(self.issuer),
            seq(generalized(self.not_before), generalized(self.not_after)),
            name(self.subject),
            self.spki or self.key.spki,
            *([context(3, seq(*self.extensions))] if self.extensions else []),
        )
        return seq(tbs, algorithm, bits(self.signed_by.sign(tbs, self.hash_name)))


ROOT = Certificate(subject="Root", issuer="Root", key=key("root"), signed_by=key("root"), serial=1)
ISSUER = Certificate(subject="Issuer", issuer="Root", key=key("issuer"), signed_by=key("root"), serial=2)
SIGNER = Certificate(
    subject="Signer",
    issuer="Issuer",
    key=key("signer"),
    signed_by=key("issuer"),
    serial=3,
    extensions=SIGNER_EXTENSIONS,
)


@dataclass(frozen=True, kw_only=True)
class Statement:
    version: int = 1
    policy: str = POLICY
    imprint_hash: str = "sha256"
    digest: bytes = DATA_DIGEST
    serial: int = 42
    time: bytes = generalized(TIME)
    accuracy: bytes = b""
    ordering: bytes = b""
    nonce: bytes = b""
    tsa: bytes = b""
    extensions: bytes = b""
    rest: bytes = b""

    @property
    def der(self) -> bytes:
        return seq(
            integer(self.version),
            oid(self.policy),
            seq(hash_algorithm(self.imprint_hash), octets(self.digest)),
            integer(self.serial),
            self.time,
            self.accuracy,
            self.ordering,
            self.nonce,
            self.tsa,
            self.extensions,
            self.rest,
        )


def attribute(dotted: str, *values: bytes) -> bytes:
    return seq(oid(dotted), set_of(*values))


def issuer_serial(issuer: str, serial: int) -> bytes:
    return seq(seq(context(4, name(issuer))), integer(serial))


def ess_v1(certificate: bytes, *rest: bytes) -> bytes:
    return attribute(SIGNING_CERTIFICATE, seq(seq(seq(octets(digest("sha1", certificate)), *rest))))


def ess_v2(certificate: bytes, *rest: bytes, hash_name: str | None = None) -> bytes:
    algorithm = [hash_algorithm(hash_name)] if hash_name else []
    entry = seq(*algorithm, octets(digest(hash_name or "sha256", certificate)), *rest)
    return attribute(SIGNING_CERTIFICATE_V2, seq(seq(entry)))


@dataclass(frozen=True, kw_only=True)
class Token:
    """A recipe for a token. Fields that are None are made to fit the others."""

    statement: Statement = field(default_factory=Statement)
    content: bytes | None = None
    content_type: str = TST_INFO
    outer_type: str = SIGNED_DATA
    signer: Certificate = SIGNER
    certificates: Sequence[bytes] | None = None
    crls: Sequence[bytes] = ()
    version: int = 3
    hash_name: str = "sha256"
    digest_algorithm: bytes | None = None
    digest_list: bytes | None = None
    signature_algorithm: bytes | None = None
    signer_version: int = 1
    signer_id: bytes | None = None
    attributes: dict[str, bytes | None] = field(default_factory=dict)
    signed_attributes: bytes | None = None
    unsigned: bytes = b""
    signature: bytes | None = None
    pss: bool = False
    signer_count: int = 1
    detached: bool = False

    def _content(self) -> bytes:
        return self.statement.der if self.content is None else self.content

    def _attributes(self) -> bytes:
        """The signed attributes, tagged as they are signed."""
        parts: dict[str, bytes | None] = {
            CONTENT_TYPE: attribute(CONTENT_TYPE, oid(TST_INFO)),
            MESSAGE_DIGEST: attribute(MESSAGE_DIGEST, octets(digest(self.hash_name, self._content()))),
            SIGNING_CERTIFICATE_V2: ess_v2(self.signer.der),
            **self.attributes,
        }
        return set_of(*(part for part in parts.values() if part is not None))

    def _signer_info(self) -> bytes:
        attributes = self.signed_attributes or self._attributes()
        hash_name = "sha256" if self.hash_name == "shake256" else self.hash_name
        signature = self.signature
        if signature is None:
            signature = self.signer.key.sign(attributes, hash_name, pss=self.pss)
        return seq(
            integer(self.signer_version),
            self.signer_id or seq(name(self.signer.issuer), integer(self.signer.serial)),
            self.digest_algorithm or hash_algorithm(self.hash_name),
            b"\xa0" + attributes[1:] if attributes != NULL else b"",
            self.signature_algorithm or self.signer.key.algorithm(hash_name),
            octets(signature),
            self.unsigned,
        )

    @property
    def der(self) -> bytes:
        certificates = self.certificates
        if certificates is None:
            certificates = (self.signer.der, ISSUER.der)
        content = [] if self.detached else [context(0, octets(self._content()))]
        signed_data = seq(
            integer(self.version),
            set_of(self.digest_list or hash_algorithm(self.hash_name)),
            seq(oid(self.content_type), *content),
            *([context(0, *certificates)] if certificates else []),
            *([context(1, *self.crls)] if self.crls else []),
            set_of(*([self._signer_info()] * self.signer_count)),
        )
        return seq(oid(self.outer_type), context(0, signed_data))

    @property
    def response(self) -> bytes:
        return response(self.der)


def response(token: bytes, *, status: int = 0, text: str = "", failure: int | None = None) -> bytes:
    parts = [integer(status)]
    if text:
        parts.append(seq(tlv(12, text.encode())))
    if failure is not None:
        value = (1 << (31 - failure)).to_bytes(4)
        parts.append(bits(value))
    return seq(seq(*parts), token)


def request(
    *,
    imprint: bytes = DATA_DIGEST,
    policy: str | None = None,
    nonce: int | None = None,
    wants_certificate: bool = True,
) -> bytes:
    return seq(
        integer(1),
        seq(hash_algorithm("sha256"), octets(imprint)),
        *([oid(policy)] if policy else []),
        *([integer(nonce)] if nonce is not None else []),
        *([boolean(True)] if wants_certificate else []),
    )


def replace_signer(**changes: object) -> Token:
    """A token by a signer whose certificate differs from a good one's in what is named."""
    return Token(signer=replace(SIGNER, **changes))  # type: ignore[arg-type]  # each caller names real fields
