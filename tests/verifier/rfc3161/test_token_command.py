"""The `token` command: its verdicts, its exit codes, and words that a court clerk can follow."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.verifier.rfc3161 import token_forge as forge
from tests.verifier.rfc3161.evidence_forge import certificate_identity, service, trusted_list
from tests.verifier.rfc3161.token_forge import ISSUER, ROOT, SIGNER, Statement, Token
from verifier.token_command import token

Run = Callable[..., Result]


def _pem(*certificates: bytes) -> str:
    blocks = (base64.encodebytes(certificate).decode() for certificate in certificates)
    return "".join(f"-----BEGIN CERTIFICATE-----\n{block}-----END CERTIFICATE-----\n" for block in blocks)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").write_bytes(b"the data")
    (tmp_path / "token.tsr").write_bytes(Token().response)
    (tmp_path / "root.pem").write_text(_pem(ROOT.der))
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(token, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call


def _report(result: Result) -> dict[str, Any]:
    report = json.loads(result.output)
    assert isinstance(report, dict)
    return report


def test_a_good_token_is_verified(run: Run) -> None:
    result = run("token.tsr", "--data", "data", "--trust-root", "root.pem")
    assert result.exit_code == 0
    assert result.output.startswith("VERIFIED\n")
    assert "What this does not prove" in result.output
    assert "  request        not checked\n" in result.output
    assert "  data           holds\n" in result.output
    assert "FAIL" not in result.output


def test_the_report_has_the_fields_that_programs_depend_on(run: Run) -> None:
    report = _report(run("token.tsr", "--data", "data", "--trust-root", "root.pem", "--json"))
    assert report["verdict"] == "VERIFIED"
    assert report["findings"] == []
    (entry,) = report["tokens"]
    findings = entry.pop("findings")
    assert entry == {
        "ok": True,
        "status": "valid",
        "backend": "rfc3161",
        "authority": "CN=Signer, O=Forge",
        "signer": "CN=Signer, O=Forge",
        "sequence": None,
        "time": "2024-06-01T12:00:00.000000Z",
        "time_accuracy": None,
        "qualified": "UNKNOWN",
        "revocation": "NO-EVIDENCE",
        "policy": forge.POLICY,
        "serial_number": "42",
    }
    assert {tuple(finding) for finding in findings} == {("code", "severity", "where", "message")}


def test_a_token_about_other_data_fails_and_says_why(run: Run, folder: Path) -> None:
    (folder / "data").write_bytes(b"the data!")
    result = run("token.tsr", "--data", "data", "--trust-root", "root.pem")
    assert result.exit_code == 1
    assert result.output.startswith("FAILED\n")
    assert "  data           FAILS\n" in result.output
    assert "rfc3161-imprint-mismatch" in result.output
    assert "proves nothing about this data" in result.output


@pytest.mark.parametrize("options", [(), ("--untrusted", "root.pem")])
def test_without_a_trusted_root_the_verdict_is_indeterminate(run: Run, options: tuple[str, ...]) -> None:
    result = run("token.tsr", "--data", "data", *options)
    assert result.exit_code == 3
    assert result.output.startswith("INDETERMINATE\n")
    assert "  trust          open" in result.output


def test_a_token_that_is_wrong_fails_even_without_a_trusted_root(run: Run, folder: Path) -> None:
    (folder / "token.tsr").write_bytes(b"junk")
    result = run("token.tsr", "--data", "data", "--json")
    assert result.exit_code == 1
    assert _report(result)["verdict"] == "FAILED"


@pytest.mark.parametrize("size", [0, 65_537, 10_000_000])
def test_a_file_of_any_size_has_a_verdict(run: Run, folder: Path, size: int) -> None:
    (folder / "token.tsr").write_bytes(b"\x30" * size)
    assert run("token.tsr", "--data", "data").exit_code == 1


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512", "sha3-256"])
def test_the_digest_can_be_given_instead_of_the_data(run: Run, folder: Path, hash_name: str) -> None:
    digest = forge.digest(hash_name, b"the data")
    (folder / "token.tsr").write_bytes(Token(statement=Statement(imprint_hash=hash_name, digest=digest)).der)
    arguments = ("token.tsr", "--trust-root", "root.pem")
    assert run(*arguments, "--digest", digest.hex(), "--hash-algorithm", hash_name).exit_code == 0
    assert run(*arguments, "--data", "data").exit_code == 0
    assert run(*arguments, "--data", "data", "--hash-algorithm", hash_name).exit_code == 0
    guessed = run(*arguments, "--digest", digest.hex())
    assert guessed.exit_code == (1 if hash_name == "sha3-256" else 0)


def test_a_request_alone_says_what_the_token_must_be_about(run: Run, folder: Path) -> None:
    (folder / "token.tsr").write_bytes(Token(statement=Statement(nonce=forge.integer(7))).response)
    (folder / "good.tsq").write_bytes(forge.request(nonce=7))
    (folder / "other.tsq").write_bytes(forge.request(nonce=8))
    assert run("token.tsr", "--query", "good.tsq", "--trust-root", "root.pem").exit_code == 0
    assert run("token.tsr", "--query", "other.tsq", "--trust-root", "root.pem").exit_code == 1


def test_certificates_supplied_beside_the_token_help(run: Run, folder: Path) -> None:
    (folder / "token.tsr").write_bytes(Token(certificates=()).der)
    (folder / "chain.pem").write_text(_pem(SIGNER.der, ISSUER.der))
    (folder / "issuer.der").write_bytes(ISSUER.der)
    (folder / "signer.der").write_bytes(SIGNER.der)
    arguments = ("token.tsr", "--data", "data", "--trust-root", "root.pem")
    assert run(*arguments).exit_code == 3
    assert run(*arguments, "--untrusted", "chain.pem").exit_code == 0
    assert run(*arguments, "--untrusted", "issuer.der", "--untrusted", "signer.der").exit_code == 0


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--policy", forge.POLICY), 0),
        (("--policy", "1.2.3"), 1),
        (("--at", "2031-01-01T00:00:00Z"), 1),
        (("--at", "2029-01-01T00:00:00+02:00"), 0),
        (("--valid-from", "2024-06-01T12:00:00Z", "--valid-to", "2024-06-01T12:00:00Z"), 0),
        (("--valid-from", "2024-06-01T12:00:01Z"), 1),
        (("--valid-to", "2024-06-01T11:59:59Z"), 1),
    ],
)
def test_the_users_own_conditions_are_obeyed(run: Run, options: tuple[str, ...], code: int) -> None:
    assert run("token.tsr", "--data", "data", "--trust-root", "root.pem", *options).exit_code == code


def test_a_modified_grant_is_accepted_only_on_request(run: Run, folder: Path) -> None:
    (folder / "token.tsr").write_bytes(forge.response(Token().der, status=1))
    arguments = ("token.tsr", "--data", "data", "--trust-root", "root.pem")
    assert run(*arguments).exit_code == 1
    assert run(*arguments, "--allow-granted-with-mods").exit_code == 0


def test_a_trusted_list_says_whether_the_time_stamp_is_qualified(run: Run, folder: Path) -> None:
    listed = service(certificate_identity(SIGNER.der), ("granted", "2020-01-01T00:00:00Z"))
    (folder / "list.xml").write_bytes(trusted_list(listed))
    result = run("token.tsr", "--data", "data", "--trust-root", "root.pem", "--trusted-list", "list.xml", "--json")
    assert _report(result)["tokens"][0]["qualified"] == "QUALIFIED"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("missing.tsr", "--data", "data"), id="no such token"),
        pytest.param((".", "--data", "data"), id="a folder"),
        pytest.param(("token.tsr",), id="nothing to compare with"),
        pytest.param(("token.tsr", "--data", "data", "--digest", "00" * 32), id="data and digest"),
        pytest.param(("token.tsr", "--digest", "xyz"), id="a digest that is not hexadecimal"),
        pytest.param(("token.tsr", "--digest", "00" * 31), id="a digest too short"),
        pytest.param(("token.tsr", "--digest", "00" * 32, "--hash-algorithm", "sha512"), id="a digest of another size"),
        pytest.param(("token.tsr", "--digest", "00" * 20, "--hash-algorithm", "sha1"), id="SHA-1"),
        pytest.param(("token.tsr", "--query", "data"), id="a request that is none"),
        pytest.param(("token.tsr", "--data", "data", "--trust-root", "data"), id="a root that is none"),
        pytest.param(("token.tsr", "--data", "data", "--trust-root", "token.tsr"), id="a token as a root"),
        pytest.param(("token.tsr", "--data", "data", "--untrusted", "broken.pem"), id="a damaged PEM file"),
        pytest.param(("token.tsr", "--data", "data", "--policy", "abc"), id="a policy that is none"),
        pytest.param(("token.tsr", "--data", "data", "--at", "yesterday"), id="a time that is none"),
        pytest.param(("token.tsr", "--data", "data", "--at", "2024-06-01T12:00:00"), id="a time without a zone"),
    ],
)
def test_unusable_input_is_told_on_one_line(run: Run, folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.output


def test_a_name_cannot_steer_the_terminal(run: Run, folder: Path) -> None:
    signer = replace(SIGNER, subject="\x1b[2J\x1b]0;owned\x07\N{RIGHT-TO-LEFT OVERRIDE}Signer")
    (folder / "token.tsr").write_bytes(Token(signer=signer).der)
    result = run("token.tsr", "--data", "data", "--trust-root", "root.pem")
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in result.output
