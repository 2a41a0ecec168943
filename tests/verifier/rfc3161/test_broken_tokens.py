"""Tokens in which one rule is broken are refused, for exactly that reason."""

from dataclasses import replace
from typing import Any

import pytest

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.judging import codes_of, judge, wrong
from tests.verifier.rfc3161.token_forge import ISSUER, SIGNER, Statement, Token, replace_signer
from verifier.findings import Severity
from verifier.rfc3161 import TimestampTrust

GOOD = Token().der
_NESTED = forge.NULL
for _ in range(40):
    _NESTED = forge.seq(_NESTED)

# X.690, 8.1.3.6: the same token, with its outermost length left open.
_INDEFINITE = b"\x30\x80" + GOOD[4:] + b"\x00\x00"
# X.690, 10.1: the same token, with its outermost length in one octet more than it needs.
_LONG_LENGTH = b"\x30\x83\x00" + GOOD[2:]


@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param(b"", "rfc3161-malformed", id="nothing"),
        pytest.param(b"not a token", "rfc3161-malformed", id="text"),
        pytest.param(GOOD[:-1], "rfc3161-malformed", id="the end cut off"),
        pytest.param(GOOD + b"\x00", "rfc3161-malformed", id="a byte after the end"),
        pytest.param(_INDEFINITE, "rfc3161-malformed", id="BER indefinite length"),
        pytest.param(_LONG_LENGTH, "rfc3161-malformed", id="a length that is not in its shortest form"),
        pytest.param(_NESTED, "rfc3161-malformed", id="nested too deep"),
        pytest.param(forge.seq(), "rfc3161-malformed", id="an empty sequence"),
        pytest.param(forge.seq(*[forge.seq()] * 3), "rfc3161-malformed", id="three parts"),
        pytest.param(forge.seq(forge.seq()), "rfc3161-malformed", id="no status"),
        pytest.param(b"\x30\x84\xff\xff\xff\xff", "rfc3161-malformed", id="a length of four gigabytes"),
        pytest.param(forge.octets(b"x" * 2**16), "rfc3161-too-large", id="more than 64 KiB"),
        pytest.param(forge.response(b""), "rfc3161-token-missing", id="granted without a token"),
        pytest.param(forge.response(b"", status=2), "rfc3161-not-granted", id="rejected"),
        pytest.param(forge.response(b"", status=-1), "rfc3161-not-granted", id="a status that does not exist"),
        pytest.param(forge.response(GOOD, status=1), "rfc3161-granted-with-modifications", id="modified"),
    ],
)
def test_a_malformed_or_refused_response_fails(token: bytes, code: str) -> None:
    assert wrong(token) == [code]


def test_a_token_beside_a_rejection_is_not_looked_at() -> None:
    result = judge(forge.response(GOOD, status=2))
    assert codes_of(result) == ["rfc3161-token-unexpected", "rfc3161-not-granted"]
    assert (result.time, result.certificate_path) == (None, ())


def test_a_rejection_is_told_with_its_reasons() -> None:
    result = judge(forge.response(b"", status=2, text="come \x1b[2Jback later", failure=14))
    assert "rejected the request" in result.findings[0].message
    assert "come \N{REPLACEMENT CHARACTER}[2Jback later" in result.findings[0].message
    assert "time source is not available" in result.findings[0].message


def _with(kind: str, *values: bytes) -> Token:
    return Token(attributes={kind: forge.attribute(kind, *values)})


def _protection(hash_name: str, signature: bytes, *rest: bytes) -> Token:
    return _with(
        forge.ALGORITHM_PROTECTION, forge.seq(forge.hash_algorithm(hash_name), forge.context(1, signature), *rest)
    )


def _digested_by(algorithm: bytes) -> Token:
    return Token(digest_algorithm=algorithm, digest_list=algorithm)


_RSA_SIGNER = replace(SIGNER, key=forge.key("signer", "rsa"))
_ATTRIBUTES = [
    forge.attribute(forge.CONTENT_TYPE, forge.oid(forge.TST_INFO)),
    forge.attribute(forge.MESSAGE_DIGEST, forge.octets(forge.digest("sha256", Statement().der))),
    forge.ess_v2(SIGNER.der),
]
_UNSORTED = forge.tlv(0x31, *sorted(_ATTRIBUTES, reverse=True))
_REPEATED = forge.set_of(*_ATTRIBUTES, forge.attribute(forge.CONTENT_TYPE, forge.oid("1.2.3")))
_CONSTRUCTED = forge.tlv(0x24, forge.octets(Statement().der))


