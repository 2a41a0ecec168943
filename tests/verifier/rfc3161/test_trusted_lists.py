"""A time-stamp is qualified only when a trusted list says that its service was granted at that very time."""

import base64
from dataclasses import replace

import pytest

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.evidence_forge import certificate_identity, service, trusted_list
from tests.verifier.rfc3161.judging import TRUST, codes_of, judge
from tests.verifier.rfc3161.token_forge import ISSUER, ROOT, SIGNER, Statement, Token
from verifier.findings import Severity

BY_SIGNER, BY_ISSUER = certificate_identity(SIGNER.der), certificate_identity(ISSUER.der)
EARLY, LATE = "2020-01-01T00:00:00Z", "2024-07-01T00:00:00Z"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        pytest.param(service(BY_SIGNER, ("granted", EARLY)), "QUALIFIED", id="the signer is granted"),
        pytest.param(service(BY_ISSUER, ("granted", EARLY)), "QUALIFIED", id="its issuer is granted"),
        pytest.param(
            service(BY_SIGNER, ("withdrawn", LATE), ("granted", EARLY)), "QUALIFIED", id="withdrawn only later"
        ),
        pytest.param(
            service(BY_SIGNER, ("granted", "2024-06-01T14:00:00+02:00")), "QUALIFIED", id="granted to the second"
        ),
        pytest.param(
            service(BY_SIGNER, ("granted", "2024-06-01T12:00:01Z")), "NOT-QUALIFIED", id="granted a second later"
        ),
        pytest.param(service(BY_SIGNER, ("granted", LATE)), "NOT-QUALIFIED", id="granted only later"),
        pytest.param(service(BY_SIGNER, ("withdrawn", EARLY)), "NOT-QUALIFIED", id="withdrawn before"),
        pytest.param(
            service(BY_SIGNER, ("granted", LATE), ("withdrawn", EARLY), ("granted", "2018-01-01T00:00:00Z")),
            "NOT-QUALIFIED",
            id="withdrawn in between",
        ),
        pytest.param(
            service(BY_SIGNER, ("granted", EARLY), kind="http://uri.etsi.org/TrstSvc/Svctype/TSA"),
            "NOT-QUALIFIED",
            id="a service that is not qualified",
        ),
        pytest.param(
            service(certificate_identity(ROOT.der[:-1]), ("granted", EARLY)), "NOT-QUALIFIED", id="an odd certificate"
        ),
        pytest.param(
            service(certificate_identity(replace(SIGNER, key=forge.key("other")).der), ("granted", EARLY)),
            "NOT-QUALIFIED",
            id="somebody else of that name",
        ),
        pytest.param(
            service(
                BY_SIGNER,
                ("withdrawn", EARLY),
                more=f"<Extensions>{service(BY_SIGNER, ('granted', EARLY))}</Extensions>",
            ),
            "NOT-QUALIFIED",
            id="a service hidden inside another",
        ),
        pytest.param("", "NOT-QUALIFIED", id="an empty list"),
    ],
)
def test_the_list_decides_at_the_time_of_the_token(listed: str, expected: str) -> None:
    result = judge(Token().der, trusted_lists=(trusted_list(listed),))
    assert (result.ok, result.qualified) == (True, expected)


def test_a_service_known_only_by_its_key_identifier_is_found() -> None:
    identifier = b"twenty bytes of name"
    issuer = replace(ISSUER, extensions=(*forge.CA_EXTENSIONS, forge.extension("2.5.29.14", forge.octets(identifier))))
    listed = service(f"<X509SKI>{base64.b64encode(identifier).decode()}</X509SKI>", ("granted", EARLY))
    token = Token(certificates=(SIGNER.der, issuer.der)).der
    assert judge(token, trusted_lists=(trusted_list(listed),)).qualified == "QUALIFIED"


def test_nothing_was_qualified_before_the_regulation_applied() -> None:
    early = "20160630215959Z"
    signer, issuer, root = (replace(c, not_before="20100101000000Z") for c in (SIGNER, ISSUER, ROOT))
    token = Token(
        signer=signer,
        certificates=(signer.der, issuer.der),
        statement=Statement(time=forge.generalized(early)),
    ).der
    listed = trusted_list(service(certificate_identity(signer.der), ("granted", "2010-01-01T00:00:00Z")))
    result = judge(token, trust=(replace(TRUST, roots=(root.der,)),), trusted_lists=(listed,))
    assert (result.ok, result.qualified) == (True, "NOT-QUALIFIED")


_ENTITY = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>'


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html/>", id="another document"),
        pytest.param(trusted_list(prolog=_ENTITY), id="a document type"),
        pytest.param(trusted_list()[:-5], id="the end cut off"),
        pytest.param(trusted_list("<a>" * 100 + "</a>" * 100), id="nested too deep"),
        pytest.param(trusted_list(service(BY_SIGNER, ("granted", "yesterday"))), id="a time that is none"),
        pytest.param(trusted_list(service(BY_SIGNER, ("granted", "2020-01-01T00:00:00"))), id="a time without a zone"),
        pytest.param(trusted_list(service("<X509SKI>!</X509SKI>", ("granted", EARLY))), id="damaged base64"),
        pytest.param(b" " * (16 * 2**20 + 1), id="more than 16 MiB"),
        pytest.param(b"\xff\xfe\x00", id="bytes"),
    ],
)
def test_a_list_that_cannot_be_read_leaves_the_question_open(data: bytes) -> None:
    result = judge(Token().der, trusted_lists=(data,))
    assert (result.ok, result.qualified) == (True, "UNKNOWN")
    assert codes_of(result, Severity.WARNING) == ["rfc3161-trusted-list-unusable"]
