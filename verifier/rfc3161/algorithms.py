"""Which algorithms and keys are acceptable, and the public-key operations on them.

The policy, in one place:

- digests of documents and of signed attributes: SHA-256, SHA-384, SHA-512 and the SHA-3 three. SHA-1 and anything
  older are refused, as is whatever is not named here. SHAKE256 belongs to Ed448 alone (RFC 8419);
- signatures: RSA PKCS#1 v1.5, RSASSA-PSS, ECDSA, Ed25519, Ed448. The hash named by the signature, by the signer's
  digest algorithm and by the PSS mask function must be one and the same;
- SHA-1 in a *certificate's* signature is tolerated, with a warning, for certificates issued before 2017 (later ones
  were forbidden to public authorities); whoever reads certificates applies that date;
- keys: RSA of 2048 to 16384 bits with a small public exponent, named curves of 256 bits or more. Explicit curve
  parameters are refused: they let the holder of one certificate forge another's key (CVE-2020-0601).
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from verifier.rfc3161 import der

MIN_RSA_BITS = 2048
# OpenSSL's own cap; a verification at this size takes about a millisecond.
MAX_RSA_BITS = 16384
# Public exponents are 3 or 65537 in practice; a huge one would only buy an attacker our time.
MAX_RSA_EXPONENT_BITS = 64
MAX_PSS_SALT = 512

_MAX_RSA_OCTETS = MAX_RSA_BITS // 8 + 1

_SHAKE256_SIZE = 64

_HASH_FACTORIES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sha3-256": hashes.SHA3_256,
    "sha3-384": hashes.SHA3_384,
    "sha3-512": hashes.SHA3_512,
}
# Digest sizes in octets of the algorithms allowed for documents.
DIGEST_SIZES = {"sha256": 32, "sha384": 48, "sha512": 64, "sha3-256": 32, "sha3-384": 48, "sha3-512": 64}

_SHA2 = "2.16.840.1.101.3.4.2."
HASH_OIDS = {
    "1.3.14.3.2.26": "sha1",
    f"{_SHA2}1": "sha256",
    f"{_SHA2}2": "sha384",
    f"{_SHA2}3": "sha512",
    f"{_SHA2}8": "sha3-256",
    f"{_SHA2}9": "sha3-384",
    f"{_SHA2}10": "sha3-512",
    f"{_SHA2}12": "shake256",
}

_PKCS1 = "1.2.840.113549.1.1."
_RSA_ENCRYPTION = f"{_PKCS1}1"
_MGF1 = f"{_PKCS1}8"
_RSASSA_PSS = f"{_PKCS1}10"
_EC_PUBLIC_KEY = "1.2.840.10045.2.1"
_ED25519 = "1.3.101.112"
_ED448 = "1.3.101.113"
_SIG_ALGS = "2.16.840.1.101.3.4.3."

_RSA_WITH_HASH = {
    f"{_PKCS1}5": "sha1",
    "1.3.14.3.2.29": "sha1",
    f"{_PKCS1}11": "sha256",
    f"{_PKCS1}12": "sha384",
    f"{_PKCS1}13": "sha512",
    f"{_SIG_ALGS}14": "sha3-256",
    f"{_SIG_ALGS}15": "sha3-384",
    f"{_SIG_ALGS}16": "sha3-512",
}
_ECDSA_WITH_HASH = {
    "1.2.840.10045.4.1": "sha1",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
    f"{_SIG_ALGS}10": "sha3-256",
    f"{_SIG_ALGS}11": "sha3-384",
    f"{_SIG_ALGS}12": "sha3-512",
}
_EDWARDS_HASH = {_ED25519: "sha512", _ED448: "shake256"}

_CURVES = frozenset(
    {
        "1.2.840.10045.3.1.7",  # P-256
        "1.3.132.0.34",  # P-384
        "1.3.132.0.35",  # P-521
        "1.3.36.3.3.2.8.1.1.7",  # brainpoolP256r1
        "1.3.36.3.3.2.8.1.1.11",  # brainpoolP384r1
        "1.3.36.3.3.2.8.1.1.13",  # brainpoolP512r1
    }
)


class NotAllowedError(ValueError):
    """An algorithm or a key that the policy does not allow; the text says which."""


@dataclass(frozen=True, slots=True)
class AlgorithmId:
    """An AlgorithmIdentifier. Parameters of NULL count as absent: real encoders disagree, and it means the same."""

    oid: str
    parameters: der.Node | None

    def same_as(self, other: "AlgorithmId") -> bool:
        """Whether both name the same algorithm with the same parameters."""
        mine, theirs = self.parameters, other.parameters
        return self.oid == other.oid and (mine and mine.encoded) == (theirs and theirs.encoded)


@dataclass(frozen=True, slots=True)
class SignatureScheme:
    """How a signature was made: the kind, its hash, and the salt length in octets for PSS."""

    kind: Literal["rsa-pkcs1", "rsa-pss", "ecdsa", "ed25519", "ed448"]
    hash_name: str
    salt_length: int = 0


def read_algorithm(node: der.Node, what: str) -> AlgorithmId:
    """Read an AlgorithmIdentifier; raises DerError."""
    return _algorithm(der.sequence(node, what), what)


def read_algorithm_content(node: der.Node, what: str) -> AlgorithmId:
    """Read an implicitly tagged AlgorithmIdentifier; raises DerError."""
    if not node.constructed:
        raise der.DerError(f"{what} is not an algorithm identifier")
    return _algorithm(node.children, what)


def _algorithm(members: tuple[der.Node, ...], what: str) -> AlgorithmId:
    if len(members) not in {1, 2}:
        raise der.DerError(f"{what} is not an algorithm identifier")
    parameters = members[1] if len(members) == 2 else None  # noqa: PLR2004 - algorithm and parameters
    if parameters is not None and parameters.is_universal(der.NULL):
        if parameters.content:
            raise der.DerError(f"{what} has a NULL that is not empty")
        parameters = None
    return AlgorithmId(der.oid(members[0], what), parameters)


def read_hash(algorithm: AlgorithmId) -> str:
    """The name of a digest algorithm; raises NotAllowedError for SHA-1 and for anything unknown."""
    name = HASH_OIDS.get(algorithm.oid)
    if name is None or name == "sha1":
        raise NotAllowedError(f"the digest algorithm {name or algorithm.oid} is not accepted")
    if algorithm.parameters is not None:
        raise NotAllowedError(f"the digest algorithm {name} carries parameters, which it does not have")
    return name


def digest_of(hash_name: str, data: bytes) -> bytes:
    """The digest of `data` under one of the names of HASH_OIDS."""
    if hash_name == "shake256":
        return hashlib.shake_256(data).digest(_SHAKE256_SIZE)
    return hashlib.new(hash_name.replace("sha3-", "sha3_"), data, usedforsecurity=True).digest()


def read_scheme(algorithm: AlgorithmId, digest: str | None = None) -> SignatureScheme:
    """The scheme that a signature algorithm names.

    `digest` is the separately stated digest algorithm (CMS), which plain rsaEncryption takes its hash from. Raises
    NotAllowedError for schemes outside the policy and DerError for malformed PSS parameters.
    """
    oid = algorithm.oid
    if oid == _RSASSA_PSS:
        return _read_pss(algorithm.parameters)
    if algorithm.parameters is not None:
        raise NotAllowedError(f"the signature algorithm {oid} carries parameters, which it does not have")
    if oid == _RSA_ENCRYPTION and digest is not None:
        return SignatureScheme("rsa-pkcs1", digest)
    if oid in _RSA_WITH_HASH:
        return SignatureScheme("rsa-pkcs1", _RSA_WITH_HASH[oid])
    if oid in _ECDSA_WITH_HASH:
        return SignatureScheme("ecdsa", _ECDSA_WITH_HASH[oid])
    if oid in _EDWARDS_HASH:
        return SignatureScheme("ed25519" if oid == _ED25519 else "ed448", _EDWARDS_HASH[oid])
    raise NotAllowedError(f"the signature algorithm {oid} is not accepted")


def _read_pss(parameters: der.Node | None) -> SignatureScheme:
    # RFC 4055, 3.1: every field has a default (SHA-1, MGF1 with SHA-1, 20, 1).
    what = "the RSASSA-PSS parameters"
    hash_name, mask_hash, salt, trailer = "sha1", "sha1", 20, 1
    members = () if parameters is None else der.sequence(parameters, what)
    numbers = [member.number for member in members]
    if numbers != sorted(set(numbers)):
        raise der.DerError(f"{what} are out of order")
    for member in members:
        value = der.explicit(member, member.number, what)
        if member.is_context(0):
            hash_name = _pss_hash(read_algorithm(value, what))
        elif member.is_context(1):
            mask = read_algorithm(value, what)
            if mask.oid != _MGF1 or mask.parameters is None:
                raise NotAllowedError("the RSASSA-PSS mask function is not MGF1")
            mask_hash = _pss_hash(read_algorithm(mask.parameters, what))
        elif member.is_context(2):
            salt = der.integer(value, what)
        elif member.is_context(3):
            trailer = der.integer(value, what)
        else:
            raise der.DerError(f"{what} have an unknown field")
    if trailer != 1 or not 0 <= salt <= MAX_PSS_SALT:
        raise NotAllowedError("the RSASSA-PSS salt length or trailer is out of range")
    if hash_name != mask_hash:
        raise NotAllowedError("the RSASSA-PSS hash and mask hash differ")
    return SignatureScheme("rsa-pss", hash_name, salt)


def _pss_hash(algorithm: AlgorithmId) -> str:
    # SHA-1 is named here so that the caller can refuse it with the reason that fits.
    return "sha1" if HASH_OIDS.get(algorithm.oid) == "sha1" else read_hash(algorithm)


def check_key(spki: der.Node) -> None:
    """Apply the key policy to a SubjectPublicKeyInfo; raises NotAllowedError or DerError."""
    what = "the public key"
    members = der.sequence(spki, what)
    if len(members) != 2:  # noqa: PLR2004 - algorithm and key
        raise der.DerError(f"{what} is not a SubjectPublicKeyInfo")
    algorithm = read_algorithm(members[0], what)
    key = der.bit_string(members[1], what)
    if algorithm.oid in {_RSA_ENCRYPTION, _RSASSA_PSS}:
        _check_rsa(key)
    elif algorithm.oid == _EC_PUBLIC_KEY:
        curve = algorithm.parameters
        if curve is None or not curve.is_universal(der.OID):
            raise NotAllowedError("the elliptic curve is not named but spelt out or missing")
        if der.oid(curve, what) not in _CURVES:
            raise NotAllowedError("the elliptic curve is not accepted")
    elif algorithm.oid not in _EDWARDS_HASH:
        raise NotAllowedError(f"public keys of type {algorithm.oid} are not accepted")


def _check_rsa(key: bytes) -> None:
    what = "the RSA public key"
    members = der.sequence(der.parse(key), what)
    if len(members) != 2:  # noqa: PLR2004 - modulus and exponent
        raise der.DerError(f"{what} is malformed")
    modulus, exponent = (der.integer(member, what, max_size=_MAX_RSA_OCTETS) for member in members)
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS or modulus < 0:
        raise NotAllowedError(f"RSA keys of {modulus.bit_length()} bits are not accepted")
    if exponent < 3 or not exponent & 1 or exponent.bit_length() > MAX_RSA_EXPONENT_BITS:  # noqa: PLR2004 - least odd
        raise NotAllowedError("the RSA public exponent is not accepted")


def verify_signature(spki: der.Node, scheme: SignatureScheme, signature: bytes, data: bytes) -> bool:
    """Whether `signature` over `data` was made with exactly `scheme` by the key in `spki`.

    Raises NotAllowedError or DerError for keys outside the policy.
    """
    check_key(spki)
    if not _key_permits(spki, scheme):
        return False
    try:
        return _verify(spki.encoded, scheme, signature, data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise NotAllowedError("the public key cannot be used") from error


def _key_permits(spki: der.Node, scheme: SignatureScheme) -> bool:
    # RFC 4055, 1.2: a key marked RSASSA-PSS is for PSS alone, and with its own parameters if it has any.
    algorithm = read_algorithm(der.sequence(spki, "the public key")[0], "the public key")
    if algorithm.oid != _RSASSA_PSS:
        return True
    if scheme.kind != "rsa-pss" or algorithm.parameters is None:
        return scheme.kind == "rsa-pss"
    own = read_scheme(algorithm)
    return scheme.hash_name == own.hash_name and scheme.salt_length >= own.salt_length


def _verify(spki: bytes, scheme: SignatureScheme, signature: bytes, data: bytes) -> bool:
    key = load_der_public_key(spki)
    try:
        if isinstance(key, rsa.RSAPublicKey) and scheme.kind in {"rsa-pkcs1", "rsa-pss"}:
            algorithm = _HASH_FACTORIES[scheme.hash_name]()
            pad = (
                padding.PKCS1v15()
                if scheme.kind == "rsa-pkcs1"
                else padding.PSS(padding.MGF1(algorithm), scheme.salt_length)
            )
            key.verify(signature, data, pad, algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and scheme.kind == "ecdsa":
            key.verify(signature, data, ec.ECDSA(_HASH_FACTORIES[scheme.hash_name]()))
        elif (isinstance(key, ed25519.Ed25519PublicKey) and scheme.kind == "ed25519") or (
            isinstance(key, ed448.Ed448PublicKey) and scheme.kind == "ed448"
        ):
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True