@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param(Token(outer_type="1.2.840.113549.1.7.1"), "not-signed-data", id="plain data"),
        pytest.param(Token(content_type="1.2.840.113549.1.7.1"), "content-type", id="signed data of another type"),
        pytest.param(Token(detached=True), "content-missing", id="a detached signature"),
        pytest.param(Token(signer_count=0), "signer-count", id="no signer"),
        pytest.param(Token(signer_count=2), "signer-count", id="two signers"),
        pytest.param(Token(version=1), "signed-data-version", id="the version of an older PKCS #7"),
        pytest.param(Token(version=5), "signed-data-version", id="a version for what is not there"),
        pytest.param(
            Token(digest_list=forge.hash_algorithm("sha512")), "digest-unlisted", id="a digest that is not announced"
        ),
        pytest.param(Token(signer_version=3), "signer-version", id="version 3 with issuer and serial number"),
        pytest.param(Token(signer_version=2), "signer-version", id="a version that does not exist"),
        pytest.param(Token(hash_name="sha1"), "digest-not-allowed", id="a SHA-1 digest"),
        pytest.param(_digested_by(forge.seq(forge.oid("1.2.3"))), "digest-not-allowed", id="an unknown digest"),
        pytest.param(
            _digested_by(forge.seq(forge.oid(forge.HASH_OIDS["sha256"]), forge.integer(1))),
            "digest-not-allowed",
            id="a digest with parameters",
        ),
        pytest.param(
            Token(signature_algorithm=forge.seq(forge.oid("1.2.840.10045.2.1"))),
            "signature-algorithm-not-allowed",
            id="a key type in the place of an algorithm",
        ),
        pytest.param(
            Token(signature_algorithm=forge.seq(forge.oid("1.2.840.10045.4.3.2"), forge.integer(1))),
            "signature-algorithm-not-allowed",
            id="ECDSA with parameters",
        ),
        pytest.param(
            Token(signature_algorithm=forge.pss_algorithm("sha256", mask="sha512")),
            "signature-algorithm-not-allowed",
            id="PSS with two hashes",
        ),
        pytest.param(
            Token(signature_algorithm=forge.pss_algorithm("sha256", salt=10**6)),
            "signature-algorithm-not-allowed",
            id="PSS with an absurd salt",
        ),
        pytest.param(
            Token(signature_algorithm=forge.seq(forge.oid("1.2.840.113549.1.1.10"))),
            "algorithms-disagree",
            id="PSS by default, which means SHA-1",
        ),
        pytest.param(
            Token(signature_algorithm=forge.key("signer").algorithm("sha384")),
            "algorithms-disagree",
            id="a signature with another hash",
        ),
        pytest.param(
            Token(signature_algorithm=forge.key("signer").algorithm("sha1")),
            "algorithms-disagree",
            id="a signature with SHA-1",
        ),
        pytest.param(Token(signed_attributes=forge.NULL), "attributes-missing", id="no signed attributes"),
        pytest.param(Token(signed_attributes=_UNSORTED), "attributes-unsorted", id="attributes out of order"),
        pytest.param(Token(signed_attributes=_REPEATED), "attribute-repeated", id="an attribute twice"),
        pytest.param(
            Token(attributes={"x": forge.seq(forge.oid("1.2.3"))}), "attributes-malformed", id="half an attribute"
        ),
        pytest.param(
            Token(attributes={forge.CONTENT_TYPE: None}), "content-type-attribute", id="no content type attribute"
        ),
        pytest.param(
            _with(forge.CONTENT_TYPE, forge.oid("1.2.3")), "content-type-attribute", id="a wrong content type"
        ),
        pytest.param(
            _with(forge.CONTENT_TYPE, forge.oid("1.2.3"), forge.oid(forge.TST_INFO)),
            "content-type-attribute",
            id="two content types",
        ),
        pytest.param(_with(forge.CONTENT_TYPE, forge.NULL), "content-type-attribute", id="a content type of NULL"),
        pytest.param(Token(attributes={forge.MESSAGE_DIGEST: None}), "message-digest-missing", id="no message digest"),
        pytest.param(
            _with(forge.MESSAGE_DIGEST, forge.octets(b"1"), forge.octets(b"2")),
            "message-digest-missing",
            id="two message digests",
        ),
        pytest.param(
            _with(forge.MESSAGE_DIGEST, forge.octets(b"x" * 32)), "message-digest-mismatch", id="another digest"
        ),
        pytest.param(
            _with(forge.MESSAGE_DIGEST, forge.octets(b"")), "message-digest-mismatch", id="an empty message digest"
        ),
        pytest.param(
            _protection("sha512", forge.oid("1.2.840.10045.4.3.2")),
            "algorithm-protection",
            id="protection of another digest",
        ),
        pytest.param(
            _protection("sha256", forge.oid("1.2.840.10045.4.3.3")),
            "algorithm-protection",
            id="protection of another signature",
        ),
        pytest.param(_with(forge.ALGORITHM_PROTECTION, forge.NULL), "algorithm-protection", id="protection of nothing"),
        pytest.param(Token(content=b"garbage"), "statement-malformed", id="a statement that is garbage"),
        pytest.param(Token(content=Statement().der + b"\x00"), "statement-malformed", id="a byte after the statement"),
    ],
)
def test_a_message_that_breaks_a_rule_of_cms_fails(token: Token, code: str) -> None:
    assert wrong(token.der) == [f"rfc3161-{code}"]


