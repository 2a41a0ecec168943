"""The command `indelible-verify ots`: every answer with its exit code, in words and as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.verifier.opentimestamps import public_facts as facts
from verifier.cli import main

PENDING = b"\x00" + bytes.fromhex("83dfe30d2ef90c8e") + b"\x11\x10https://cal.test"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "proof.ots").write_bytes(facts.PROOF)
    (tmp_path / "pending.ots").write_bytes(facts.MAGIC + b"\x01\x08" + facts.DIGEST + PENDING)
    (tmp_path / "payment").write_bytes(facts.PAYMENT)
    (tmp_path / "headers.txt").write_bytes(b"# block 170\n" + facts.HEADERS)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["ots", *map(str, arguments)])


def report(result: Result) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def test_a_proof_with_its_header_is_verified(files: Path) -> None:
    result = run(files / "proof.ots", "--data", files / "payment", "--headers", files / "headers.txt")
    assert result.exit_code == 0
    assert "VERIFIED" in result.stdout
    assert "not later than Bitcoin block 170" in result.stdout


def test_the_report_as_json_has_the_members_of_a_token(files: Path) -> None:
    result = run(
        files / "proof.ots", "--digest", facts.DIGEST.hex().upper(), "--headers", files / "headers.txt", "--json"
    )
    parsed = report(result)
    assert (result.exit_code, parsed["verdict"]) == (0, "VERIFIED")
    (token,) = parsed["tokens"]
    assert (token["ok"], token["status"], token["backend"], token["sequence"]) == (
        True,
        "valid",
        "opentimestamps",
        None,
    )
    assert (token["time"], token["time_accuracy"]) == ("2009-01-12T03:30:25.000000Z", 7_200_000_000)
    assert (token["block"], token["qualified"]) == ("170", "NOT-QUALIFIED")


def test_without_the_header_it_is_unconfirmed_and_says_what_is_missing(files: Path) -> None:
    result = run(files / "proof.ots", "--data", files / "payment", "--json")
    (token,) = report(result)["tokens"]
    assert (result.exit_code, report(result)["verdict"], token["status"]) == (3, "INDETERMINATE", "unconfirmed")
    assert (token["findings"][0]["code"], token["block"]) == ("ots-anchored-unchecked", "170")
    assert facts.ROOT[::-1].hex() in token["findings"][0]["message"]


def test_a_pending_proof_is_pending(files: Path) -> None:
    result = run(files / "pending.ots", "--data", files / "payment", "--json")
    assert (result.exit_code, report(result)["tokens"][0]["status"]) == (3, "pending")


@pytest.mark.parametrize("digest", ["00" * 32, "00" * 20, "ab"])
def test_another_digest_fails(files: Path, digest: str) -> None:
    result = run(files / "proof.ots", "--digest", digest)
    assert result.exit_code == 1
    assert "ots-digest-mismatch" in result.stdout


def test_any_other_file_fails_without_a_traceback(files: Path) -> None:
    result = run(files / "payment", "--data", files / "payment")
    assert (result.exit_code, "ots-unreadable" in result.stdout) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--data", "payment", "--digest", "00"),
        ("--digest", "xyz"),
        ("--digest", "0"),
        ("--digest", ""),
        ("--data", "missing"),
        ("--digest", "00", "--headers", "payment"),
    ],
)
def test_bad_usage_ends_with_code_two(files: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)
    result = run("proof.ots", *arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


def test_every_real_proof_ends_with_the_exit_code_of_its_kind(corpus: Path) -> None:
    folder = corpus / "timestamps"
    for case in json.loads((folder / "manifest.json").read_bytes())["cases"]:
        if case["kind"] != "ots":
            continue
        given = ("--data", folder / case["data"]) if "data" in case else ("--digest", case.get("digest", "00" * 32))
        result = run(folder / case["proof"], *given, "--json")
        assert result.exit_code in {1, 3}, case["id"]
        if case["expect"] == "VERIFY":
            assert report(result)["tokens"][0]["findings"][0]["code"] == "ots-anchored-unchecked", case["id"]
