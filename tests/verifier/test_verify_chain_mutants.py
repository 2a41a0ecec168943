"""Chains and bundles that are wrong in one way. Each is caught by the check that is meant for it, and by no other.

Wherever it can be done, everything else is made to fit: hashes, roots, manifests and anchors are computed anew.
"""

import hashlib
import io
import json
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.verifier.bundle_forge import (
    STARTED,
    Authority,
    Chain,
    Files,
    canonical,
    data_files,
    manifest,
    sealed,
    short_session,
    zipped,
)
from verifier.policy import TrustPolicy
from verifier.report import Report
from verifier.rfc3161 import TimestampTrust
from verifier.verify import verify_bundle


def verify(files: Files, policy: TrustPolicy | None = None, **known: Any) -> Report:
    return verify_bundle(io.BytesIO(zipped(files)), policy=policy or TrustPolicy(), **known)


def errors(report: Report) -> set[str]:
    return {finding.code for finding in report.findings if finding.severity == "error"}


def session(change: Callable[[Chain], object]) -> Chain:
    """Two good events, then what `change` adds."""
    chain = Chain().open().add("door.opened", {"n": 1})
    change(chain)
    return chain


def rename(chain: Chain, text: bytes, other: bytes, index: int) -> Chain:
    assert text in chain.lines[index]
    chain.lines[index] = chain.lines[index].replace(text, other)
    return chain


WRONG_CHAINS: dict[str, tuple[Callable[[], Chain], str, int]] = {
    "an edited payload": (lambda: rename(short_session(), b"north", b"south", 1), "event-hash", 2),
    "an edited kind": (lambda: rename(short_session(), b"door.opened", b"door.closed", 1), "event-hash", 2),
    "an edited time": (lambda: rename(short_session(), b":06.0", b":06.1", 1), "event-hash", 2),
    "another hash": (lambda: session(lambda c: c.add("a.b", {}, hash=bytes(32))), "event-hash", 3),
    "a link to nowhere": (lambda: session(lambda c: c.add("a.b", {}, prev_hash=bytes(32))), "event-prev-hash", 3),
    "a first event with a predecessor": (
        lambda: Chain().add("chain.opened", Chain().opening(), prev_hash=b"\x01" * 32),
        "event-prev-hash",
        1,
    ),
    "a gap in the sequence": (lambda: session(lambda c: c.add("a.b", {}, sequence=4)), "event-sequence", 3),
    "a repeated sequence": (lambda: session(lambda c: c.add("a.b", {}, sequence=2)), "event-sequence", 3),
    "time going back": (
        lambda: session(lambda c: c.add("a.b", {}, moment=STARTED - timedelta(microseconds=1))),
        "event-time-order",
        3,
    ),
    "no opening": (lambda: Chain().add("door.opened", {}), "chain-genesis", 1),
    "a second opening": (lambda: session(lambda c: c.open()), "chain-genesis", 3),
    "an opening of another format": (lambda: Chain().open(format="indelible-chain/2"), "chain-genesis", 1),
    "an opening of another type": (lambda: Chain().open(chain_type="diary"), "chain-genesis", 1),
    "an opening without a subject": (lambda: Chain().open(subject=None), "chain-genesis", 1),
    "an opening with a bad chain id": (lambda: Chain().open(chain_id="../x"), "chain-genesis", 1),
    "an opening of another chain": (lambda: Chain().open(chain_id="demo-2"), "chain-identity", 1),
    "an opening of another organisation": (
        lambda: Chain().open(organisation={"id": "acme", "name": "Acne Security"}),
        "chain-identity",
        1,
    ),
    "an unknown reserved kind": (lambda: session(lambda c: c.add("chain.reopened", {})), "chain-reserved-kind", 3),
    "an operations log that is closed": (
        lambda: Chain(chain_type="operations").open().close(),
        "chain-reserved-kind",
        2,
    ),
    "an event after the closing": (
        lambda: session(lambda c: c.close().add("a.b", {})),
        "chain-after-close",
        4,
    ),
    "a wrong tree size": (lambda: session(lambda c: c.close(tree_size=1)), "checkpoint-tree-size", 3),
    "a tree size that is no number": (lambda: session(lambda c: c.close(tree_size=True)), "checkpoint-tree-size", 3),
    "a wrong root": (lambda: session(lambda c: c.close(merkle_root="00" * 32)), "checkpoint-merkle-root", 3),
    "a root that is no digest": (
        lambda: session(lambda c: c.close(merkle_root="AB" * 32)),
        "checkpoint-merkle-root",
        3,
    ),
    "a wrong root before more events": (
        lambda: session(lambda c: c.checkpoint(merkle_root="00" * 32).add("a.b", {}).close()),
        "checkpoint-merkle-root",
        3,
    ),
    "a payload with white space": (
        lambda: session(lambda c: c.add("a.b", b'{"n": 1}')),
        "event-not-canonical",
        3,
    ),
    "a payload out of order": (
        lambda: session(lambda c: c.add("a.b", b'{"n":1,"m":2}')),
        "event-not-canonical",
        3,
    ),
    "a payload with a name twice": (
        lambda: session(lambda c: c.add("a.b", b'{"n":1,"n":1}')),
        "event-not-canonical",
        3,
    ),
    "a payload that is no object": (lambda: session(lambda c: c.add("a.b", b"[1]")), "event-malformed", 3),
    "a payload of too many levels": (
        lambda: session(lambda c: c.add("a.b", b'{"n":' + b"[" * 32 + b"]" * 32 + b"}")),
        "event-not-canonical",
        3,
    ),
    "a payload that is too long": (
        lambda: session(lambda c: c.add("a.b", {"n": "x" * (256 * 1024 - 7)})),
        "event-too-long",
        3,
    ),
    "a line that is far too long": (
        lambda: session(lambda c: c.add("a.b", {"n": "x" * 1_000_000})),
        "event-too-long",
        3,
    ),
    "a kind of one word": (lambda: session(lambda c: c.add("opened", {})), "event-malformed", 3),
    "a kind that is too long": (lambda: session(lambda c: c.add("a." + "b" * 63, {})), "event-malformed", 3),
    "a hash in capitals": (
        lambda: rename(short_session(), *((one := short_session().hashes[1].hex()).encode(), one.upper().encode()), 1),
        "event-malformed",
        2,
    ),
    "a leap second": (lambda: rename(short_session(), b":05.0", b":60.0", 0), "event-malformed", 1),
    "a thirtieth of February": (lambda: rename(short_session(), b"-01-02T", b"-02-30T", 0), "event-malformed", 1),
    "a further member": (lambda: rename(short_session(), b'{"hash"', b'{"a":1,"hash"', 1), "event-malformed", 2),
    "a blank line": (lambda: rename(short_session(), b'{"hash"', b'\n{"hash"', 1), "event-not-canonical", 2),
    "a carriage return": (lambda: rename(short_session(), b":2}", b":2}\r", 1), "event-not-canonical", 2),
}


