"""The command `indelible-verify tezos`: every answer with its exit code, in words and as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.verifier.tezos.forge import CONTRACT, NETWORK, VALUE, block
from tests.verifier.tezos.node_double import NodeDouble
from verifier.cli import main
from verifier.tezos import base58

RECEIPT = block()
DOCUMENT = RECEIPT.document()
HASH = DOCUMENT["block_hash"]


@pytest.fixture
def receipt(tmp_path: Path) -> Path:
    path = tmp_path / "receipt.json"
    path.write_bytes(RECEIPT.receipt())
    return path


def policy(folder: Path, *lines: str, name: str = "main") -> Path:
    path = folder / "trust.toml"
    table = [f"[authorities.{name}]", 'backend = "tezos"', f'chain_id = "{NETWORK}"', *lines]
    path.write_text("\n".join(['format = "indelible-trust/1"', *table]))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["tezos", *map(str, arguments)])


def report(result: Result) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def test_a_receipt_of_a_block_that_the_caller_knows_is_verified(receipt: Path) -> None:
    result = run(receipt, "--value", VALUE.hex().upper(), "--block-hash", "B" + HASH[1:])
    assert (result.exit_code, result.stdout.count("VERIFIED")) == (0, 1)
    assert HASH in result.stdout


def test_the_report_as_json_has_the_members_of_a_token(receipt: Path) -> None:
    result = run(receipt, "--value", VALUE.hex(), "--block-hash", HASH, "--json")
    assert (result.exit_code, report(result)["verdict"]) == (0, "VERIFIED")
    (token,) = report(result)["tokens"]
    assert (token["ok"], token["status"], token["backend"], token["sequence"]) == (True, "valid", "tezos", None)
    assert (token["time"], token["block"]) == ("2026-09-21T14:13:20.000000Z", HASH)
    assert (token["signer"], token["qualified"]) == (RECEIPT.signer.address, "NOT-QUALIFIED")


def test_without_a_known_block_it_is_unconfirmed_in_plain_words(receipt: Path) -> None:
    other = base58.encode(base58.BLOCK_HASH, bytes(32))
    for known in ((), ("--block-hash", other)):
        result = run(receipt, "--value", VALUE.hex(), *known, "--json")
        (token,) = report(result)["tokens"]
        assert (result.exit_code, report(result)["verdict"], token["status"]) == (3, "INDETERMINATE", "unconfirmed")
        assert "nothing at hand says that this block is on the network" in token["findings"][0]["message"]


def test_another_value_fails(receipt: Path) -> None:
    result = run(receipt, "--value", "00" * 32, "--block-hash", HASH)
    assert (result.exit_code, "tezos-value" in result.stdout) == (1, True)


def test_a_file_that_is_no_receipt_fails_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    for content in (b"", b"\xff" * 300_000, b"[" * 200_000, b"{}"):
        path.write_bytes(content)
        result = run(path, "--value", VALUE.hex())
        assert (result.exit_code, "tezos-unreadable" in result.stdout) == (1, True)


def test_a_policy_may_know_the_block(receipt: Path, tmp_path: Path) -> None:
    path = policy(tmp_path, f'block_hashes = ["{HASH}"]', f'contracts = ["{CONTRACT}"]')
    assert run(receipt, "--value", VALUE.hex(), "--trust", path).exit_code == 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f'contracts = ["{base58.encode(base58.CONTRACT, bytes(20))}"]', "tezos-contract-untrusted"),
        ('signers = ["tz1Ke2h7sDdakHJQh8WX4Z372du1KChsksyU"]', "tezos-signer-untrusted"),
        ('entrypoint = "other"', "tezos-entrypoint-untrusted"),
    ],
)
def test_a_policy_restricts_who_may_have_sent_it(receipt: Path, tmp_path: Path, line: str, code: str) -> None:
    result = run(receipt, "--value", VALUE.hex(), "--trust", policy(tmp_path, line), "--block-hash", HASH)
    assert (result.exit_code, code in result.stdout) == (1, True)


def test_one_of_several_tables_suffices(receipt: Path, tmp_path: Path) -> None:
    path = policy(tmp_path, f'block_hashes = ["{HASH}"]')
    main_network = '\n[authorities.a]\nbackend = "tezos"\nchain_id = "NetXdQprcVkpaWU"\n'
    path.write_text(path.read_text() + main_network)
    assert run(receipt, "--value", VALUE.hex(), "--trust", path).exit_code == 0


def test_two_nodes_of_the_policy_confirm_a_block_online(receipt: Path, tmp_path: Path) -> None:
    node = NodeDouble(chain_id=NETWORK, hashes={1000: HASH}, head=1010)
    with node.running(), NodeDouble(chain_id=NETWORK, hashes={1000: HASH}, head=1011).running() as other:
        path = policy(tmp_path, f'nodes = ["{node.address}", "{other.address}"]')
        assert run(receipt, "--value", VALUE.hex(), "--trust", path).exit_code == 3
        assert node.asked == []
        result = run(receipt, "--value", VALUE.hex(), "--trust", path, "--online")
    assert (result.exit_code, "tezos-nodes-agree" in result.stdout) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--value", "00"),
        ("--value", "zz" * 32),
        ("--value", "00" * 33),
        ("--value", "00" * 32, "--block-hash", "Bnonsense"),
        ("--value", "00" * 32, "--block-hash", HASH[:-1]),
        ("--value", "00" * 32, "--online"),
        ("--value", "00" * 32, "--trust", "receipt.json"),
        ("--value", "00" * 32, "--trust", "empty.toml"),
    ],
)
def test_bad_usage_ends_with_code_two(
    receipt: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(receipt.parent)
    Path("empty.toml").write_text('format = "indelible-trust/1"')
    result = run(receipt, *arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
