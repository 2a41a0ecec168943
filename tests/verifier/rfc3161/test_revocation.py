"""Revocation evidence is believed only from whom it must come, and means for a token what RFC 3161 says."""

from dataclasses import replace

import pytest

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.evidence_forge import (
    AFTER,
    AT,
    BEFORE,
    LATER,
    RESPONDER,
    UNKNOWN,
    Crl,
    Ocsp,
    entry,
    revoked,
)
from tests.verifier.rfc3161.judging import codes_of, judge
from tests.verifier.rfc3161.token_forge import ISSUER, ROOT, SIGNER, Token
from verifier.findings import Severity
from verifier.rfc3161 import RevocationEvidence, TokenResult

KEY_COMPROMISE, SUPERSEDED = 1, 4
ROOT_CRL = Crl(issuer="Root", key=ROOT.key).der


CROWD = tuple(bytes([number]) for number in range(151))


def _with_crls(*crls: Crl, token: bytes | None = None) -> TokenResult:
    """A token beside the issuer's lists given, and a list by which the issuer itself is good."""
    evidence = RevocationEvidence(crls=(*(crl.der for crl in crls), ROOT_CRL))
    return judge(token or Token().der, revocation=evidence)


def _with_ocsp(*responses: bytes) -> TokenResult:
    return judge(Token().der, revocation=RevocationEvidence(crls=(ROOT_CRL,), ocsp_responses=responses))


@pytest.mark.parametrize(
    "crl",
    [
        pytest.param(Crl(), id="issued after the token"),
        pytest.param(Crl(this_update=BEFORE, next_update=AFTER), id="in force when the token was made"),
        pytest.param(Crl(this_update=BEFORE, next_update=AT), id="in force to that very second"),
        pytest.param(Crl(next_update=None), id="issued after the token, with no next update"),
        pytest.param(Crl(entries=(entry(99), entry(100))), id="about others"),
        pytest.param(Crl(extensions=(forge.extension("1.2.3.4", b""),)), id="with an unknown extension"),
    ],
)
def test_a_list_that_does_not_name_the_certificate_shows_that_it_was_good(crl: Crl) -> None:
    result = _with_crls(crl)
    assert (result.ok, result.revocation) == (True, "GOOD-AT-GENTIME")


def _issuing_point(*parts: bytes) -> bytes:
    return forge.extension("2.5.29.28", forge.seq(*parts), critical=True)


def _flag(number: int) -> bytes:
    return forge.context(number, b"\xff", constructed=False)


_POINT = forge.context(6, b"http://crl.test/1", constructed=False)


@pytest.mark.parametrize(
    "crl",
    [
        pytest.param(Crl(this_update="20200101000000Z", next_update=BEFORE), id="outdated when the token was made"),
        pytest.param(Crl(this_update=BEFORE, next_update=None), id="before the token, with no next update"),
        pytest.param(Crl(this_update="20310101000000Z", next_update=None), id="after the certificate had expired"),
        pytest.param(Crl(key=forge.key("impostor")), id="signed by somebody else"),
        pytest.param(Crl(issuer="Root", key=ROOT.key), id="another authority's"),
        pytest.param(Crl(hash_name="sha1"), id="signed with SHA-1"),
        pytest.param(
            Crl(extensions=(forge.extension("1.2.3.4", b"", critical=True),)), id="a critical unknown extension"
        ),
        pytest.param(
            Crl(extensions=(forge.extension("2.5.29.27", forge.integer(1), critical=True),)), id="a delta list"
        ),
        pytest.param(Crl(extensions=(_issuing_point(_flag(2)),)), id="a list of authorities only"),
        pytest.param(Crl(extensions=(_issuing_point(_flag(4)),)), id="an indirect list"),
        pytest.param(Crl(extensions=(_issuing_point(_flag(5)),)), id="a list of attribute certificates"),
        pytest.param(
            Crl(extensions=(_issuing_point(forge.context(3, b"\x06\x40", constructed=False)),)), id="some reasons only"
        ),
        pytest.param(
            Crl(extensions=(_issuing_point(forge.context(0, forge.context(0, _POINT))),)), id="another part of the list"
        ),
    ],
)
def test_a_list_that_says_nothing_about_the_certificate_shows_nothing(crl: Crl) -> None:
    result = _with_crls(crl)
    assert (result.ok, result.revocation) == (True, "NO-EVIDENCE")
    assert "rfc3161-no-revocation-evidence" in codes_of(result, Severity.INFO)


