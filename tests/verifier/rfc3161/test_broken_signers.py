"""Signers that are not who they should be, or may not do what they did, are refused for exactly that reason."""

from dataclasses import replace

import pytest

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.judging import codes_of, judge, wrong
from tests.verifier.rfc3161.token_forge import ISSUER, SIGNER, Statement, Token, replace_signer
from verifier.findings import Severity
from verifier.rfc3161 import TimestampTrust

_RSA_SIGNER = replace(SIGNER, key=forge.key("signer", "rsa"))
_ATTRIBUTES = forge.set_of(
    forge.attribute(forge.CONTENT_TYPE, forge.oid(forge.TST_INFO)),
    forge.attribute(forge.MESSAGE_DIGEST, forge.octets(forge.digest("sha256", Statement().der))),
    forge.ess_v2(SIGNER.der),
)


def test_a_token_whose_signer_is_nowhere_to_be_found_is_not_trusted() -> None:
    result = judge(Token(certificates=(ISSUER.der,)).der)
    assert (result.status, codes_of(result)) == ("untrusted", ["rfc3161-signer-certificate-missing"])


_TWIN = replace(SIGNER, not_after="20310101000000Z")
_V1, _V2 = forge.SIGNING_CERTIFICATE, forge.SIGNING_CERTIFICATE_V2


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        pytest.param({_V2: None}, "missing", id="no attribute"),
        pytest.param({_V2: forge.attribute(_V2, forge.seq())}, "malformed", id="an empty attribute"),
        pytest.param({_V2: forge.attribute(_V2, forge.seq(forge.seq()))}, "malformed", id="no certificate named"),
        pytest.param({_V2: forge.attribute(_V2)}, "malformed", id="no value"),
        pytest.param({_V2: forge.ess_v2(SIGNER.der, hash_name="sha1")}, "hash-not-allowed", id="SHA-1 in version 2"),
        pytest.param({_V2: forge.ess_v2(_TWIN.der)}, "mismatch", id="another certificate of the same signer"),
        pytest.param({_V1: forge.ess_v1(_TWIN.der)}, "mismatch", id="version 1 names another certificate"),
        pytest.param({_V1: forge.ess_v1(_TWIN.der), _V2: None}, "mismatch", id="version 1 alone names another"),
        pytest.param({_V2: forge.ess_v2(SIGNER.der, forge.issuer_serial("Issuer", 4))}, "issuer", id="another serial"),
        pytest.param({_V2: forge.ess_v2(SIGNER.der, forge.issuer_serial("Root", 3))}, "issuer", id="another issuer"),
    ],
)
def test_a_signature_that_does_not_name_its_certificate_fails(attributes: dict[str, bytes | None], code: str) -> None:
    assert wrong(Token(attributes=attributes).der) == [f"rfc3161-signing-certificate-{code}"]


def test_a_certificate_for_the_same_key_does_not_replace_the_signers() -> None:
    assert wrong(Token(certificates=(_TWIN.der, ISSUER.der)).der) == ["rfc3161-signing-certificate-mismatch"]


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(Token(signature=b""), id="no signature"),
        pytest.param(Token(signature=SIGNER.key.sign(b"something else")), id="a signature over something else"),
        pytest.param(Token(signature=forge.key("spoof").sign(_ATTRIBUTES)), id="another key's signature"),
        pytest.param(Token(signature=SIGNER.key.sign(Statement().der)), id="a signature over the statement itself"),
        pytest.param(
            Token(signature=SIGNER.key.sign(b"\xa0" + _ATTRIBUTES[1:])),
            id="a signature over the attributes with their other tag",
        ),
        pytest.param(
            Token(signature_algorithm=forge.seq(forge.oid("1.2.840.113549.1.1.11"))), id="RSA named, ECDSA made"
        ),
        pytest.param(
            Token(signer=_RSA_SIGNER, pss=True, signature_algorithm=forge.key("signer", "rsa").algorithm("sha256")),
            id="PKCS #1 named, PSS made",
        ),
        pytest.param(
            Token(signer=_RSA_SIGNER, pss=False, signature_algorithm=forge.pss_algorithm("sha256")),
            id="PSS named, PKCS #1 made",
        ),
        pytest.param(
            Token(signer=_RSA_SIGNER, pss=True, signature_algorithm=forge.pss_algorithm("sha256", salt=20)),
            id="PSS with another salt length than named",
        ),
    ],
)
def test_a_signature_that_is_not_exactly_the_one_named_fails(token: Token) -> None:
    assert wrong(token.der) == ["rfc3161-signature-invalid"]


