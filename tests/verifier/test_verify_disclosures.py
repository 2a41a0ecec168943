"""Sealed members and their disclosures."""

import base64
import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.verifier.bundle_forge import Chain, canonical, data_files, sealed, zipped
from verifier.policy import TrustPolicy
from verifier.report import Report
from verifier.verify import verify_bundle

SALT = "MTIzNDU2Nzg5MDEyMzQ1Ng"


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def disclosure(*parts: Any) -> str:
    return encoded(json.dumps(parts).encode())


def digest(text: str) -> str:
    return encoded(hashlib.sha256(text.encode()).digest())


NAME = disclosure(SALT, "name", "Ann")
CITY = disclosure(SALT, "city", "Oslo")
ADDRESS = disclosure(SALT, "address", {"_sd": [digest(CITY)], "country": "NO"})
PAYLOAD = {"_sd": sorted([digest(NAME), digest(ADDRESS)]), "list": [{"_sd": [digest(CITY)]}]}


def line(text: str, sequence: int = 2) -> bytes:
    return canonical({"disclosure": text, "sequence": sequence}) + b"\n"


def lines(*texts: str) -> bytes:
    return b"".join(line(text) for text in sorted(texts))


def verify(disclosures: bytes, payload: Any = PAYLOAD) -> Report:
    chain = Chain().open().add("person.seen", payload).add("door.opened", {}).close()
    files = data_files(chain, extra={"data/disclosures.jsonl": disclosures})
    return verify_bundle(io.BytesIO(zipped(sealed(files))), policy=TrustPolicy())


def sealed_left(report: Report) -> str:
    assert report.verdict == "INDETERMINATE"
    return next((finding.message[:1] for finding in report.findings if finding.code == "sealed-not-disclosed"), "0")


@pytest.mark.parametrize(
    ("disclosed", "left"),
    [((), "3"), ((NAME,), "2"), ((ADDRESS,), "2"), ((CITY,), "2"), ((NAME, ADDRESS, CITY), "0")],
)
def test_sealed_members_are_counted_and_never_called_damage(disclosed: tuple[str, ...], left: str) -> None:
    assert sealed_left(verify(lines(*disclosed))) == left


def test_a_member_sealed_inside_a_disclosed_value_is_found() -> None:
    payload = {"_sd": [digest(ADDRESS)]}
    assert sealed_left(verify(lines(ADDRESS), payload)) == "1"
    assert sealed_left(verify(lines(ADDRESS, CITY), payload)) == "0"


WRONG: dict[str, Callable[[], bytes]] = {
    "one that matches nothing": lambda: lines(disclosure(SALT, "name", "Bob")),
    "one whose inner digest is not disclosed": lambda: lines(disclosure(SALT, "street", "Main")),
    "one for an event without sealed members": lambda: line(NAME, 3),
    "one for an event that does not exist": lambda: line(NAME, 99),
    "one for the event before": lambda: line(NAME, 1),
    "one twice": lambda: line(NAME) * 2,
    "ones out of order": lambda: b"".join(reversed(lines(NAME, ADDRESS).splitlines(keepends=True))),
    "a line that is not canonical": lambda: line(NAME).replace(b":", b": ", 1),
    "a line with a further member": lambda: canonical({"disclosure": NAME, "more": 1, "sequence": 2}) + b"\n",
    "a line without its end": lambda: line(NAME)[:-1] + b"x",
    "a last line without its line feed": lambda: lines(NAME, ADDRESS)[:-1],
    "a disclosure with padding": lambda: line(NAME + "="),
    "a sequence that is no integer": lambda: canonical({"disclosure": NAME, "sequence": "2"}) + b"\n",
    "a line that is too long": lambda: line("A" * 400_000),
    "a blank line": lambda: b"\n",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_of_disclosures_with_one_fault_fails(name: str) -> None:
    report = verify(WRONG[name]())
    assert report.verdict == "FAILED"
    assert {finding.code for finding in report.findings if finding.severity == "error"} == {"disclosure-unmatched"}
    assert report.chain_ok


@pytest.mark.parametrize(
    "text",
    [
        encoded(b"[]"),
        encoded(b'["salt","name"]'),
        encoded(b'["salt","name",1,2]'),
        encoded(b'[1,"name",1]'),
        encoded(b'["salt","_sd",1]'),
        encoded(b'["salt","...",1]'),
        encoded(b'{"a":1}'),
        encoded(b'["salt","name",{"a":1,"a":2}]'),
        encoded(b"\xff\xff"),
        encoded(b"[" * 5000),
        "A",
    ],
)
def test_a_sealed_digest_over_what_is_no_disclosure_fails_when_it_is_disclosed(text: str) -> None:
    report = verify(lines(text), {"_sd": [digest(text)]})
    assert report.verdict == "FAILED"


@pytest.mark.parametrize("value", ["x", [1, None], ["short"], {"_sd": "x"}, [["a" * 43]]])
def test_a_member_named_sd_of_another_form_seals_nothing_and_breaks_nothing(value: Any) -> None:
    assert sealed_left(verify(b"", {"_sd": value})) == "0"


def test_thousands_of_unmatched_disclosures_are_reported_in_bounded_number() -> None:
    texts = sorted(disclosure(SALT, "name", number) for number in range(3000))
    report = verify(b"".join(line(text) for text in texts))
    assert report.verdict == "FAILED"
    assert len(report.findings) < 200


def test_disclosures_nested_in_each_other_by_the_thousand_take_linear_time() -> None:
    texts = [NAME]
    for _ in range(15_000):
        texts.append(disclosure(SALT, "inner", {"_sd": [digest(texts[-1])]}))
    # Quadratic work would take minutes.
    assert sealed_left(verify(lines(*texts), {"_sd": [digest(texts[-1])]})) == "0"


def test_one_event_with_more_disclosures_than_are_read_fails() -> None:
    texts = [f"{number:08}" for number in range(50_000)]
    report = verify(b"".join(line(text) for text in texts))
    assert report.verdict == "FAILED"
    assert any("more disclosures than this program reads" in finding.message for finding in report.findings)
