"""Tokens in which one rule is broken are refused, for exactly that reason."""

from typing import Any

import pytest

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.judging import codes_of, judge, wrong
from tests.verifier.rfc3161.token_forge import ISSUER, SIGNER, Statement, Token

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
        pytest.param(
            forge.integer(3)
            + forge.set_of()
            + forge.seq(forge.oid(forge.TST_INFO), forge.context(0, forge.octets(b"")))
            + forge.context(0, b"junk", constructed=False)
            + forge.set_of(),
            id="certificates that are not a set",
        ),
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
        pytest.param(Statement(time=forge.generalized("99991231235959Z")), "time-malformed", id="year 9999"),
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
