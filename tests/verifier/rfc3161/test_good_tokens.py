"""Tokens that are good, in every way that real authorities differ, are accepted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.judging import TRUST, codes_of, judge
from tests.verifier.rfc3161.token_forge import ISSUER, ROOT, SIGNER, Statement, Token, replace_signer
from verifier.findings import Severity
from verifier.rfc3161 import Check, TimestampTrust


def test_a_plain_response_is_valid() -> None:
    result = judge(Token().response)
    assert (result.ok, result.status) == (True, "valid")
    assert result.time == datetime(2024, 6, 1, 12, tzinfo=UTC)
    assert result.accuracy_microseconds is None
    assert (result.policy, result.serial_number) == (forge.POLICY, 42)
    assert result.signer == "CN=Signer, O=Forge"
    assert result.certificate_path == (SIGNER.der, ISSUER.der, ROOT.der)
    assert (result.revocation, result.qualified) == ("NO-EVIDENCE", "UNKNOWN")
    assert result.completed == tuple(check for check in Check if check is not Check.REQUEST)


def _signed_by(kind: str, hash_name: str = "sha256", **changes: Any) -> Token:
    signer = replace(SIGNER, key=forge.key("signer", kind))
    return Token(signer=signer, hash_name=hash_name, **changes)


_NAMED = Statement(tsa=forge.context(0, forge.context(4, forge.name("Signer"))))
_OTHER_CASE = Statement(tsa=forge.context(0, forge.context(4, forge.name("SIGNER"))))
_ALTERNATIVE = forge.extension("2.5.29.17", forge.seq(forge.context(6, b"https://tsa.test", constructed=False)))
_BY_KEY_ID = replace(
    SIGNER, extensions=(*forge.SIGNER_EXTENSIONS, forge.extension("2.5.29.14", forge.octets(b"the key's name")))
)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(Token().der, id="a bare token"),
        pytest.param(_signed_by("p384", "sha384").der, id="ECDSA on P-384"),
        pytest.param(_signed_by("p521", "sha512").der, id="ECDSA on P-521"),
        pytest.param(_signed_by("p256", "sha3-256").der, id="SHA-3"),
        pytest.param(_signed_by("ed25519", "sha512").der, id="Ed25519"),
        pytest.param(_signed_by("ed448", "shake256").der, id="Ed448"),
        pytest.param(_signed_by("rsa", "sha512").der, id="RSA, named with its hash"),
        pytest.param(
            _signed_by("rsa", signature_algorithm=forge.seq(forge.oid("1.2.840.113549.1.1.1"), forge.NULL)).der,
            id="RSA, the hash named only by the digest",
        ),
        pytest.param(
            _signed_by("rsa", pss=True, signature_algorithm=forge.pss_algorithm("sha256")).der, id="RSASSA-PSS"
        ),
        pytest.param(
            Token(signature_algorithm=forge.seq(forge.oid("1.2.840.10045.4.3.2"), forge.NULL)).der,
            id="a NULL where ECDSA has no parameters",
        ),
        pytest.param(
            Token(digest_algorithm=forge.seq(forge.oid(forge.HASH_OIDS["sha256"]))).der,
            id="no NULL after the digest algorithm",
        ),
        pytest.param(Token(certificates=(ROOT.der, ISSUER.der, SIGNER.der)).der, id="certificates in any order"),
        pytest.param(Token(certificates=(SIGNER.der, SIGNER.der, ISSUER.der)).der, id="a certificate twice"),
        pytest.param(Token(statement=Statement(time=forge.generalized("20240601120000.5Z"))).der, id="tenths"),
        pytest.param(
            Token(statement=Statement(time=forge.generalized("20240601120000.123456Z"))).der, id="microseconds"
        ),
        pytest.param(Token(statement=Statement(ordering=forge.boolean(True))).der, id="ordering"),
        pytest.param(Token(statement=Statement(ordering=forge.boolean(False))).der, id="ordering, spelt out as false"),
        pytest.param(Token(statement=Statement(nonce=forge.integer(2**63))).der, id="a nonce"),
        pytest.param(Token(statement=Statement(serial=2**159)).der, id="a serial number of 160 bits"),
        pytest.param(Token(statement=_NAMED).der, id="the authority's name"),
        pytest.param(Token(statement=_OTHER_CASE).der, id="the authority's name in capitals"),
        pytest.param(
            Token(
                statement=Statement(tsa=forge.context(0, forge.context(6, b"https://tsa.test", constructed=False))),
                signer=replace(SIGNER, extensions=(*forge.SIGNER_EXTENSIONS, _ALTERNATIVE)),
            ).der,
            id="an alternative name of the authority",
        ),
        pytest.param(
            Token(statement=Statement(extensions=forge.context(1, forge.extension("1.2.3.4", b"anything")))).der,
            id="an unknown extension that is not critical",
        ),
        pytest.param(
            Token(
                signer=_BY_KEY_ID,
                signer_version=3,
                signer_id=forge.context(0, b"\x04\x0ethe key's name"[2:], constructed=False),
            ).der,
            id="a signer named by its key",
        ),
        pytest.param(
            Token(attributes={forge.SIGNING_CERTIFICATE: forge.ess_v1(SIGNER.der)}).der,
            id="both attributes for the signing certificate",
        ),
        pytest.param(
            Token(
                attributes={
                    forge.SIGNING_CERTIFICATE_V2: forge.ess_v2(
                        SIGNER.der, forge.issuer_serial("Issuer", 3), hash_name="sha512"
                    )
                }
            ).der,
            id="a signing certificate with its issuer, by SHA-512",
        ),
        pytest.param(
            Token(
                attributes={
                    forge.ALGORITHM_PROTECTION: forge.attribute(
                        forge.ALGORITHM_PROTECTION,
                        forge.seq(
                            forge.seq(forge.oid(forge.HASH_OIDS["sha256"])),
                            forge.context(1, forge.oid("1.2.840.10045.4.3.2")),
                        ),
                    )
                }
            ).der,
            id="algorithm protection that differs only by a NULL",
        ),
        pytest.param(
            Token(version=5, crls=(forge.context(1, forge.oid("1.2.3"), forge.NULL),)).der,
            id="another format of revocation evidence",
        ),
        pytest.param(
            Token(crls=(forge.context(1, forge.oid("1.2.3"), forge.NULL),)).der,
            id="the same, with the usual version",
        ),
        pytest.param(
            Token(attributes={"1.2.3.4.5": forge.attribute("1.2.3.4.5", forge.NULL)}).der, id="an unknown attribute"
        ),
        pytest.param(
            replace_signer(extensions=(forge.key_usage(1), forge.purposes(forge.TIME_STAMPING))).der,
            id="a key for non-repudiation alone",
        ),
        pytest.param(replace_signer(extensions=(forge.purposes(forge.TIME_STAMPING),)).der, id="no key usage"),
        pytest.param(
            replace_signer(extensions=(*forge.SIGNER_EXTENSIONS, forge.basic_constraints(ca=False))).der,
            id="basic constraints that deny being a CA",
        ),
    ],
)
def test_what_real_authorities_do_is_valid(token: bytes) -> None:
    result = judge(token)
    assert result.ok, result.findings
    assert codes_of(result, Severity.WARNING) == []


@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param(
            Token(
                attributes={
                    forge.SIGNING_CERTIFICATE: forge.ess_v1(SIGNER.der, forge.issuer_serial("Issuer", 3)),
                    forge.SIGNING_CERTIFICATE_V2: None,
                }
            ).der,
            "rfc3161-signing-certificate-legacy",
            id="a signing certificate named by SHA-1 only",
        ),
        pytest.param(
            Token(statement=Statement(time=forge.generalized("20240601120000.500Z"))).der,
            "rfc3161-time-not-canonical",
            id="a zero at the end of the time",
        ),
        pytest.param(
            Token(statement=Statement(accuracy=forge.seq(forge.context(0, b"\x00", constructed=False)))).der,
            "rfc3161-accuracy-zero",
            id="an accuracy of zero",
        ),
        pytest.param(
            Token(certificates=(SIGNER.der, ISSUER.der, forge.context(1, forge.NULL))).der,
            "rfc3161-foreign-certificate",
            id="an attribute certificate",
        ),
        pytest.param(
            Token(certificates=(SIGNER.der, ISSUER.der, forge.seq(forge.NULL))).der,
            "rfc3161-foreign-certificate",
            id="something that is no certificate",
        ),
        pytest.param(
            Token(
                certificates=(
                    replace(SIGNER, subject="Spoof", signed_by=forge.key("spoof")).der,
                    SIGNER.der,
                    ISSUER.der,
                )
            ).der,
            "rfc3161-signer-ambiguous",
            id="a spoofed certificate with the signer's issuer and serial number",
        ),
    ],
)
def test_what_is_odd_but_harmless_is_valid_with_a_warning(token: bytes, code: str) -> None:
    result = judge(token)
    assert result.ok, result.findings
    assert codes_of(result, Severity.WARNING) == [code]
    assert result.signer == "CN=Signer, O=Forge"


def test_a_claim_to_be_qualified_is_told_as_a_claim() -> None:
    claim = forge.extension("1.3.6.1.5.5.7.1.3", forge.seq(forge.seq(forge.oid("0.4.0.19422.1.1"))))
    result = judge(Token(statement=Statement(extensions=forge.context(1, claim))).der)
    assert (result.ok, result.qualified) == (True, "UNKNOWN")
    assert "rfc3161-qualified-claim" in codes_of(result, Severity.INFO)


def test_the_accuracy_is_told_in_microseconds() -> None:
    accuracy = forge.seq(
        forge.integer(2),
        forge.context(0, forge.integer_content(500), constructed=False),
        forge.context(1, forge.integer_content(7), constructed=False),
    )
    assert judge(Token(statement=Statement(accuracy=accuracy)).der).accuracy_microseconds == 2_500_007


def test_a_fraction_of_a_second_is_told_exactly() -> None:
    result = judge(Token(statement=Statement(time=forge.generalized("20240601120000.000001Z"))).der)
    assert result.time == datetime(2024, 6, 1, 12, 0, 0, 1, tzinfo=UTC)


def test_a_token_is_good_long_after_its_certificates_have_expired() -> None:
    signer = replace(SIGNER, not_before="20240601120000Z", not_after="20240601120000Z")
    assert judge(Token(signer=signer).der).ok


def test_the_signer_may_be_supplied_beside_a_token_without_certificates() -> None:
    assert judge(Token(certificates=()).der, hints=(ISSUER.der, SIGNER.der)).ok


def test_intermediates_of_the_configuration_help_to_reach_the_root() -> None:
    trust = TimestampTrust(roots=(ROOT.der,), intermediates=(ISSUER.der,))
    assert judge(Token(certificates=(SIGNER.der,)).der, trust=(trust,)).ok


def test_an_issuing_authority_may_be_the_configured_root() -> None:
    result = judge(Token().der, trust=(TimestampTrust(roots=(ISSUER.der,)),))
    assert result.ok
    assert result.certificate_path == (SIGNER.der, ISSUER.der)


def test_the_signer_itself_may_be_the_configured_root() -> None:
    result = judge(Token().der, trust=(TimestampTrust(roots=(SIGNER.der,)),))
    assert result.ok
    assert result.certificate_path == (SIGNER.der,)


def test_a_window_that_the_time_touches_at_its_edge_lets_it_pass() -> None:
    instant = datetime(2024, 6, 1, 12, tzinfo=UTC)
    trust = replace(TRUST, valid_from=instant, valid_to=instant)
    assert judge(Token().der, trust=(trust,)).ok


def test_the_window_of_a_root_that_did_not_sign_does_not_matter() -> None:
    other = replace(ROOT, subject="Other", issuer="Other", key=forge.key("other"), signed_by=forge.key("other"))
    closed = TimestampTrust(roots=(other.der,), valid_to=datetime(2000, 1, 1, tzinfo=UTC))
    assert judge(Token().der, trust=(closed, TRUST)).ok


def test_one_of_two_entries_for_a_root_suffices() -> None:
    closed = replace(TRUST, valid_to=datetime(2024, 1, 1, tzinfo=UTC))
    assert judge(Token().der, trust=(closed, TRUST)).ok


def test_a_response_granted_with_modifications_is_accepted_on_request() -> None:
    response = forge.response(Token().der, status=1)
    assert judge(response, allow_granted_with_mods=True).ok


def test_a_token_that_answers_its_request_is_valid() -> None:
    nonce = 2**64 + 1
    token = Token(statement=Statement(nonce=forge.integer(nonce))).response
    query = forge.request(nonce=nonce, policy=forge.POLICY)
    result = judge(token, query=query)
    assert result.ok
    assert Check.REQUEST in result.completed


@pytest.mark.parametrize(
    ("query", "certificates", "code"),
    [
        (forge.request(), None, "rfc3161-nonce-unasked"),
        (forge.request(nonce=5, wants_certificate=False), None, "rfc3161-certificate-unasked"),
    ],
)
def test_an_answer_with_more_than_was_asked_is_valid_with_a_warning(
    query: bytes, certificates: None, code: str
) -> None:
    result = judge(Token(statement=Statement(nonce=forge.integer(5))).der, query=query)
    assert result.ok
    assert codes_of(result, Severity.WARNING) == [code]


def test_certificates_are_judged_at_another_time_when_told_so() -> None:
    assert judge(Token().der, at=datetime(2024, 6, 1, tzinfo=UTC) + timedelta(days=1)).ok
    assert not judge(Token().der, at=datetime(2031, 1, 1, tzinfo=UTC)).ok
