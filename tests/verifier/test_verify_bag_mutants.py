"""Mutants of the statement and of the bag around it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.verifier.bundle_forge import (
    Authority,
    Files,
    canonical,
    data_files,
    manifest,
    sealed,
    short_session,
)
from tests.verifier.mutating import errors, verify
from verifier.policy import TrustPolicy

STATEMENTS: dict[str, tuple[Callable[[dict[str, Any]], object], set[str]]] = {
    "another head": (lambda s: s.update(head="00" * 32), {"chain-head"}),
    "another count": (lambda s: s.update(event_count=5), {"chain-event-count"}),
    "another chain": (lambda s: s.update(chain_id="demo-2"), {"chain-identity"}),
    "another organisation": (lambda s: s["organisation"].update(id="acne"), {"chain-identity"}),
    "another export time": (
        lambda s: s.update(exported_at="2026-01-02T23:00:00.000000Z"),
        {"exported-at-mismatch"},
    ),
    "a further member": (lambda s: s.update(more=1), {"bundle-json-malformed"}),
    "a missing member": (lambda s: s.pop("pending"), {"bundle-json-malformed"}),
    "a count that is no integer": (lambda s: s.update(event_count="4"), {"bundle-json-malformed"}),
    "a chain id with a path in it": (lambda s: s.update(chain_id="../x"), {"bundle-json-malformed"}),
    "anchors that are no list": (lambda s: s.update(anchors={}), {"bundle-json-malformed"}),
    "an anchor twice": (lambda s: s["anchors"].append(s["anchors"][-1]), {"bundle-json-malformed"}),
    "anchors out of order": (lambda s: s["anchors"].reverse(), {"bundle-json-malformed"}),
    "an anchor with another file": (
        lambda s: s["anchors"][0]["files"].update(response="data/README.txt"),
        {"bundle-json-malformed"},
    ),
    "an anchor that is aggregated": (lambda s: s["anchors"][0].update(aggregation={}), {"bundle-json-malformed"}),
    "an anchor both there and pending": (
        lambda s: s["pending"].append({"authority": "beta", "backend": "rfc3161", "sequence": 4}),
        {"bundle-json-malformed"},
    ),
    "an anchor left out": (lambda s: s["anchors"].pop(), {"anchor-file-unlisted"}),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_bundle_json_with_one_fault_fails_by_the_check_for_it(
    name: str, alpha: Authority, beta: Authority, policy: TrustPolicy
) -> None:
    change, codes = STATEMENTS[name]
    files = data_files(short_session(), [(alpha, 4), (beta, 4)], edit=change)
    report = verify(sealed(files), policy)
    assert report.verdict == "FAILED"
    assert codes <= errors(report)
    # A statement that cannot be read has no anchors, so their files belong to none; that may be said as well.
    assert errors(report) <= codes | {"bag-info-malformed"}


def test_a_bundle_json_that_is_not_canonical_fails() -> None:
    files = data_files(short_session())
    pretty = files | {"data/bundle.json": json.dumps(json.loads(files["data/bundle.json"]), indent=1).encode()}
    assert errors(verify(sealed(pretty))) == {"bundle-json-malformed"}


BAGS: dict[str, tuple[Callable[[Files], object], str]] = {
    "another declaration": (lambda f: f.update({"bagit.txt": b"BagIt-Version: 0.97\n"}), "bag-declaration"),
    "another size stated": (
        lambda f: f.update({"bag-info.txt": f["bag-info.txt"].replace(b"Oxum: ", b"Oxum: 1")}),
        "bag-info-mismatch",
    ),
    "another date stated": (
        lambda f: f.update({"bag-info.txt": f["bag-info.txt"].replace(b"2026", b"2025")}),
        "bag-info-mismatch",
    ),
    "a further tag": (
        lambda f: f.update({"bag-info.txt": f["bag-info.txt"] + b"Contact-Name: X\n"}),
        "bag-info-malformed",
    ),
    "an unlisted file": (lambda f: f.update({"data/disclosures.jsonl": b""}), "bag-file-unlisted"),
    "an unlisted tag file": (lambda f: f.update({"notes.txt": b"x"}), "bag-file-unlisted"),
    "a fetch file": (lambda f: f.update({"fetch.txt": b"x"}), "bag-file-unlisted"),
    "a listed file that is missing": (lambda f: f.pop("data/README.txt"), "bag-file-missing"),
    "a file that changed": (lambda f: f.update({"data/README.txt": b"x"}), "bag-digest-mismatch"),
    "a manifest out of order": (
        lambda f: f.update({"manifest-sha256.txt": b"".join(f["manifest-sha256.txt"].splitlines(True)[::-1])}),
        "bag-manifest-malformed",
    ),
    "a manifest without its last line end": (
        lambda f: f.update({"manifest-sha256.txt": f["manifest-sha256.txt"][:-1]}),
        "bag-manifest-malformed",
    ),
    "a manifest that points outside": (
        lambda f: f.update({"manifest-sha256.txt": f["manifest-sha256.txt"] + b"0" * 64 + b"  ../../etc/passwd\n"}),
        "bag-manifest-malformed",
    ),
}


@pytest.mark.parametrize("name", BAGS)
def test_a_bag_with_one_fault_fails_by_the_check_for_it(name: str, good_files: Files) -> None:
    change, code = BAGS[name]
    files = dict(good_files)
    change(files)
    tags = {name: files[name] for name in ("bag-info.txt", "bagit.txt", "manifest-sha256.txt")}
    report = verify(files | {"tagmanifest-sha256.txt": manifest(tags)})
    assert report.verdict == "FAILED"
    assert code in errors(report)
    assert errors(report) <= {code, "bag-info-mismatch"}


def test_a_file_that_the_format_has_no_place_for_fails_although_it_is_listed(good_data: Files) -> None:
    assert errors(verify(sealed(good_data | {"data/other.bin": b"x"}))) == {"bundle-file-unknown"}


def test_a_bundle_of_another_organisation_than_the_policy_names_fails(good_files: Files, policy: TrustPolicy) -> None:
    mine = TrustPolicy(authorities=policy.authorities, organisation_id="acme", organisation_name="Acme Security")
    assert verify(good_files, mine).verdict == "VERIFIED"
    other = TrustPolicy(authorities=policy.authorities, organisation_id="other")
    assert errors(verify(good_files, other)) == {"organisation-unexpected"}


def test_a_policy_that_asks_for_another_kind_of_evidence_is_not_met(good_files: Files, policy: TrustPolicy) -> None:
    both = TrustPolicy(authorities=policy.authorities, require_backends=("rfc3161",))
    assert verify(good_files, both).verdict == "VERIFIED"
    other = TrustPolicy(authorities=policy.authorities, require_backends=("rfc3161", "tezos"))
    assert verify(good_files, other).verdict == "INDETERMINATE"


def test_the_report_is_json_with_the_members_of_the_specification(good_files: Files, policy: TrustPolicy) -> None:
    report = json.loads(canonical(verify(good_files, policy, expected_count=4).to_json()))
    assert report["verdict"] == "VERIFIED"
    assert report["chain_integrity"]["ok"] is True
    assert report["chain_integrity"]["first_divergent_sequence"] is None
    assert {check["ok"] for check in report["chain_integrity"]["checks"]} == {True}
    assert (report["event_count"], report["expected_event_count"], report["covered_events"]) == (4, 4, 4)
    assert report["head"] == short_session().hashes[-1].hex()
    assert (report["issuing_org_name"], report["chain_id"], report["closed"]) == ("Acme Security", "demo-1", True)
    token = report["tokens"][0]
    assert (token["ok"], token["status"], token["backend"], token["sequence"]) == (True, "valid", "rfc3161", 4)
    assert (token["time"], token["qualified"]) == ("2026-01-02T04:00:00.000000Z", "UNKNOWN")