def _rsa_spki(modulus: int, exponent: int) -> bytes:
    rsa_key = forge.seq(forge.integer(modulus), forge.integer(exponent))
    return forge.seq(forge.seq(forge.oid("1.2.840.113549.1.1.1"), forge.NULL), forge.bits(rsa_key))


def _ec_spki(parameters: bytes) -> bytes:
    return forge.seq(forge.seq(forge.oid("1.2.840.10045.2.1"), parameters), forge.bits(b"\x04" + b"x" * 64))


@pytest.mark.parametrize(
    "spki",
    [
        pytest.param(_rsa_spki(2**1024 + 1, 65537), id="RSA of 1025 bits"),
        pytest.param(_rsa_spki(2**20000 + 1, 65537), id="RSA of 20,000 bits"),
        pytest.param(_rsa_spki(2**2048 + 1, 1), id="an exponent of 1"),
        pytest.param(_rsa_spki(2**2048 + 1, 2**2000 + 1), id="an exponent of 2,000 bits"),
        pytest.param(_rsa_spki(-(2**2048), 3), id="a negative modulus"),
        pytest.param(_ec_spki(forge.seq(forge.integer(1))), id="a curve that is spelt out"),
        pytest.param(_ec_spki(forge.NULL), id="a curve that is not named"),
        pytest.param(forge.key("small", "p192").spki, id="P-192"),
        pytest.param(_ec_spki(forge.oid("1.2.840.10045.3.1.7")), id="a point that is not on the curve"),
        pytest.param(forge.seq(forge.seq(forge.oid("1.2.840.10040.4.1")), forge.bits(b"x")), id="DSA"),
        pytest.param(forge.seq(), id="no key"),
    ],
)
def test_a_key_outside_the_policy_fails(spki: bytes) -> None:
    signer = replace(SIGNER, spki=spki)
    token = Token(signer=signer, signature_algorithm=forge.seq(forge.oid("1.2.840.113549.1.1.11")))
    assert wrong(token.der) == ["rfc3161-key-not-allowed"]


def test_a_key_for_pss_alone_does_not_sign_otherwise() -> None:
    rsa = forge.key("signer", "rsa")
    spki = rsa.spki.replace(
        forge.seq(forge.oid("1.2.840.113549.1.1.1"), forge.NULL), forge.seq(forge.oid("1.2.840.113549.1.1.10"))
    )
    spki = forge.seq(spki[4:])
    signer = replace(SIGNER, key=rsa, spki=spki)
    assert wrong(Token(signer=signer).der) == ["rfc3161-signature-invalid"]
    assert judge(Token(signer=signer, pss=True, signature_algorithm=forge.pss_algorithm("sha256")).der).ok


def _key_period(start: str, end: str) -> bytes:
    return forge.extension(
        "2.5.29.16",
        forge.seq(
            forge.context(0, start.encode(), constructed=False), forge.context(1, end.encode(), constructed=False)
        ),
    )


