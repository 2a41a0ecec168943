"""Anchors on public ledgers in bundles: what they add to a verdict, and what a bundle may not say about them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.verifier.bundle_forge import (
    STAMPED,
    Authority,
    Chain,
    Files,
    canonical,
    merkle_root,
    time_text,
    write_directory,
)
from tests.verifier.opentimestamps import public_facts as facts
from tests.verifier.tezos.forge import NETWORK
from tests.verifier.tezos.ledger_bundles import (
    BITCOIN_CLAIM,
    CHAIN,
    HEAD,
    PENDING,
    PROOF,
    RECEIPT,
    anchored,
    bundle_files,
    entry,
    trusting,
    with_proof,
    with_receipt,
)
from tests.verifier.tezos.node_double import NodeDouble
from verifier.cli import main
from verifier.opentimestamps import BitcoinTrust
from verifier.policy import TrustPolicy
from verifier.report import Report
from verifier.report_text import render
from verifier.rfc3161 import TimestampTrust
from verifier.verify import verify_bundle


@pytest.fixture
def verify(tmp_path: Path) -> Callable[..., Report]:
    def run(files: Files, policy: TrustPolicy) -> Report:
        return verify_bundle(write_directory(files, tmp_path / "bundle"), policy=policy)

    return run


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.tokens[0].findings]


def test_a_receipt_of_a_known_block_verifies_a_bundle(verify: Callable[..., Report]) -> None:
    receipt = anchored(HEAD)
    report = verify(with_receipt(receipt), trusting(receipt))
    assert (report.verdict, report.covered_events) == ("VERIFIED", 4)
    (token,) = report.tokens
    assert (token.status, token.backend, token.block) == ("valid", "tezos", receipt["block_hash"])
    assert "The Tezos network vouches for it by block" in " ".join(render(report).split())


def test_an_unknown_block_leaves_a_bundle_indeterminate(verify: Callable[..., Report]) -> None:
    receipt = anchored(HEAD)
    other = replace(trusting(receipt).tezos["chain"], block_hashes=frozenset())
    report = verify(with_receipt(receipt), TrustPolicy(tezos={"chain": other}))
    assert (report.verdict, report.tokens[0].status) == ("INDETERMINATE", "unconfirmed")
    assert [finding.code for finding in report.findings] == ["anchors-insufficient"]


def test_trust_in_one_name_is_none_in_another(verify: Callable[..., Report]) -> None:
    receipt = anchored(HEAD)
    report = verify(with_receipt(receipt), TrustPolicy(tezos={"other": trusting(receipt).tezos["chain"]}))
    assert (report.verdict, report.tokens[0].status) == ("INDETERMINATE", "unconfirmed")


def test_without_any_policy_a_bundle_says_whom_to_name(verify: Callable[..., Report]) -> None:
    report = verify(with_receipt(anchored(HEAD)), TrustPolicy())
    assert [finding.code for finding in report.findings] == ["trust-missing"]


def test_a_receipt_over_another_value_fails_a_bundle(verify: Callable[..., Report]) -> None:
    receipt = anchored(CHAIN.hashes[2])
    report = verify(with_receipt(receipt), trusting(receipt))
    assert (report.verdict, codes(report)) == ("FAILED", ["tezos-value"])


AGGREGATION = {"leaf_index": 0, "path": ["11" * 32], "tree_size": 2}


def aggregated() -> dict[str, Any]:
    # The second leaf is of another chain: only its leaf hash is known here.
    root = hashlib.sha256(b"\x01" + merkle_root([HEAD]) + bytes.fromhex("11" * 32)).digest()
    return anchored(root, AGGREGATION)


def test_a_head_among_others_under_one_root_verifies_a_bundle(verify: Callable[..., Report]) -> None:
    receipt = aggregated()
    assert verify(with_receipt(receipt, AGGREGATION), trusting(receipt)).verdict == "VERIFIED"


@pytest.mark.parametrize(
    "stated",
    [
        None,
        AGGREGATION | {"leaf_index": 1},
        AGGREGATION | {"tree_size": 3},
        AGGREGATION | {"path": []},
        AGGREGATION | {"path": ["12" * 32]},
        AGGREGATION | {"more": 1},
        {},
    ],
)
def test_bundle_and_receipt_must_agree_on_the_aggregation(verify: Callable[..., Report], stated: object) -> None:
    receipt = aggregated()
    report = verify(with_receipt(receipt, stated), trusting(receipt))
    assert (report.verdict, report.tokens[0].ok) == ("FAILED", False)
    assert codes(report)[0] == "anchor-aggregation-mismatch"


def test_an_aggregation_that_only_the_bundle_states_is_refused(verify: Callable[..., Report]) -> None:
    receipt = anchored(HEAD)
    report = verify(with_receipt(receipt, AGGREGATION), trusting(receipt))
    assert codes(report)[0] == "anchor-aggregation-mismatch"


@pytest.mark.parametrize(
    ("backend", "role", "path", "aggregation"),
    [
        ("tezos", "proof", RECEIPT, None),
        ("tezos", "receipt", "data/anchors/4-tezos-chain.json", None),
        ("tezos", "receipt", RECEIPT, []),
        ("tezos", "receipt", RECEIPT, "none"),
        ("opentimestamps", "proof", RECEIPT, None),
        ("opentimestamps", "receipt", PROOF, None),
        ("opentimestamps", "proof", PROOF, AGGREGATION),
    ],
)
def test_a_bundle_that_names_an_anchor_otherwise_than_the_format_fails(
    verify: Callable[..., Report], backend: str, role: str, path: str, aggregation: object
) -> None:
    authority = "chain" if backend == "tezos" else "calendars"
    files = bundle_files({path: b"{}"}, [entry(backend, authority, role, path, aggregation)])
    report = verify(files, TrustPolicy())
    assert report.verdict == "FAILED"
    assert "bundle-json-malformed" in [finding.code for finding in report.findings]


@pytest.mark.parametrize(
    ("tree", "status", "verdict"),
    [
        (PENDING, "pending", "INDETERMINATE"),
        (BITCOIN_CLAIM, "unconfirmed", "INDETERMINATE"),
        (b"\xee", "invalid", "FAILED"),
    ],
)
def test_a_proof_without_a_header_never_verifies_a_bundle(
    verify: Callable[..., Report], tree: bytes, status: str, verdict: str
) -> None:
    report = verify(with_proof(facts.MAGIC + b"\x01\x08" + HEAD + tree), TrustPolicy())
    assert (report.tokens[0].status, report.verdict) == (status, verdict)


def test_a_proof_that_a_header_contradicts_fails_a_bundle(verify: Callable[..., Report]) -> None:
    policy = TrustPolicy(bitcoin={"calendars": BitcoinTrust(headers={facts.HEIGHT: facts.HEADER})})
    report = verify(with_proof(facts.MAGIC + b"\x01\x08" + HEAD + BITCOIN_CLAIM), policy)
    assert (report.verdict, codes(report)) == ("FAILED", ["ots-contradicted"])


def test_a_proof_over_another_digest_fails_a_bundle(verify: Callable[..., Report]) -> None:
    policy = TrustPolicy(bitcoin={"calendars": BitcoinTrust(headers={facts.HEIGHT: facts.HEADER})})
    report = verify(with_proof(facts.PROOF), policy)
    assert (report.verdict, codes(report)) == ("FAILED", ["ots-digest-mismatch"])


def test_a_time_stamp_beside_an_unconfirmed_receipt_and_a_pending_proof_verifies(
    verify: Callable[..., Report], alpha: Authority
) -> None:
    extra = {
        RECEIPT: json.dumps(anchored(HEAD)).encode(),
        PROOF: facts.MAGIC + b"\x01\x08" + HEAD + PENDING,
    }
    entries = [entry("tezos", "chain", "receipt", RECEIPT), entry("opentimestamps", "calendars", "proof", PROOF)]
    policy = TrustPolicy(authorities={"alpha": TimestampTrust(roots=(alpha.root_der,))})
    report = verify(bundle_files(extra, entries, [(alpha, 4)]), policy)
    assert report.verdict == "VERIFIED"
    assert [token.status for token in report.tokens] == ["pending", "valid", "unconfirmed"]


def test_two_receipts_of_one_network_are_not_independent(verify: Callable[..., Report], alpha: Authority) -> None:
    receipt = anchored(HEAD)
    other = RECEIPT.replace("chain", "other")
    raw = json.dumps(receipt).encode()
    entries = [entry("tezos", "chain", "receipt", RECEIPT), entry("tezos", "other", "receipt", other)]
    trust = trusting(receipt).tezos["chain"]
    policy = TrustPolicy(tezos={"chain": trust, "other": trust}, require=2)
    assert verify(bundle_files({RECEIPT: raw, other: raw}, entries), policy).verdict == "INDETERMINATE"


def test_a_receipt_and_a_time_stamp_are_two_independent_anchors_of_two_kinds(
    verify: Callable[..., Report], alpha: Authority
) -> None:
    receipt = anchored(HEAD)
    files = bundle_files(
        {RECEIPT: json.dumps(receipt).encode()}, [entry("tezos", "chain", "receipt", RECEIPT)], [(alpha, 4)]
    )
    policy = replace(
        trusting(receipt),
        authorities={"alpha": TimestampTrust(roots=(alpha.root_der,))},
        require=2,
        require_backends=("rfc3161", "tezos"),
    )
    assert verify(files, policy).verdict == "VERIFIED"
    assert verify(files, replace(policy, require_backends=("opentimestamps",))).verdict == "INDETERMINATE"


def test_a_receipt_dated_before_its_event_is_pointed_out(verify: Callable[..., Report]) -> None:
    chain = Chain(moment=STAMPED + timedelta(days=3650)).open()
    chain.close()
    path = "data/anchors/2-tezos-chain.tezos.json"
    receipt = anchored(chain.hashes[1])
    made = entry("tezos", "chain", "receipt", path) | {"sequence": 2, "digest": chain.hashes[1].hex()}
    made["obtained_at"] = time_text(chain.moment)
    report = verify(bundle_files({path: json.dumps(receipt).encode()}, [made], chain=chain), trusting(receipt))
    assert "anchor-before-event" in codes(report)


def test_online_asks_the_nodes_of_the_policy_and_offline_asks_nobody(tmp_path: Path) -> None:
    receipt = anchored(HEAD)
    folder = write_directory(with_receipt(receipt), tmp_path / "bundle")
    honest = NodeDouble(chain_id=NETWORK, hashes={1000: receipt["block_hash"]}, head=1010)
    with honest.running(), replace(honest, asked=[]).running() as other:
        policy = tmp_path / "trust.toml"
        policy.write_text(
            'format = "indelible-trust/1"\n[authorities.chain]\nbackend = "tezos"\n'
            f'chain_id = "{NETWORK}"\nnodes = ["{honest.address}", "{other.address}"]\n'
        )
        arguments = ["bundle", str(folder), "--trust", str(policy), "--json"]
        offline = CliRunner().invoke(main, arguments)
        assert (offline.exit_code, honest.asked) == (3, [])
        online = CliRunner().invoke(main, [*arguments, "--online"])
    assert (online.exit_code, json.loads(online.stdout)["tokens"][0]["status"]) == (0, "valid")


def test_the_forged_bundles_are_canonical() -> None:
    statement = with_receipt(anchored(HEAD))["data/bundle.json"]
    assert canonical(json.loads(statement)) == statement