def test_a_list_about_the_certificates_own_part_shows_that_it_was_good() -> None:
    point = forge.context(0, forge.context(0, _POINT))
    signer = replace(
        SIGNER, extensions=(*forge.SIGNER_EXTENSIONS, forge.extension("2.5.29.31", forge.seq(forge.seq(point))))
    )
    crl = Crl(extensions=(_issuing_point(point, _flag(1)),))
    assert _with_crls(crl, token=Token(signer=signer).der).revocation == "GOOD-AT-GENTIME"


def test_a_list_that_keeps_expired_certificates_shows_that_one_was_good() -> None:
    keeps = forge.extension("2.5.29.60", forge.generalized("20200101000000Z"))
    crl = Crl(this_update="20310101000000Z", extensions=(keeps,))
    assert _with_crls(crl).revocation == "GOOD-AT-GENTIME"


@pytest.mark.parametrize(
    ("since", "reason"),
    [
        pytest.param(AFTER, KEY_COMPROMISE, id="a compromised key voids earlier tokens too"),
        pytest.param(AFTER, 2, id="so does a compromised authority"),
        pytest.param(AFTER, None, id="and a revocation without a reason"),
        pytest.param(BEFORE, SUPERSEDED, id="another reason voids later tokens"),
        pytest.param(AT, SUPERSEDED, id="from that very second on"),
        pytest.param(BEFORE, 0, id="as does an unspecified reason"),
    ],
)
def test_a_revocation_voids_the_token(since: str, reason: int | None) -> None:
    for result in (
        _with_crls(Crl(entries=(entry(98), entry(SIGNER.serial, since, reason=reason)))),
        _with_ocsp(Ocsp(status=revoked(since, reason)).der),
    ):
        assert (result.status, result.revocation) == ("invalid", "REVOKED")
        assert codes_of(result) == ["rfc3161-revoked"]


@pytest.mark.parametrize("reason", [0, 3, SUPERSEDED, 5, 6, 9])
def test_a_later_revocation_for_another_reason_leaves_the_token_good(reason: int) -> None:
    for result in (
        _with_crls(Crl(entries=(entry(SIGNER.serial, AFTER, reason=reason),))),
        _with_ocsp(Ocsp(status=revoked(AFTER, reason)).der),
    ):
        assert (result.ok, result.revocation) == (True, "GOOD-AT-GENTIME")
        assert codes_of(result, Severity.WARNING) == ["rfc3161-revoked-later"]


def test_the_date_of_invalidity_counts_when_it_is_earlier() -> None:
    invalid_since = forge.extension("2.5.29.24", forge.generalized(BEFORE))
    crl = Crl(entries=(entry(SIGNER.serial, AFTER, reason=SUPERSEDED, extensions=(invalid_since,)),))
    assert _with_crls(crl).revocation == "REVOKED"


def test_a_revoked_authority_voids_the_token() -> None:
    crl = Crl(issuer="Root", key=ROOT.key, entries=(entry(ISSUER.serial, AFTER, reason=KEY_COMPROMISE),))
    assert judge(Token().der, revocation=RevocationEvidence(crls=(Crl().der, crl.der))).revocation == "REVOKED"