@pytest.mark.parametrize("name", WRONG_CHAINS)
def test_a_chain_with_one_fault_fails_by_the_check_for_it_at_the_event_at_fault(name: str) -> None:
    make, code, sequence = WRONG_CHAINS[name]
    report = verify(sealed(data_files(make())))
    assert report.verdict == "FAILED"
    assert errors(report) == {code}
    assert report.first_divergent_sequence == sequence
    assert report.intact_events == sequence - 1
    failed = [check.name for check in report.checks if check.ok is False]
    assert len(failed) == 1


def test_a_chain_that_begins_at_2_fails_at_its_first_event() -> None:
    report = verify(sealed(data_files(Chain().add("chain.opened", Chain().opening(), sequence=2))))
    assert errors(report) == {"event-sequence", "chain-genesis"}
    assert report.first_divergent_sequence == 1


@pytest.mark.parametrize(("size", "code"), [(256 * 1024, None), (256 * 1024 + 1, "event-too-long")])
def test_the_limit_of_a_payload_is_exact(size: int, code: str | None) -> None:
    chain = session(lambda c: c.add("a.b", {"n": "x" * (size - len('{"n":""}'))}))
    assert errors(verify(sealed(data_files(chain)))) == ({code} if code else set())


def test_a_last_line_without_its_end_fails() -> None:
    files = data_files(short_session())
    files["data/events.jsonl"] = files["data/events.jsonl"][:-1]
    report = verify(sealed(files))
    assert errors(report) == {"event-malformed"}
    assert report.first_divergent_sequence == 4


def test_a_chain_cut_at_its_end_fails_by_its_count() -> None:
    files = data_files(short_session())
    files["data/events.jsonl"] = b"".join(files["data/events.jsonl"].splitlines(keepends=True)[:-1])
    report = verify(sealed(files))
    assert "chain-event-count" in errors(report)
    assert report.first_divergent_sequence == 4


def test_a_bundle_without_any_event_fails() -> None:
    files = data_files(short_session()) | {"data/events.jsonl": b""}
    assert {"chain-empty", "chain-event-count"} <= errors(verify(sealed(files)))


def test_a_consistently_shortened_bundle_fails_only_by_what_the_auditor_knows() -> None:
    whole = short_session()
    short = Chain().open()
    report = verify(sealed(data_files(short)))
    assert errors(report) == set()
    assert errors(verify(sealed(data_files(short)), expected_count=4)) == {"chain-expected-count"}
    assert errors(verify(sealed(data_files(short)), expected_head=whole.hashes[-1])) == {"chain-expected-head"}


