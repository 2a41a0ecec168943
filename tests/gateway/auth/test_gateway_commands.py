"""`indelible gateway ...` when it cannot do what it is asked: one clear line and an exit code, never a traceback."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from gateway.auth.signing import make_key, write_keys
from ledger.cli.main import indelible
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.processes import find_program
from tests.gateway.auth.bench import NOWHERE, settings_of


def run(arguments: list[str], environ: Mapping[str, str]) -> Result:
    clean = dict.fromkeys(name for name in os.environ if name.startswith("INDELIBLE_"))
    return CliRunner().invoke(indelible, ["gateway", *arguments], env={**clean, **environ})


def serve(environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """`indelible gateway serve`, which has several processes, until it has given up."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("INDELIBLE_")}
    command = [str(find_program("indelible")), "gateway", "serve"]
    return subprocess.run(command, env={**clean, **environ}, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def environ(tmp_path: Path, module_database: Database, issuer: Issuer) -> dict[str, str]:
    write_keys(tmp_path / "keys.json", [make_key()])
    return settings_of(module_database, issuer, tmp_path / "keys.json")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["serve"], ["INDELIBLE_GATEWAY_DSN", "INDELIBLE_GATEWAY_ISSUER", "INDELIBLE_GATEWAY_KEYS"]),
        (["worker"], ["INDELIBLE_GATEWAY_WORKER_DSN", "INDELIBLE_TOKEN_ISSUER"]),
        (["credential", "create", "--org", "acme"], ["INDELIBLE_GATEWAY_DSN"]),
    ],
)
def test_missing_settings_are_told_all_at_once(arguments: list[str], names: list[str]) -> None:
    done = run(arguments, {})
    assert done.exit_code == 2
    assert all(f"{name}: is not set" in done.output for name in names), done.output
    assert isinstance(done.exception, SystemExit), done.exception


def test_it_does_not_serve_with_a_bad_policy_and_says_where_it_is(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/ours.cedar").write_text('// ours\npermit (principal, action == Action::"x", resource);\n')
    done = run(["serve"], {**environ, "INDELIBLE_GATEWAY_POLICIES": str(tmp_path / "policies")})
    assert done.exit_code == 2
    assert "ours.cedar, line 2:" in done.output
    assert isinstance(done.exception, SystemExit), done.exception


def test_it_does_not_serve_from_a_database_that_does_not_guard_the_records(
    environ: dict[str, str], module_database: Database
) -> None:
    with psycopg.connect(module_database.admin_dsn) as connection:
        connection.execute("ALTER TABLE gateway.decisions DISABLE TRIGGER guard_decision")
    try:
        served = serve({**environ, "INDELIBLE_LEDGER": NOWHERE})
        created = run(["credential", "create", "--org", "acme"], {**environ, "INDELIBLE_LEDGER": NOWHERE})
        for code, said in ((served.returncode, served.stderr), (created.exit_code, created.output)):
            assert code == 1
            assert said.count("guard_decision") == 1
            assert "Traceback" not in said
    finally:
        with psycopg.connect(module_database.admin_dsn) as connection:
            connection.execute("ALTER TABLE gateway.decisions ENABLE ALWAYS TRIGGER guard_decision")


def test_a_database_that_is_away_is_told_with_the_exit_code_for_that(environ: dict[str, str]) -> None:
    away = "postgresql://indelible_gateway:x@127.0.0.1:1/x"
    done = serve({**environ, "INDELIBLE_GATEWAY_DSN": away})
    assert done.returncode == 3
    # By the first of its processes, and by no other.
    assert done.stderr.count("the database cannot be reached") == 1
    assert "Traceback" not in done.stderr
