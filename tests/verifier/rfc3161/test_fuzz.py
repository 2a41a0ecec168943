"""Whatever the bytes are, there is a result, and it is never a good one by accident."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.evidence_forge import Crl, Ocsp, certificate_identity, service, trusted_list
from tests.verifier.rfc3161.judging import TRUST, judge
from tests.verifier.rfc3161.token_forge import ISSUER, ROOT, SIGNER, Statement, Token
from verifier.rfc3161 import (
    RevocationEvidence,
    TimestampTrust,
    load_certificates,
    requested_imprint,
    stated_imprint,
    verify_token,
)
from verifier.rfc3161.explain import explain

NONCE = 2**64 + 5
RICH = Token(
    statement=Statement(
        accuracy=forge.seq(forge.integer(1), forge.context(0, b"\x05", constructed=False)),
        ordering=forge.boolean(True),
        nonce=forge.integer(NONCE),
        tsa=forge.context(0, forge.context(4, forge.name("Signer"))),
        extensions=forge.context(1, forge.extension("1.2.3.4", b"x")),
    ),
    attributes={forge.SIGNING_CERTIFICATE: forge.ess_v1(SIGNER.der, forge.issuer_serial("Issuer", 3))},
).response
QUERY = forge.request(nonce=NONCE)
# The issuer's name in the signer identifier is not signed, and it may be spelt in several ways.
_SIGNER_ID = forge.seq(forge.name("Issuer"), forge.integer(SIGNER.serial))
_FREE_BYTES = range(RICH.rindex(_SIGNER_ID), RICH.rindex(_SIGNER_ID) + len(_SIGNER_ID))


def test_the_token_that_is_changed_below_is_good() -> None:
    assert judge(RICH, query=QUERY).ok


@pytest.mark.parametrize("bit", [0, 2, 5, 7])
def test_no_byte_of_a_token_can_be_flipped(bit: int) -> None:
    good = judge(RICH)
    for position in range(len(RICH)):
        changed = bytearray(RICH)
        changed[position] ^= 1 << bit
        result = judge(bytes(changed))
        assert result.findings or not result.ok
        if result.ok:
            assert position in _FREE_BYTES, position
            assert result == good


def test_no_byte_of_a_token_can_be_dropped_or_doubled() -> None:
    for position in range(len(RICH)):
        assert not judge(RICH[:position] + RICH[position + 1 :]).ok
        assert not judge(RICH[: position + 1] + RICH[position:]).ok


def test_no_beginning_of_a_token_is_good() -> None:
    for length in range(len(RICH)):
        assert not judge(RICH[:length]).ok


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_have_a_result(data: bytes) -> None:
    assert not judge(data).ok
    assert not judge(RICH, query=data).ok
    assert stated_imprint(data) is None
    requested_imprint(data)


_TAGS = st.sampled_from(
    [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x17, 0x18, 0x30, 0x31, 0x80, 0xA0, 0xA1, 0xA3]
)
_ELEMENTS = st.recursive(
    st.builds(forge.tlv, _TAGS, st.binary(max_size=8)),
    lambda inner: st.builds(lambda tag, parts: forge.tlv(tag | 0x20, *parts), _TAGS, st.lists(inner, max_size=6)),
    max_leaves=30,
)


@settings(max_examples=150, deadline=None)
@given(_ELEMENTS)
def test_any_well_formed_elements_have_a_result(element: bytes) -> None:
    assert not judge(element).ok
    assert not judge(forge.seq(forge.oid(forge.SIGNED_DATA), forge.context(0, element))).ok
    assert not judge(Token(content=element).der).ok
    assert not judge(Token(attributes={forge.SIGNING_CERTIFICATE_V2: element}).der).ok
    assert not judge(Token(signer_id=element).der).ok
    judge(
        Token(certificates=(SIGNER.der, ISSUER.der, element), crls=(element,), unsigned=forge.context(1, element)).der
    )
    judge(Token().der, revocation=RevocationEvidence(crls=(element,), ocsp_responses=(element,)), hints=(element,))


@st.composite
def _spliced(draw: st.DrawFn, source: bytes) -> bytes:
    """Pieces of `source` moved over one another."""
    data = bytearray(source)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data) - 1))
        end = draw(st.integers(start, min(len(data), start + 64)))
        target = draw(st.integers(0, len(data) - 1))
        piece = data[start:end]
        data[target : target + draw(st.integers(0, len(piece)))] = piece
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(_spliced(RICH))
def test_a_token_with_its_pieces_moved_is_never_good(data: bytes) -> None:
    if data != RICH and judge(data).ok:
        assert judge(data) == judge(RICH)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    _spliced(SIGNER.der),
    _spliced(ISSUER.der),
    _spliced(Crl(extensions=(forge.extension("2.5.29.27", forge.integer(1)),)).der),
    _spliced(Ocsp().der),
    _spliced(trusted_list(service(certificate_identity(SIGNER.der), ("granted", "2020-01-01T00:00:00Z")))),
)
def test_damaged_certificates_and_evidence_have_a_result(
    signer: bytes, issuer: bytes, crl: bytes, ocsp: bytes, listed: bytes
) -> None:
    result = judge(
        Token(certificates=(signer, issuer)).der,
        hints=(signer, issuer),
        trust=(TimestampTrust(roots=(ROOT.der, issuer), intermediates=(issuer,)),),
        revocation=RevocationEvidence(crls=(crl,), ocsp_responses=(ocsp,)),
        trusted_lists=(listed,),
    )
    assert not result.ok or SIGNER.der in result.certificate_path


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | _spliced(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"))
def test_a_file_of_certificates_is_read_or_refused_with_a_reason(data: bytes) -> None:
    with suppress(ValueError):
        assert load_certificates(data)


_ABSURD = 10**30_000


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(forge.response(b"", status=_ABSURD), id="status"),
        pytest.param(Token(version=_ABSURD).der, id="version of the message"),
        pytest.param(Token(signer_version=_ABSURD).der, id="version of the signer"),
        pytest.param(Token(signer=replace(SIGNER, serial=_ABSURD)).der, id="serial number of the certificate"),
        pytest.param(Token(statement=Statement(version=_ABSURD)).der, id="version of the statement"),
        pytest.param(Token(statement=Statement(serial=_ABSURD)).der, id="serial number of the statement"),
        pytest.param(Token(statement=Statement(nonce=forge.integer(_ABSURD))).der, id="nonce"),
        pytest.param(Token(statement=Statement(accuracy=forge.seq(forge.integer(_ABSURD)))).der, id="accuracy"),
    ],
)
def test_a_number_too_long_to_print_is_refused(token: bytes) -> None:
    result = judge(token)
    assert not result.ok
    assert "\n".join(explain(result, "FAILED", []))


def test_a_digest_of_an_unknown_algorithm_matches_nothing() -> None:
    assert not verify_token(RICH, digest=forge.DATA_DIGEST, hash_algorithm="crc32", trust=(TRUST,)).ok