def test_one_revocation_outweighs_any_amount_of_good_evidence() -> None:
    bad = Crl(entries=(entry(SIGNER.serial, AFTER, reason=KEY_COMPROMISE),))
    assert _with_crls(Crl(), bad, Crl(this_update=LATER)).revocation == "REVOKED"


def test_a_partial_list_can_still_revoke() -> None:
    delta = forge.extension("2.5.29.27", forge.integer(1), critical=True)
    assert _with_crls(Crl(entries=(entry(SIGNER.serial),), extensions=(delta,))).revocation == "REVOKED"


def test_a_certificate_taken_off_a_list_again_is_not_revoked() -> None:
    assert _with_crls(Crl(entries=(entry(SIGNER.serial, BEFORE, reason=8),))).revocation == "GOOD-AT-GENTIME"


def test_an_entry_that_may_be_about_another_authoritys_certificate_shows_nothing() -> None:
    other_issuer = forge.extension("2.5.29.29", forge.seq(forge.context(4, forge.name("Other"))), critical=True)
    crl = Crl(entries=(entry(SIGNER.serial, extensions=(other_issuer,)),))
    assert _with_crls(crl).revocation == "NO-EVIDENCE"


def test_a_list_by_an_authority_whose_key_is_not_for_lists_shows_nothing() -> None:
    issuer = replace(ISSUER, extensions=(forge.basic_constraints(), forge.key_usage(5)))
    assert _with_crls(Crl(), token=Token(certificates=(SIGNER.der, issuer.der)).der).revocation == "NO-EVIDENCE"


def test_evidence_about_the_signer_alone_is_not_complete() -> None:
    result = judge(Token().der, revocation=RevocationEvidence(crls=(Crl().der,)))
    assert (result.ok, result.revocation) == (True, "NO-EVIDENCE")


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(Ocsp(), id="by the issuer"),
        pytest.param(Ocsp(by_key=True), id="by the issuer, named by its key"),
        pytest.param(Ocsp(certificate_hash="sha256"), id="with SHA-256 identifiers"),
        pytest.param(Ocsp(this_update=BEFORE, next_update=AFTER), id="in force when the token was made"),
        pytest.param(Ocsp(responder=RESPONDER, certificates=(RESPONDER.der,)), id="by a delegate"),
        pytest.param(
            Ocsp(
                this_update="20310101000000Z",
                single_extensions=(forge.extension("1.3.6.1.5.5.7.48.1.6", forge.generalized("20200101000000Z")),),
            ),
            id="after expiry, with an archive cutoff",
        ),
    ],
)
def test_a_good_ocsp_answer_shows_that_the_certificate_was_good(response: Ocsp) -> None:
    for data in (response.der, response.basic):
        assert _with_ocsp(data).revocation == "GOOD-AT-GENTIME"


def _delegate(**changes: object) -> Ocsp:
    responder = replace(RESPONDER, **changes)  # type: ignore[arg-type]  # each caller names real fields
    return Ocsp(responder=responder, certificates=(responder.der,))


_UNKNOWN_CRITICAL = (forge.extension("1.2.3.4", b"", critical=True),)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(Ocsp(this_update=BEFORE), id="before the token, with no next update"),
        pytest.param(Ocsp(this_update="20310101000000Z"), id="after the certificate had expired"),
        pytest.param(Ocsp(status=UNKNOWN), id="an answer of unknown"),
        pytest.param(Ocsp(serial=99), id="about another certificate"),
        pytest.param(Ocsp(issuer=ROOT), id="about another issuer's certificate"),
        pytest.param(Ocsp(hash_name="sha1"), id="signed with SHA-1"),
        pytest.param(Ocsp(response_status=3), id="no answer"),
        pytest.param(Ocsp(extensions=_UNKNOWN_CRITICAL), id="a critical unknown extension"),
        pytest.param(Ocsp(single_extensions=_UNKNOWN_CRITICAL), id="a critical unknown extension of the answer"),
        pytest.param(Ocsp(responder=RESPONDER), id="by a delegate whose certificate is missing"),
        pytest.param(_delegate(extensions=()), id="by a certificate without that purpose"),
        pytest.param(_delegate(signed_by=forge.key("impostor")), id="by a delegate of somebody else"),
        pytest.param(_delegate(not_after=BEFORE), id="by a delegate that had expired"),
        pytest.param(_delegate(issuer="Root", signed_by=ROOT.key), id="by a delegate of the root"),
        pytest.param(_delegate(hash_name="sha1"), id="by a delegate certified with SHA-1"),
        pytest.param(
            Ocsp(responder=replace(ISSUER, key=forge.key("impostor"))), id="by somebody with the issuer's name"
        ),
    ],
)
def test_an_ocsp_answer_that_is_not_conclusive_shows_nothing(response: Ocsp) -> None:
    result = _with_ocsp(response.der)
    assert (result.ok, result.revocation) == (True, "NO-EVIDENCE")