def test_a_statement_in_pieces_is_refused() -> None:
    # BER allows an OCTET STRING to be cut up; then "as received" has no meaning.
    token = Token().der.replace(forge.octets(Statement().der), _CONSTRUCTED)
    assert wrong(token) == ["rfc3161-malformed"]


@pytest.mark.parametrize(
    "remainder",
    [
        pytest.param(forge.set_of(), id="no algorithms, content or signer"),
        pytest.param(forge.integer(3), id="only a version"),
    ],
)
def test_a_message_that_lacks_a_field_fails(remainder: bytes) -> None:
    token = forge.seq(forge.oid(forge.SIGNED_DATA), forge.context(0, forge.seq(remainder)))
    assert wrong(token) == ["rfc3161-signed-data-malformed"]


def _accuracy(*parts: bytes) -> Statement:
    return Statement(accuracy=forge.seq(*parts))


def _sub(number: int, value: int) -> bytes:
    return forge.context(number, forge.integer_content(value), constructed=False)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        pytest.param(Statement(version=2), "statement-version", id="version 2"),
        pytest.param(Statement(imprint_hash="sha1", digest=b"x" * 20), "imprint-algorithm-not-allowed", id="SHA-1"),
        pytest.param(Statement(imprint_hash="md5", digest=b"x" * 16), "imprint-algorithm-not-allowed", id="MD5"),
        pytest.param(
            Statement(imprint_hash="shake256", digest=b"x" * 64), "imprint-algorithm-not-allowed", id="SHAKE256"
        ),
        pytest.param(Statement(digest=forge.DATA_DIGEST[:-1]), "imprint-length", id="a digest one byte short"),
        pytest.param(Statement(digest=b""), "imprint-length", id="an empty digest"),
        pytest.param(Statement(time=forge.generalized("20240601120000")), "time-malformed", id="no Z"),
        pytest.param(Statement(time=forge.generalized("20240601120000+0100")), "time-malformed", id="an offset"),
        pytest.param(Statement(time=forge.generalized("20240601120000.Z")), "time-malformed", id="an empty fraction"),
        pytest.param(Statement(time=forge.generalized("20240601120000,5Z")), "time-malformed", id="a comma"),
        pytest.param(Statement(time=forge.generalized("20240601120000.1234567Z")), "time-malformed", id="too fine"),
        pytest.param(Statement(time=forge.generalized("202406011200Z")), "time-malformed", id="no seconds"),
        pytest.param(Statement(time=forge.generalized("20240631120000Z")), "time-malformed", id="31 June"),
        pytest.param(Statement(time=forge.generalized("20161231235960Z")), "time-malformed", id="a leap second"),
        pytest.param(Statement(time=forge.generalized("00000601120000Z")), "time-malformed", id="year zero"),
        pytest.param(Statement(time=forge.tlv(24, "2024060112000\u0660Z".encode())), "time-malformed", id="odd digit"),
        pytest.param(Statement(time=forge.tlv(23, b"240601120000Z")), "time-malformed", id="UTCTime"),
        pytest.param(_accuracy(_sub(0, 1000)), "accuracy-range", id="1000 milliseconds"),
        pytest.param(_accuracy(_sub(1, 1000)), "accuracy-range", id="1000 microseconds"),
        pytest.param(_accuracy(_sub(0, -1)), "accuracy-range", id="negative milliseconds"),
        pytest.param(_accuracy(forge.integer(-1)), "accuracy-range", id="negative seconds"),
        pytest.param(_accuracy(forge.integer(10**6)), "accuracy-range", id="a million seconds"),
        pytest.param(_accuracy(_sub(1, 1), _sub(0, 1)), "statement-malformed", id="accuracy out of order"),
        pytest.param(_accuracy(_sub(2, 1)), "statement-malformed", id="an unknown part of the accuracy"),
        pytest.param(Statement(ordering=b"\x01\x01\x01"), "statement-malformed", id="a BOOLEAN of 01"),
        pytest.param(Statement(nonce=b"\x02\x02\x00\x01"), "statement-malformed", id="a nonce with a leading zero"),
        pytest.param(Statement(rest=forge.integer(1) + forge.integer(2)), "statement-malformed", id="a field too many"),
        pytest.param(Statement(tsa=forge.context(0)), "statement-malformed", id="an empty authority"),
        pytest.param(
            Statement(extensions=forge.context(1, forge.extension("1.2.3.4", b"", critical=True))),
            "statement-extension",
            id="an unknown critical extension",
        ),
        pytest.param(
            Statement(extensions=forge.context(1, *[forge.extension("1.2.3.4", b"")] * 2)),
            "statement-malformed",
            id="an extension twice",
        ),
        pytest.param(
            Statement(tsa=forge.context(0, forge.context(4, forge.name("Somebody else")))),
            "tsa-name-mismatch",
            id="another authority's name",
        ),
        pytest.param(
            Statement(tsa=forge.context(0, forge.context(6, b"https://tsa.test", constructed=False))),
            "tsa-name-mismatch",
            id="an address that the certificate does not have",
        ),
        pytest.param(Statement(digest=b"x" * 32), "imprint-mismatch", id="another file's digest"),
        pytest.param(
            Statement(imprint_hash="sha3-256"), "imprint-other-algorithm", id="the same octets, another algorithm"
        ),
    ],
)
def test_a_statement_that_breaks_a_rule_fails(statement: Statement, code: str) -> None:
    assert wrong(Token(statement=statement).der) == [f"rfc3161-{code}"]