@pytest.mark.parametrize(
    ("token", "codes"),
    [
        pytest.param(replace_signer(extensions=()), ["purpose"], id="no purpose"),
        pytest.param(replace_signer(extensions=(forge.purposes("1.3.6.1.5.5.7.3.3"),)), ["purpose"], id="code signing"),
        pytest.param(
            replace_signer(extensions=(forge.purposes(forge.TIME_STAMPING, "1.3.6.1.5.5.7.3.3"),)),
            ["purpose"],
            id="code signing too",
        ),
        pytest.param(replace_signer(extensions=(forge.purposes("2.5.29.37.0"),)), ["purpose"], id="any purpose"),
        pytest.param(
            replace_signer(extensions=(forge.purposes(forge.TIME_STAMPING, critical=False),)),
            ["purpose-not-critical"],
            id="a purpose that is not critical",
        ),
        pytest.param(
            replace_signer(extensions=(forge.purposes(forge.TIME_STAMPING), forge.basic_constraints())),
            ["is-ca"],
            id="a certification authority",
        ),
        pytest.param(
            replace_signer(extensions=(forge.purposes(forge.TIME_STAMPING), forge.key_usage(2))),
            ["key-usage"],
            id="a key for encryption",
        ),
        pytest.param(
            replace_signer(extensions=(forge.purposes(forge.TIME_STAMPING), forge.key_usage(0, 5))),
            ["key-usage"],
            id="a key for certificates too",
        ),
        pytest.param(
            replace_signer(not_after="20240601115959Z"), ["validity"], id="a certificate that ended a second before"
        ),
        pytest.param(
            replace_signer(not_before="20240601120001Z"), ["validity"], id="a certificate that began a second later"
        ),
        pytest.param(
            replace_signer(extensions=(*forge.SIGNER_EXTENSIONS, _key_period("20200101000000Z", "20240601115959Z"))),
            ["key-period"],
            id="a key used after its period",
        ),
        pytest.param(
            replace_signer(extensions=(*forge.SIGNER_EXTENSIONS, _key_period("20240601120001Z", "20300101000000Z"))),
            ["key-period"],
            id="a key used before its period",
        ),
        pytest.param(
            replace_signer(extensions=(*forge.SIGNER_EXTENSIONS, forge.extension("1.2.3.4", b"", critical=True))),
            ["critical-extension"],
            id="a critical extension that is not understood",
        ),
        pytest.param(
            replace_signer(extensions=(forge.basic_constraints(), forge.key_usage(5)), not_after="20210101000000Z"),
            ["purpose", "is-ca", "key-usage", "validity"],
            id="everything at once",
        ),
    ],
)
def test_a_certificate_that_is_not_for_this_fails(token: Token, codes: list[str]) -> None:
    assert wrong(token.der) == [f"rfc3161-signer-{code}" for code in codes]


@pytest.mark.parametrize(
    "signer",
    [
        pytest.param(replace(SIGNER, extensions=[forge.key_usage(0)] * 2), id="an extension twice"),
        pytest.param(replace(SIGNER, version=1), id="extensions in version 1"),
        pytest.param(replace(SIGNER, not_after="20300101000000.5Z"), id="fractions in the validity"),
        pytest.param(
            replace(SIGNER, extensions=(forge.extension("2.5.29.15", b"junk"),)), id="a key usage that is junk"
        ),
        pytest.param(
            replace(SIGNER, extensions=(forge.extension("2.5.29.15", forge.bits(b"\x81", 1)),)), id="odd padding bits"
        ),
    ],
)
def test_a_signers_certificate_that_cannot_be_read_is_as_good_as_missing(signer: forge.Certificate) -> None:
    result = judge(Token(signer=signer).der)
    assert codes_of(result, Severity.WARNING) == ["rfc3161-foreign-certificate"]
    assert codes_of(result) == ["rfc3161-signer-certificate-missing"]


def test_a_token_is_never_valid_without_a_configured_root() -> None:
    for trust in ((), (TimestampTrust(roots=()),)):
        result = judge(Token(certificates=(SIGNER.der, ISSUER.der, forge.ROOT.der)).der, trust=trust)
        assert (result.status, codes_of(result)) == ("untrusted", ["rfc3161-no-root-configured"])