def test_evidence_inside_the_token_counts_too() -> None:
    ocsp = forge.context(1, forge.oid("1.3.6.1.5.5.7.16.2"), Ocsp().der)
    assert judge(Token(crls=(ROOT_CRL, ocsp)).der).revocation == "GOOD-AT-GENTIME"


def test_evidence_inside_the_token_is_not_crowded_out_by_what_lies_beside_it() -> None:
    token = Token(crls=(ROOT_CRL, Crl().der)).der
    assert judge(token, revocation=RevocationEvidence(crls=CROWD)).revocation == "GOOD-AT-GENTIME"


def test_a_revocation_is_found_among_as_much_evidence_as_a_bundle_is_written_with() -> None:
    revoking = Crl(entries=(entry(SIGNER.serial, BEFORE),)).der
    assert judge(Token().der, revocation=RevocationEvidence(crls=(*CROWD[:149], revoking))).revocation == "REVOKED"


def test_evidence_in_an_unsigned_attribute_counts_too() -> None:
    values = forge.seq(forge.context(0, forge.seq(ROOT_CRL)), forge.context(1, forge.seq(Ocsp().basic)))
    unsigned = forge.context(1, forge.attribute("1.2.840.113549.1.9.16.2.24", values))
    assert judge(Token(unsigned=unsigned).der).revocation == "GOOD-AT-GENTIME"


def test_certificates_in_an_unsigned_attribute_help_to_reach_the_root() -> None:
    values = forge.seq(ISSUER.der, forge.NULL)
    unsigned = forge.context(1, forge.attribute("1.2.840.113549.1.9.16.2.23", values))
    assert judge(Token(certificates=(SIGNER.der,), unsigned=unsigned).der).ok


@pytest.mark.parametrize(
    "junk", [b"", b"junk", forge.seq(), forge.seq(forge.seq(), forge.seq(), forge.seq()), Crl().der[:-1]]
)
def test_evidence_that_cannot_be_read_is_told_and_shows_nothing(junk: bytes) -> None:
    for evidence in (RevocationEvidence(crls=(junk,)), RevocationEvidence(ocsp_responses=(junk,))):
        result = judge(Token().der, revocation=evidence)
        assert (result.ok, result.revocation) == (True, "NO-EVIDENCE")
        assert "rfc3161-revocation-unusable" in codes_of(result, Severity.INFO)


def test_more_evidence_than_is_read_is_told() -> None:
    result = judge(Token().der, revocation=RevocationEvidence(crls=CROWD))
    messages = [finding.message for finding in result.findings if finding.code == "rfc3161-revocation-unusable"]
    assert any("more revocation evidence than is read" in message for message in messages)


def test_an_authority_without_key_usage_may_sign_lists() -> None:
    issuer = replace(ISSUER, extensions=(forge.basic_constraints(),))
    assert _with_crls(Crl(), token=Token(certificates=(SIGNER.der, issuer.der)).der).revocation == "GOOD-AT-GENTIME"