def test_a_policy_that_is_not_required_fails() -> None:
    assert wrong(GOOD, required_policies=frozenset({"1.2.3.4.2"})) == ["rfc3161-policy-not-allowed"]


@pytest.mark.parametrize(
    ("statement", "options", "code"),
    [
        (Statement(), {"nonce": 1}, "nonce-missing"),
        (Statement(nonce=forge.integer(2)), {"nonce": 1}, "nonce-mismatch"),
        (Statement(nonce=forge.integer(-1)), {"nonce": 255}, "nonce-mismatch"),
        (Statement(), {"policy": "1.2.3.4.2"}, "request-policy-mismatch"),
        (Statement(), {"imprint": b"x" * 32}, "request-imprint-mismatch"),
    ],
)
def test_an_answer_to_another_request_fails(statement: Statement, options: dict[str, Any], code: str) -> None:
    assert wrong(Token(statement=statement).der, query=forge.request(**options)) == [f"rfc3161-{code}"]


@pytest.mark.parametrize(
    "query",
    [b"", b"garbage", forge.seq(), forge.seq(forge.integer(1)), forge.request() + b"\x00", forge.seq(forge.integer(2))],
)
def test_a_request_that_cannot_be_read_fails(query: bytes) -> None:
    assert wrong(GOOD, query=query) == ["rfc3161-request-malformed"]


def test_a_token_without_the_certificate_asked_for_fails() -> None:
    token = Token(certificates=(ISSUER.der,)).der
    assert wrong(token, query=forge.request(), hints=(SIGNER.der,)) == ["rfc3161-certificate-not-included"]


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
        pytest.param(
            Token(signature=forge.key("spoof").sign(forge.set_of(*_ATTRIBUTES))), id="another key's signature"
        ),
        pytest.param(Token(signature=SIGNER.key.sign(Statement().der)), id="a signature over the statement itself"),
        pytest.param(
            Token(signature=SIGNER.key.sign(b"\xa0" + forge.set_of(*_ATTRIBUTES)[1:])),
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
