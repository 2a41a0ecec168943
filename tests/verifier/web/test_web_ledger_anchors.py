"""Anchors on public ledgers on the verify page, in words that fit them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.verifier.bundle_forge import zipped
from tests.verifier.opentimestamps import public_facts as facts
from tests.verifier.tezos.forge import NETWORK
from tests.verifier.tezos.ledger_bundles import BITCOIN_CLAIM, HEAD, PENDING, anchored, with_proof, with_receipt
from verifier.web import WebSettings
from verifier.web.app import create_app


def page(folder: Path, content: bytes, policy: str) -> str:
    (folder / "trust.toml").write_text('format = "indelible-trust/1"\n' + policy)
    client = create_app(WebSettings(trust=folder / "trust.toml")).test_client()
    text = client.post("/", data={"bundle": (io.BytesIO(content), "upload.zip")}).text
    return " ".join(text.split())


def test_a_receipt_on_tezos_is_explained_as_one(tmp_path: Path) -> None:
    receipt = anchored(HEAD)
    policy = (
        f'[authorities.chain]\nbackend = "tezos"\nchain_id = "{NETWORK}"\nblock_hashes = ["{receipt["block_hash"]}"]\n'
    )
    text = page(tmp_path, zipped(with_receipt(receipt)), policy)
    assert "<strong>Verified</strong>" in text
    assert f"stands in block {receipt['block_hash']} of the public Tezos ledger" in text
    assert "The block is one that this page was told to trust." in text
    assert "a public ledger is no qualified service" in text
    assert "Certificate revoked" not in text
    assert "openssl ts -verify" not in text


@pytest.mark.parametrize(("tree", "state"), [(PENDING, "Pending"), (BITCOIN_CLAIM, "Not confirmed")])
def test_a_proof_without_a_block_is_shown_as_what_it_is(tmp_path: Path, tree: bytes, state: str) -> None:
    text = page(tmp_path, zipped(with_proof(facts.MAGIC + b"\x01\x08" + HEAD + tree)), "")
    assert "<strong>Indeterminate</strong>" in text
    assert state in text
    assert "Nothing, as long as it does not pass." in text


TRUSTS_A_BLOCK = f'[authorities.chain]\nbackend = "tezos"\nchain_id = "{NETWORK}"\nblock_hashes = ["{{}}"]\n'
TRUSTS_HEADERS = '[authorities.chain]\nbackend = "opentimestamps"\nheaders = "headers.txt"\n'
UNRELATED_BLOCK = "BLockGenesisGenesisGenesisGenesisGenesisf79b5d1CoW2"
NOBODY = "was started without a trust policy"


@pytest.mark.parametrize("policy", [TRUSTS_A_BLOCK.format(UNRELATED_BLOCK), TRUSTS_HEADERS])
def test_a_page_that_trusts_only_public_ledgers_does_not_say_that_it_trusts_nobody(tmp_path: Path, policy: str) -> None:
    (tmp_path / "headers.txt").write_bytes(facts.HEADERS)
    write(tmp_path / "trust.toml", policy)
    client = create_app(WebSettings(trust=tmp_path / "trust.toml")).test_client()
    assert NOBODY not in client.get("/").text


def test_a_page_without_a_policy_says_that_it_trusts_nobody() -> None:
    assert NOBODY in create_app(WebSettings()).test_client().get("/").text


def test_a_policy_that_is_written_anew_is_in_force_at_once_and_an_unusable_one_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receipt = anchored(HEAD)
    bundle = zipped(with_receipt(receipt))
    policy = tmp_path / "trust.toml"
    write(policy, TRUSTS_A_BLOCK.format(UNRELATED_BLOCK))
    client = create_app(WebSettings(trust=policy)).test_client()

    def verdict() -> str:
        answer = client.post(
            "/", data={"bundle": (io.BytesIO(bundle), "upload.zip")}, headers={"Accept": "application/json"}
        )
        return str(answer.get_json()["verdict"])

    assert verdict() == "INDETERMINATE"
    write(policy, TRUSTS_A_BLOCK.format(receipt["block_hash"]))
    assert verdict() == "VERIFIED"
    write(policy, "trust everybody")
    assert verdict() == "VERIFIED"
    assert "stays in force" in caplog.text
    policy.unlink()
    assert verdict() == "VERIFIED"
    write(policy, "")
    assert verdict() == "INDETERMINATE"
    assert NOBODY in client.get("/").text


def write(policy: Path, tables: str) -> None:
    policy.write_text('format = "indelible-trust/1"\n' + tables)
