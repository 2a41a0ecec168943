"""The stored vectors of public-ledger anchors, through the commands."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from verifier.cli import main

VECTORS = Path(__file__).parents[2] / "vectors"
EXIT_CODES = {"valid": 0, "invalid": 1, "unconfirmed": 3, "pending": 3}


def cases(name: str) -> list[Any]:
    found: list[Any] = json.loads((VECTORS / name / "cases.json").read_text())
    return [pytest.param(case, id=case["name"]) for case in found]


def judge(case: dict[str, Any], *arguments: str) -> None:
    result = CliRunner().invoke(main, [*arguments, "--json"])
    (token,) = json.loads(result.stdout)["tokens"]
    assert (token["status"], result.exit_code) == (case["status"], EXIT_CODES[case["status"]])
    assert case["code"] in [finding["code"] for finding in token["findings"]]


@pytest.mark.parametrize("case", cases("tezos"))
def test_every_receipt_ends_as_it_must(case: dict[str, Any], tmp_path: Path) -> None:
    document = json.loads((VECTORS / "tezos" / case["receipt"]).read_text()) | case["changes"]
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(document))
    known = ["--block-hash", case["known_block"]] if case["known_block"] else []
    judge(case, "tezos", str(path), "--value", case["value"], *known)


@pytest.mark.parametrize("case", cases("opentimestamps"))
def test_every_proof_ends_as_it_must(case: dict[str, Any], tmp_path: Path) -> None:
    folder = VECTORS / "opentimestamps"
    path = tmp_path / "proof.ots"
    path.write_bytes(bytes.fromhex(case["proof"]))
    headers = ["--headers", str(folder / "headers.txt")] if case["with_headers"] else []
    judge(case, "ots", str(path), "--data", str(folder / "payment.bin"), *headers)


def test_the_stored_payment_is_the_first_one_ever_made() -> None:
    payment = (VECTORS / "opentimestamps" / "payment.bin").read_bytes()
    name = hashlib.sha256(hashlib.sha256(payment).digest()).digest()[::-1].hex()
    assert name == "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16"
