"""The stored vectors, which any implementation of docs/spec must agree with."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from verifier.canonical import NotCanonicalError, parse_canonical
from verifier.event import parse_line, preimage
from verifier.merkle import MerkleRange
from verifier.policy import load_policy
from verifier.sealed import Disclosure, disclosed_value
from verifier.verify import verify_bundle

VECTORS = Path(__file__).parents[1] / "vectors"
BUNDLES = sorted(path for path in (VECTORS / "bundles").iterdir() if path.is_dir())

EXPECTED: dict[str, dict[str, Any]] = {
    "FAILED-edited-payload": {
        "findings": {"event-hash", "token-failed"},
        "statuses": ["invalid", "invalid"],
        "divergent": 2,
        "covered": 0,
    },
    "FAILED-ordinary-event-after-the-end-of-a-session": {
        "findings": {"session-after-end", "token-failed"},
        "statuses": ["valid", "valid", "invalid", "invalid"],
        "divergent": 8,
        "covered": 6,
    },
    "FAILED-rewritten-chain-with-old-anchors": {
        "findings": {"token-failed", "anchors-insufficient"},
        "statuses": ["invalid", "invalid"],
        "divergent": None,
        "covered": 0,
    },
    "INDETERMINATE-no-root-trusted": {
        "findings": {"trust-missing"},
        "statuses": ["untrusted", "untrusted"],
        "divergent": None,
        "covered": 0,
    },
    "INDETERMINATE-one-anchor-of-two": {
        "findings": {"anchors-insufficient"},
        "statuses": ["valid", "pending"],
        "divergent": None,
        "covered": 0,
    },
    "VERIFIED-closed-session": {
        "findings": set(),
        "statuses": ["valid", "valid"],
        "divergent": None,
        "covered": 4,
    },
    "VERIFIED-ended-session-closed-at-its-deadline": {
        "findings": {"events-after-last-anchor", "session-items-unfinished"},
        "statuses": ["valid", "valid", "pending", "pending"],
        "divergent": None,
        "covered": 6,
    },
    "VERIFIED-ended-session-closed-when-done": {
        "findings": set(),
        "statuses": ["valid", "valid", "valid", "valid"],
        "divergent": None,
        "covered": 9,
    },
    "VERIFIED-ended-session-still-processing": {
        "findings": {"events-after-last-anchor", "session-processing-pending"},
        "statuses": ["valid", "valid"],
        "divergent": None,
        "covered": 6,
    },
    "VERIFIED-operations-log-with-uncovered-events": {
        "findings": {"events-after-last-anchor"},
        "statuses": ["valid"],
        "divergent": None,
        "covered": 3,
    },
    "VERIFIED-sealed-members": {
        "findings": {"sealed-not-disclosed"},
        "statuses": ["valid"],
        "divergent": None,
        "covered": 3,
    },
}


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


@pytest.mark.parametrize("case", load("canonical-json.json")["cases"], ids=lambda case: case["name"])
def test_a_text_is_accepted_as_canonical_exactly_if_the_vector_says_so(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["hex"]) if "hex" in case else case["text"].encode("utf-8", "surrogatepass")
    try:
        parse_canonical(raw)
        accepted = True
    except NotCanonicalError:
        accepted = False
    assert accepted is case["canonical"]


@pytest.mark.parametrize("case", load("events.json")["events"], ids=lambda case: case["hash"][:8])
def test_an_event_line_has_the_preimage_and_hash_of_the_vector(case: dict[str, Any]) -> None:
    event = parse_line(case["line"].encode())
    assert event.occurred_at == case["microseconds"]
    assert preimage(event).hex() == "".join(case["preimage"].values())
    assert hashlib.sha256(preimage(event)).hexdigest() == case["hash"] == event.hash


def test_merkle_roots_over_every_number_of_entries_are_those_of_the_vector() -> None:
    vector = load("merkle.json")
    tree = MerkleRange()
    for entry, root in zip(vector["entries"], vector["roots"], strict=True):
        tree.add_leaves(bytes.fromhex(entry))
        assert tree.root().hex() == root


@pytest.mark.parametrize("case", load("sealed.json")["disclosures"], ids=lambda case: case["digest"][:8])
def test_a_disclosure_has_the_digest_and_value_of_the_vector(case: dict[str, Any]) -> None:
    disclosure = Disclosure(sequence=1, text=case["disclosure"])
    assert disclosure.digest == case["digest"]
    assert disclosed_value(disclosure) == case["reveals"][2]


def test_every_bundle_vector_has_an_expectation() -> None:
    assert [path.name for path in BUNDLES] == sorted(EXPECTED)


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: folder.name)
def test_a_bundle_vector_gets_the_verdict_in_its_name_for_the_reason_in_its_readme(folder: Path) -> None:
    expected = EXPECTED[folder.name]
    report = verify_bundle(folder / "bundle", policy=load_policy(folder / "trust.toml"))
    assert report.verdict == folder.name.partition("-")[0]
    assert {finding.code for finding in report.findings} == expected["findings"]
    assert [token.status for token in report.tokens] == expected["statuses"]
    assert report.first_divergent_sequence == expected["divergent"]
    assert report.covered_events == expected["covered"]
