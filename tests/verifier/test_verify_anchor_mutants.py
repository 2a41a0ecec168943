"""Mutants of anchors and of the evidence beside them."""

import hashlib
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
    data_files,
    sealed,
    short_session,
)
from tests.verifier.mutating import errors, verify
from verifier.policy import TrustPolicy
from verifier.rfc3161 import TimestampTrust

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
