"""Commands of whoever installs and runs the ledger."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger.chain.receipt import ReceiptVerifier
from ledger.cli.main import REFUSED, UNREACHABLE, UNUSABLE
from ledger.verify_links import load_link_keys
from sandbox.database import Database
from sandbox.postgres import Postgres
from sandbox.processes import free_port
from tests.cli.running import ended, run, run_process, start_process
from tests.service.serving import Service


@pytest.fixture(scope="module", autouse=True)
def serving_nowhere(service: Service) -> Iterator["subprocess.Popen[bytes]"]:
    """A service without a database, which it looks for while the other tests run."""
    nowhere = f"postgresql://indelible_runtime:secret-word@127.0.0.1:{free_port()}/ledger"
    free = {"INDELIBLE_RUNTIME_DSN": nowhere, "INDELIBLE_LISTEN": "127.0.0.1:0", "INDELIBLE_METRICS_LISTEN": ""}
    with start_process("serve", environment=service.environment | free) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("migrate",),
        ("serve",),
        ("organisation", "add"),
        ("organisation", "list"),
        ("keys", "generate", "receipt"),
        ("keys", "generate", "links"),
        ("settings", "check"),
        ("chain", "open"),
        ("chain", "append"),
        ("chain", "checkpoint"),
        ("chain", "close"),
        ("chain", "end"),
        ("chain", "list"),
        ("chain", "show"),
        ("chain", "erase-disclosures"),
        ("chain", "export"),
        ("chain", "check"),
        ("anchors", "list"),
        ("verify-link", "create"),
        ("verify-link", "revoke"),
    ],
    ids=" ".join,
)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    ran = run(*command, "--help")
    assert ran.code == 0
    assert "Usage: indelible" in ran.out
    assert len(ran.out.splitlines()) > 4


def test_commands_of_other_packages_are_offered() -> None:
    offered = {line.split()[0] for line in run_process("--help").out.splitlines() if line.strip()}
    assert {"demo", "up", "serve", "migrate"} <= offered


def test_commands_that_call_a_service_do_not_wait_for_the_databases_client_to_load() -> None:
    script = "import sys, ledger.cli.chains, ledger.cli.links, gateway.cli; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def test_an_unknown_command_is_wrong_usage() -> None:
    ran = run("delete-everything")
    assert ran.code == UNUSABLE
    assert "No such command" in ran.err


def test_serving_without_settings_names_every_missing_variable_at_once() -> None:
    ran = run_process("serve")
    assert ran.code == UNUSABLE
    for name in ("INDELIBLE_RUNTIME_DSN", "INDELIBLE_TOKEN_JWKS", "INDELIBLE_RECEIPT_KEY", "INDELIBLE_LINK_KEYS"):
        assert f"{name}: " in ran.err


def test_serving_only_messages_needs_a_message_server(service: Service) -> None:
    ran = run("serve", "--only", "messaging", environment=service.environment)
    assert ran.code == UNUSABLE
    assert "INDELIBLE_NATS_URL" in ran.err


def test_settings_are_checked_without_connecting_anywhere(service: Service, tmp_path: Path) -> None:
    checked = run("settings", "check", "--json", environment=service.environment).json()
    assert checked["receipt_verifier_key"] == service.receipt_key
    assert checked["authorities"] == []
    (tmp_path / "links.toml").write_text("[keys]")
    (tmp_path / "authorities.toml").write_text("[authorities.x]\nurl = 1\n")
    broken = {
        "INDELIBLE_LINK_KEYS": str(tmp_path / "links.toml"),
        "INDELIBLE_RECEIPT_KEY": str(tmp_path / "links.toml"),
        "INDELIBLE_AUTHORITIES": str(tmp_path / "authorities.toml"),
        "INDELIBLE_TOKEN_JWKS": str(tmp_path / "links.toml"),
        "INDELIBLE_GATEWAY_JWKS": str(tmp_path / "links.toml"),
    }
    gateway = {"INDELIBLE_GATEWAY_ISSUER": "https://gateway.example"}
    ran = run("settings", "check", environment=service.environment | broken | gateway)
    assert ran.code == UNUSABLE
    for name in broken:
        assert f"{name}: " in ran.err


def test_generated_keys_are_private_usable_and_never_overwritten(tmp_path: Path) -> None:
    receipt, links = tmp_path / "receipt.pem", tmp_path / "links.toml"
    made = run("keys", "generate", "receipt", "--out", receipt, "--name", "ledger.example.org", "--json").json()
    ReceiptVerifier(made["verifier_key"])
    run("keys", "generate", "links", "--out", links, "--json").json()
    assert load_link_keys(links).current in load_link_keys(links).secrets
    for path in (receipt, links):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        before = path.read_bytes()
        ran = run("keys", "generate", *(("receipt", "--name", "x") if path is receipt else ("links",)), "--out", path)
        assert ran.code == UNUSABLE
        assert path.read_bytes() == before
    assert run("keys", "generate", "receipt", "--out", tmp_path / "x", "--name", "two words").code == UNUSABLE
    assert not (tmp_path / "x").exists()


def test_a_database_is_migrated_and_organisations_are_registered(postgres: Postgres, database: Database) -> None:
    environment = {
        "INDELIBLE_ADMIN_DSN": database.admin_dsn,
        "INDELIBLE_RUNTIME_DSN": database.runtime_dsn,
        "INDELIBLE_APPEND_DSN": database.append_dsn,
        "INDELIBLE_WORKER_DSN": database.worker_dsn,
    }
    assert run("migrate", environment=environment).code == 0
    assert run("migrate", environment=environment).code == 0
    assert "No organisation" in run("organisation", "list", environment=environment).out
    for _ in range(2):
        assert run("organisation", "add", "acme", "--name", "Acme Ltd", environment=environment).code == 0
    [listed] = run("organisation", "list", "--json", environment=environment).json()
    assert (listed["organisation_id"], listed["name"]) == ("acme", "Acme Ltd")
    renamed = run("organisation", "add", "acme", "--name", "Other", environment=environment)
    assert renamed.code == REFUSED
    assert run("organisation", "add", "Not An Id", "--name", "x", environment=environment).code == REFUSED


def test_a_migration_with_the_wrong_users_names_the_variables(database: Database) -> None:
    environment = {
        "INDELIBLE_ADMIN_DSN": database.admin_dsn,
        "INDELIBLE_RUNTIME_DSN": database.append_dsn,
        "INDELIBLE_APPEND_DSN": "postgresql://indelible_append@127.0.0.1/ledger",
        "INDELIBLE_WORKER_DSN": database.worker_dsn,
    }
    ran = run("migrate", environment=environment)
    assert ran.code == UNUSABLE
    assert "INDELIBLE_RUNTIME_DSN: " in ran.err
    assert "INDELIBLE_APPEND_DSN: " in ran.err
    assert "INDELIBLE_WORKER_DSN: " not in ran.err


def test_the_evidence_services_part_is_migrated_where_both_its_addresses_are_set(database: Database) -> None:
    ledger = {
        "INDELIBLE_ADMIN_DSN": database.admin_dsn,
        "INDELIBLE_RUNTIME_DSN": database.runtime_dsn,
        "INDELIBLE_APPEND_DSN": database.append_dsn,
        "INDELIBLE_WORKER_DSN": database.worker_dsn,
    }
    evidence = {"INDELIBLE_EVIDENCE_DSN": database.evidence_dsn}
    ran = run("migrate", environment=ledger | evidence)
    assert ran.code == UNUSABLE
    assert "INDELIBLE_EVIDENCE_WORKER_DSN: is not set" in ran.err
    evidence["INDELIBLE_EVIDENCE_WORKER_DSN"] = database.evidence_dsn
    ran = run("migrate", environment=ledger | evidence)
    assert ran.code == UNUSABLE
    assert "INDELIBLE_EVIDENCE_WORKER_DSN: names another user" in ran.err
    evidence["INDELIBLE_EVIDENCE_WORKER_DSN"] = database.evidence_worker_dsn
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("DROP SCHEMA evidence CASCADE")
    assert run("migrate", environment=ledger | evidence).code == 0
    with psycopg.connect(database.evidence_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM evidence.clips").fetchone() == (0,)


def test_a_database_that_is_away_is_told_without_its_password() -> None:
    environment = {
        name: f"postgresql://{role}:secret-word@127.0.0.1:{free_port()}/ledger"
        for name, role in (
            ("INDELIBLE_ADMIN_DSN", "admin"),
            ("INDELIBLE_RUNTIME_DSN", "indelible_runtime"),
            ("INDELIBLE_APPEND_DSN", "indelible_append"),
            ("INDELIBLE_WORKER_DSN", "indelible_worker"),
        )
    }
    for arguments in (("migrate",), ("organisation", "list")):
        ran = run(*arguments, environment=environment)
        assert ran.code == UNREACHABLE
        assert "secret-word" not in ran.out + ran.err


def test_serving_without_a_database_is_one_clear_line(serving_nowhere: "subprocess.Popen[bytes]") -> None:
    ran = ended(serving_nowhere)
    assert ran.code == UNREACHABLE
    assert "secret-word" not in ran.out + ran.err
