"""Every RFC 3161 case of the corpus of real tokens, through the `token` command, as its manifest expects."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from verifier.token_command import token

_CORPUS = os.environ.get("INDELIBLE_CORPUS")
_FOLDER = Path(_CORPUS or "/nonexistent") / "timestamps"


def _cases(kind: str) -> list[Any]:
    if not (_FOLDER / "manifest.json").is_file():
        return [pytest.param({}, marks=pytest.mark.skip(reason="INDELIBLE_CORPUS names no folder with timestamps"))]
    cases = json.loads((_FOLDER / "manifest.json").read_text())["cases"]
    return [pytest.param(case, id=case["id"]) for case in cases if case["kind"] == kind]


def _arguments(case: dict[str, Any]) -> list[str]:
    arguments = [str(_FOLDER / case["token"]), "--json"]
    if case.get("data"):
        arguments += ["--data", str(_FOLDER / case["data"])]
    elif case.get("digest"):
        arguments += ["--digest", case["digest"], "--hash-algorithm", case["hash_algorithm"]]
    for option, member in (
        ("--query", "query"),
        ("--trust-root", "trust_root"),
        ("--untrusted", "extra_certificates"),
        ("--trusted-list", "trusted_list"),
    ):
        if case.get(member):
            arguments += [option, str(_FOLDER / case[member])]
    return arguments


@pytest.mark.parametrize("case", _cases("rfc3161"))
def test_a_real_token_is_judged_as_the_manifest_expects(case: dict[str, Any]) -> None:
    result = CliRunner().invoke(token, _arguments(case))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert (result.exit_code == 0) == (case["expect"] == "VERIFY"), result.output
    report = json.loads(result.output)["tokens"][0]
    if "signer_must_be" in case:
        assert case["signer_must_be"] in report["authority"]
        assert case["signer_must_not_be"] not in report["authority"]


@pytest.mark.parametrize("case", _cases("rfc3161"))
def test_without_a_trusted_root_no_real_token_is_verified(case: dict[str, Any]) -> None:
    arguments = _arguments({**case, "trust_root": None})
    assert CliRunner().invoke(token, arguments).exit_code in {1, 3}


@pytest.mark.parametrize("case", _cases("qualified"))
def test_a_real_token_is_qualified_only_as_the_trusted_list_says(case: dict[str, Any]) -> None:
    result = CliRunner().invoke(token, _arguments(case))
    assert result.exit_code == 0, result.output
    qualified = json.loads(result.output)["tokens"][0]["qualified"]
    assert qualified == ("QUALIFIED" if case["expect"] == "VERIFY" else "NOT-QUALIFIED")
