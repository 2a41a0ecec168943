"""Test networks and promises: allowed only where the user says so, and never called Bitcoin or proof."""

import hashlib
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.bundle_forge import zipped
from tests.verifier.opentimestamps import public_facts as facts
from tests.verifier.opentimestamps.test_ots_reference import attested, forked
from tests.verifier.tezos.ledger_bundles import HEAD, PROOF, bundle_files, entry, with_proof
from verifier.findings import Severity
from verifier.opentimestamps import BitcoinTrust, UnusableHeadersError, check_proof, load_headers
from verifier.opentimestamps.proof import PENDING_TAG
from verifier.policy import TrustPolicy, UnusablePolicyError, load_policy
from verifier.report import Report
from verifier.report_text import render
from verifier.verify import verify_bundle
from verifier.web import WebSettings
from verifier.web.app import create_app

HEIGHT = 300_000  # where Bitcoin demands a lot


def mined(root: bytes, target: int = 0x207FFFFF) -> bytes:
    """A header that took two tries."""
    for nonce in range(1000):
        header = struct.pack("<I32s32sIII", 4, bytes(32), root, 1_700_000_000, target, nonce)
        if hashlib.sha256(hashlib.sha256(header).digest()).digest()[31] < 0x7F:
            return header
    raise AssertionError("no header found")


def proof_of(head: bytes) -> bytes:
    return facts.MAGIC + b"\x01\x08" + head + attested(facts.BITCOIN, b"\xe0\xa7\x12")  # 300,000


def line(header: bytes) -> bytes:
    return f"{HEIGHT} {header.hex()}\n".encode()


def test_an_easy_header_is_refused_unless_the_user_names_the_test_network() -> None:
    header = mined(HEAD)
    with pytest.raises(UnusableHeadersError, match="impossible difficulty"):
        load_headers([line(header)])
    assert load_headers([line(header)], network="regtest") == {HEIGHT: header}


def test_even_a_test_network_wants_the_work_that_a_header_declares() -> None:
    header = mined(HEAD)
    for nonce in range(1000):
        lazy = header[:76] + struct.pack("<I", nonce)
        if hashlib.sha256(hashlib.sha256(lazy).digest()).digest()[31] > 0x80:
            break
    with pytest.raises(UnusableHeadersError, match="lacks the proof of work"):
        load_headers([line(lazy)], network="regtest")


def test_a_proof_on_a_test_network_is_valid_with_a_warning_and_only_there() -> None:
    headers = {HEIGHT: mined(HEAD)}
    there = check_proof(proof_of(HEAD), digest=HEAD, headers=headers, network="regtest")
    assert (there.status, there.findings[1].code, there.findings[1].severity) == (
        "valid",
        "ots-test-network",
        Severity.WARNING,
    )
    here = check_proof(proof_of(HEAD), digest=HEAD, headers=headers)
    assert (here.status, here.findings[0].code) == ("invalid", "ots-contradicted")


def test_a_mere_promise_has_nothing_to_do_with_any_network() -> None:
    result = check_proof(promises(iter([b"https://a.example"])), digest=HEAD, network="regtest")
    assert [finding.code for finding in result.findings] == ["ots-not-anchored", "ots-pending"]


def test_the_report_never_calls_a_test_network_bitcoin(tmp_path: Path) -> None:
    trust = BitcoinTrust(headers={HEIGHT: mined(HEAD)}, network="regtest")
    bundle = zipped(with_proof(proof_of(HEAD)))
    report = verify_bundle(io.BytesIO(bundle), policy=TrustPolicy(bitcoin={"calendars": trust}))
    text = " ".join(render(report).split())
    assert (report.verdict, report.tokens[0].root) == ("VERIFIED", "regtest")
    assert "A test network, where anybody can make blocks, vouches for it by block 300000." in text
    assert "The Bitcoin network vouches" not in text
    (tmp_path / "headers.txt").write_bytes(line(mined(HEAD)))
    page = shown(tmp_path, bundle, 'headers = "headers.txt"\nnetwork = "regtest"\n')
    assert "Nothing outside of tests: it leads to block 300000 of a test network" in page
    assert "public Bitcoin ledger" not in page


def shown(folder: Path, bundle: bytes, members: str) -> str:
    policy = folder / "trust.toml"
    policy.write_text(f'format = "indelible-trust/1"\n[authorities.calendars]\nbackend = "opentimestamps"\n{members}')
    client = create_app(WebSettings(trust=policy)).test_client()
    return " ".join(client.post("/", data={"bundle": (io.BytesIO(bundle), "upload.zip")}).text.split())