def test_a_chain_that_grew_since_still_satisfies_the_auditor_who_kept_an_old_head() -> None:
    whole = short_session()
    for known in whole.hashes:
        assert errors(verify(sealed(data_files(whole)), expected_head=known)) == set()


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


ANCHORS: dict[str, tuple[Callable[[Files, Authority], None], str]] = {
    "of another hash": (
        lambda files, alpha: files.update({"data/anchors/4-rfc3161-alpha.tsr": alpha.stamp(b"\x01" * 32)[1]}),
        "rfc3161-imprint-mismatch",
    ),
    "with the request of another": (
        lambda files, alpha: files.update({"data/anchors/4-rfc3161-alpha.tsq": alpha.stamp(b"\x01" * 32)[0]}),
        "rfc3161-",
    ),
    "that is empty": (lambda files, alpha: files.update({"data/anchors/4-rfc3161-alpha.tsr": b""}), "rfc3161-"),
    "that is too large": (
        lambda files, alpha: files.update({"data/anchors/4-rfc3161-alpha.tsr": bytes(65_537)}),
        "anchor-file-unusable",
    ),
}


@pytest.mark.parametrize("name", ANCHORS)
def test_an_anchor_that_is_wrong_is_shown_loudly_but_a_good_one_beside_it_still_counts(
    name: str, alpha: Authority, good_data: Files, policy: TrustPolicy
) -> None:
    change, code = ANCHORS[name]
    files = dict(good_data)
    change(files, alpha)
    report = verify(sealed(files), policy)
    bad, good = report.tokens
    assert (bad.status, good.status) == ("invalid", "valid")
    assert any(finding.code.startswith(code) and finding.severity == "error" for finding in bad.findings)
    assert "token-failed" in {finding.code for finding in report.findings}
    assert report.verdict == "VERIFIED"


def test_an_anchor_that_is_wrong_fails_a_bundle_that_has_too_few_good_ones(
    alpha: Authority, good_data: Files, policy: TrustPolicy
) -> None:
    files = good_data | {"data/anchors/4-rfc3161-alpha.tsr": alpha.stamp(b"\x01" * 32)[1]}
    only_beta = TrustPolicy(authorities=policy.authorities, require=2)
    assert verify(sealed(files), only_beta).verdict == "FAILED"


def test_an_anchor_over_an_event_that_is_no_checkpoint_counts_for_nothing(
    alpha: Authority, policy: TrustPolicy
) -> None:
    report = verify(sealed(data_files(short_session(), [(alpha, 2)])), policy)
    assert report.tokens[0].status == "invalid"
    assert report.tokens[0].findings[0].code == "anchor-event-missing"
    assert report.verdict == "FAILED"


def test_an_anchor_whose_digest_is_not_that_of_its_event_counts_for_nothing(
    alpha: Authority, policy: TrustPolicy
) -> None:
    files = data_files(short_session(), [(alpha, 4)], edit=lambda s: s["anchors"][0].update(digest="00" * 32))
    report = verify(sealed(files), policy)
    assert report.tokens[0].findings[0].code == "anchor-digest-mismatch"
    assert not report.tokens[0].ok


def test_an_anchor_of_an_unknown_backend_is_unconfirmed_and_fails_nothing(
    alpha: Authority, policy: TrustPolicy
) -> None:
    def add(statement: dict[str, Any]) -> None:
        path = "data/anchors/4-zcash-main.json"
        other = statement["anchors"][0] | {"backend": "zcash", "authority": "main", "files": {"receipt": path}}
        statement["anchors"].append(other)

    extra = {"data/anchors/4-zcash-main.json": b"{}"}
    report = verify(sealed(data_files(short_session(), [(alpha, 4)], edit=add, extra=extra)), policy)
    assert [token.status for token in report.tokens] == ["valid", "unconfirmed"]
    assert [finding.code for finding in report.tokens[1].findings] == ["anchor-backend-unsupported"]
    assert report.verdict == "VERIFIED"
    only_other = {name: content for name, content in extra.items() if "zcash" in name}

    def replace(statement: dict[str, Any]) -> None:
        add(statement)
        statement["anchors"].pop(0)

    files = data_files(short_session(), [(alpha, 4)], edit=replace, extra=only_other)
    files = {name: content for name, content in files.items() if "rfc3161" not in name}
    assert verify(sealed(files), policy).verdict == "INDETERMINATE"


def test_a_token_copied_under_a_second_name_counts_once(alpha: Authority, good_data: Files) -> None:
    twin = Authority("gamma")
    twin.__dict__.update(alpha.__dict__ | {"name": "gamma"})
    files = data_files(short_session(), [(alpha, 4), (twin, 4)])
    policy = TrustPolicy(extra_roots=(alpha.root_der,), require=2)
    report = verify(sealed(files), policy)
    assert [token.ok for token in report.tokens] == [True, True]
    assert report.verdict == "INDETERMINATE"


def test_a_token_copied_under_a_second_name_counts_once_although_its_root_was_issued_twice(alpha: Authority) -> None:
    twin = Authority("gamma")
    twin.__dict__.update(alpha.__dict__ | {"name": "gamma"})
    reissued = alpha.reissued_root().public_bytes(serialization.Encoding.DER)
    policy = TrustPolicy(
        authorities={"alpha": TimestampTrust(roots=(alpha.root_der,)), "gamma": TimestampTrust(roots=(reissued,))},
        require=2,
    )
    report = verify(sealed(data_files(short_session(), [(alpha, 4), (twin, 4)])), policy)
    assert [token.ok for token in report.tokens] == [True, True]
    assert report.verdict == "INDETERMINATE"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest-sha256.txt", b"\n" * 1_000_000),
        ("tagmanifest-sha256.txt", b"x\n" * 1_000_000),
        ("data/bundle.json", b"[" + b"[]," * 1_000_000 + b"[]]"),
        ("data/bundle.json", b'{"a":[' + b"{}," * 1_000_000 + b"{}]}"),
    ],
)
def test_a_file_of_a_million_faults_fails_with_bounded_findings_and_memory(
    name: str, content: bytes, good_files: Files, policy: TrustPolicy
) -> None:
    bundle = io.BytesIO(zipped({**good_files, name: content}))
    tracemalloc.start()
    try:
        report = verify_bundle(bundle, policy=policy)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.verdict == "FAILED"
    assert len(report.findings) < 300
    assert peak < 50_000_000


def test_a_root_trusted_for_one_authority_vouches_for_no_other(beta: Authority, good_data: Files) -> None:
    swapped = TrustPolicy(authorities={"alpha": TimestampTrust(roots=(beta.root_der,))})
    report = verify(sealed(good_data), swapped)
    assert [token.status for token in report.tokens] == ["untrusted", "untrusted"]
    assert report.verdict == "INDETERMINATE"


def test_events_after_the_last_anchor_are_pointed_out(alpha: Authority, policy: TrustPolicy) -> None:
    chain = Chain().open().checkpoint().add("a.b", {})
    report = verify(sealed(data_files(chain, [(alpha, 2)])), policy)
    assert report.verdict == "VERIFIED"
    assert report.covered_events == 2
    assert {finding.code for finding in report.findings} == {"events-after-last-anchor", "chain-not-closed"}
    assert next(finding for finding in report.findings if finding.code == "events-after-last-anchor").where.endswith(
        "3 to 3"
    )


def test_a_clock_that_ran_ahead_of_the_authority_is_pointed_out(alpha: Authority, policy: TrustPolicy) -> None:
    chain = Chain(moment=STARTED + timedelta(hours=3)).open().close()
    report = verify(sealed(data_files(chain, [(alpha, 2)])), policy)
    assert report.tokens[0].ok
    assert "anchor-before-event" in {finding.code for finding in report.tokens[0].findings}


def test_certificates_in_the_evidence_help_to_judge_a_token_that_carries_none(alpha: Authority) -> None:
    policy = TrustPolicy(authorities={"alpha": TimestampTrust(roots=(alpha.root_der,))})
    bare = data_files(short_session(), [(alpha, 4)], embed=False)
    assert verify(sealed(bare), policy).verdict != "VERIFIED"
    path = f"data/evidence/certificates/{hashlib.sha256(alpha.signer_der).hexdigest()}.der"
    assert verify(sealed(bare | {path: alpha.signer_der}), policy).verdict == "VERIFIED"
    misnamed = path.replace(path[-10:-4], "000000")
    assert errors(verify(sealed(bare | {misnamed: alpha.signer_der}), policy)) == {"evidence-misnamed"}


def test_more_certificates_than_are_read_are_refused_and_cost_no_more(alpha: Authority, policy: TrustPolicy) -> None:
    certificates = [b"%d" % number for number in range(5_001)]
    extra = {f"data/evidence/certificates/{hashlib.sha256(one).hexdigest()}.der": one for one in certificates}
    assert errors(verify(sealed(data_files(short_session(), [(alpha, 4)], extra=extra)), policy)) == {
        "evidence-unusable"
    }


def test_a_root_in_the_evidence_is_not_trusted(alpha: Authority, good_data: Files) -> None:
    path = f"data/evidence/certificates/{hashlib.sha256(alpha.root_der).hexdigest()}.der"
    report = verify(sealed(good_data | {path: alpha.root_der}))
    assert report.verdict == "INDETERMINATE"
    assert [token.status for token in report.tokens] == ["untrusted", "untrusted"]


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