@pytest.mark.parametrize("network", ["testnet", "", "Bitcoin", 1])
def test_a_policy_knows_two_networks_only(tmp_path: Path, network: Any) -> None:
    (tmp_path / "headers.txt").write_bytes(facts.HEADERS)
    stated = f'"{network}"' if isinstance(network, str) else str(network)
    (tmp_path / "policy.toml").write_text(
        'format = "indelible-trust/1"\n[authorities.one]\nbackend = "opentimestamps"\n'
        f'headers = "headers.txt"\nnetwork = {stated}\n'
    )
    with pytest.raises(UnusablePolicyError, match=r"authorities.one"):
        load_policy(tmp_path / "policy.toml")


def promises(addresses: Iterator[bytes]) -> bytes:
    leaves = [attested(PENDING_TAG, bytes([len(address)]) + address) for address in addresses]
    return facts.MAGIC + b"\x01\x08" + HEAD + forked([b"\x08" + leaf for leaf in leaves])


def promised(*addresses: bytes) -> str:
    result = check_proof(promises(iter(addresses)), digest=HEAD)
    assert result.status == "pending"
    (message,) = [finding.message for finding in result.findings if finding.code == "ots-pending"]
    return message


def test_a_promise_names_the_calendars_that_made_it() -> None:
    message = promised(b"https://b.example", b"https://a.example/")
    assert message.startswith("2 calendar(s) promised")
    assert message.endswith(": https://a.example, https://b.example.")


@pytest.mark.parametrize("address", [b"", b"https://a b", b"a\x1b[2J", "https://a.exämple".encode(), b"<script>"])
def test_an_address_that_is_not_plain_is_counted_and_not_shown(address: bytes) -> None:
    assert promised(address) == "1 calendar(s) promised an anchor that this proof does not hold yet."


def test_of_very_many_calendars_a_few_are_named() -> None:
    message = promised(*(b"https://%03d.example" % number for number in range(100)))
    assert message.count("https://") == 8
    assert message.endswith(" and 92 more.")


HINTS = "data/evidence/bitcoin-headers.txt"
CLAIM = facts.MAGIC + b"\x01\x08" + HEAD + attested(facts.BITCOIN, b"\xe0\xa7\x12")


def with_headers(lines: bytes) -> bytes:
    entries = [entry("opentimestamps", "calendars", "proof", PROOF)]
    return zipped(bundle_files({PROOF: CLAIM, HINTS: lines}, entries))


def judged(bundle: bytes, policy: TrustPolicy | None = None) -> Report:
    return verify_bundle(io.BytesIO(bundle), policy=policy or TrustPolicy())


def codes(report: Report) -> list[str]:
    return [finding.code for token in report.tokens for finding in token.findings]


def test_a_header_in_the_bundle_only_names_the_block_to_look_for() -> None:
    header = mined(HEAD)
    trust = BitcoinTrust(headers={}, network="regtest")
    report = judged(with_headers(line(header)), TrustPolicy(bitcoin={"calendars": trust}))
    assert (report.verdict, report.tokens[0].status) == ("INDETERMINATE", "unconfirmed")
    (hint,) = [finding for finding in report.tokens[0].findings if finding.code == "ots-header-hint"]
    assert hashlib.sha256(hashlib.sha256(header).digest()).digest()[::-1].hex() in hint.message


@pytest.mark.parametrize("header", [mined(HEAD), mined(bytes(32))], ids=["too easy for Bitcoin", "of another block"])
def test_a_header_that_does_not_bear_a_proof_out_is_no_hint(header: bytes) -> None:
    report = judged(with_headers(line(header)))
    assert (report.verdict, "ots-header-hint" in codes(report)) == ("INDETERMINATE", False)


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"\n",
        b"# only a comment\n",
        b"300000 00\n",
        b"not a header\n",
        line(mined(HEAD)) * 2,
        line(mined(HEAD)) + line(mined(HEAD))[1:],
        b"0" * 3_000_000,
    ],
    ids=["empty", "blank", "comment", "short", "text", "twice", "falling", "large"],
)
def test_a_list_of_headers_that_no_ledger_writes_fails_the_bundle(lines: bytes) -> None:
    report = judged(with_headers(lines))
    assert report.verdict == "FAILED"
    assert "evidence-unusable" in [finding.code for finding in report.findings]
