import json
import os
import re
import stat
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from ledger.chain.receipt import ReceiptVerifier
from ledger.cli.main import REFUSED, UNREACHABLE, UNUSABLE, indelible
from ledger.verify_links import load_link_keys
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.postgres import Postgres
from sandbox.processes import find_program, free_port
from tests.service.serving import Service, running_service


def run(*arguments: str | Path, environment: Mapping[str, str] | None = None, stdin: bytes = b"") -> "Ran":
    """Run the command line within this process: starting Python anew for each would take most of the time."""
    clean = {name: None for name in os.environ if name.startswith(("INDELIBLE_", "OTEL_"))}
    result = CliRunner().invoke(
        indelible, list(map(str, arguments)), prog_name="indelible", env={**clean, **(environment or {})}, input=stdin
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return Ran(result.exit_code, result.stdout, result.stderr)


def run_process(*arguments: str, environment: Mapping[str, str] | None = None) -> "Ran":
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INDELIBLE_", "OTEL_"))}
    finished = subprocess.run(
        [find_program("indelible"), *arguments],
        env={**clean, **(environment or {})},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Ran(finished.returncode, finished.stdout.decode(), finished.stderr.decode())


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        assert "Traceback" not in out + err, err
        self.code = code
        self.out = out
        self.err = err

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), module_database, issuer) as running:
        yield running


@pytest.fixture(scope="module")
def caller(service: Service) -> dict[str, str]:
    """The environment of somebody who calls the service."""
    return {"INDELIBLE_LEDGER": service.address, "INDELIBLE_TOKEN": service.token()}


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


def test_an_unknown_command_is_wrong_usage() -> None:
    ran = run("delete-everything")
    assert ran.code == UNUSABLE
    assert "No such command" in ran.err


def test_a_session_is_kept_from_the_command_line(caller: dict[str, str], tmp_path: Path) -> None:
    opened = run("chain", "open", "shell", "--subject", '{"case":7}', "--json", environment=caller).json()
    assert (opened["state"], opened["subject"]) == ("open", {"case": 7})
    appended = run(
        *("chain", "append", "shell", "--kind", "door.opened", "--payload", '{"door":1}'),
        *("--idempotency-key", "first", "--expected-sequence", "2", "--json"),
        environment=caller,
    ).json()
    assert appended["last_sequence"] == 2
    lines = b'{"kind":"door.closed","payload":{"door":1}}\n\n{"kind":"a.b","payload":{"x":"y"},"sealed":["x"]}\n'
    assert run("chain", "append", "shell", "--json", environment=caller, stdin=lines).json()["last_sequence"] == 4
    assert run("chain", "checkpoint", "shell", "--json", environment=caller).json()["last_sequence"] == 5
    closed = run("chain", "close", "shell", "--closing", '{"by":"me"}', "--json", environment=caller).json()
    assert (closed["state"], closed["event_count"]) == ("closed", 6)
    shown = run("chain", "show", "shell", "--json", environment=caller)
    events = [json.loads(line) for line in shown.out.splitlines()]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1]["hash"] == closed["head"]
    assert run("chain", "check", "shell", "--json", environment=caller).json()["ok"] is True
    bundle = tmp_path / "bundle.zip"
    exported = run("chain", "export", "shell", "--out", bundle, "--json", environment=caller).json()
    assert exported["bytes"] == bundle.stat().st_size
    assert zipfile.ZipFile(bundle).testzip() is None
    assert "shell" in [chain["chain_id"] for chain in run("chain", "list", "--json", environment=caller).json()]
    assert run("anchors", "list", "shell", "--json", environment=caller).json() == []
    link = run("verify-link", "create", "shell", "--days", "3", "--json", environment=caller).json()
    assert link["url"].endswith(link["token"])
    revoked = run("verify-link", "revoke", link["link_id"], "--json", environment=caller).json()
    assert revoked["link_id"] == link["link_id"]


def test_an_export_replaces_a_file_only_when_told_to(caller: dict[str, str], tmp_path: Path) -> None:
    run("chain", "open", "exported", environment=caller)
    bundle = tmp_path / "bundle.zip"
    bundle.write_text("somebody's evidence")
    refused = run("chain", "export", "exported", "--out", bundle, environment=caller)
    assert refused.code == UNUSABLE
    assert f"{bundle} exists already" in refused.err
    assert bundle.read_text() == "somebody's evidence"
    assert run("chain", "export", "exported", "--out", bundle, "--force", environment=caller).code == 0
    assert zipfile.ZipFile(bundle).testzip() is None
    dangling = tmp_path / "link.zip"
    dangling.symlink_to(tmp_path / "nothing")
    assert run("chain", "export", "exported", "--out", dangling, environment=caller).code == UNUSABLE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.zip", "link.zip"]


def test_what_sealed_members_say_is_erased_from_the_command_line(caller: dict[str, str]) -> None:
    run("chain", "open", "to-erase", environment=caller)
    event = ("--kind", "person.seen", "--payload", '{"name":"Ann","door":1}', "--seal", "name")
    run("chain", "append", "to-erase", *event, environment=caller)
    command = ("chain", "erase-disclosures", "to-erase", "--sequence", "2", "--reason", "asked for", "--json")
    erased = run(*command, environment=caller).json()
    assert erased["erased"] == 1
    assert "operations" in erased["receipt"]
    assert run(*command, environment=caller).json() == {"erased": 0, "receipt": None}
    assert run("chain", "check", "to-erase", environment=caller).code == 0


def test_people_get_tables_and_sentences(caller: dict[str, str]) -> None:
    assert run("chain", "open", "for-people", environment=caller).code == 0
    listed = run("chain", "list", environment=caller)
    assert "for-people" in listed.out
    assert "event count" in listed.out
    assert "Nothing of this chain" in run("anchors", "list", "for-people", environment=caller).out


def test_a_certificate_authority_that_is_none_is_named(caller: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    ran = run("chain", "list", environment=caller | {"INDELIBLE_LEDGER_CA": str(tmp_path / "ca.pem")})
    assert ran.code == UNUSABLE
    assert "INDELIBLE_LEDGER_CA: the certificate authority is not a certificate" in ran.err


def test_people_can_copy_a_receipt_as_it_was_signed(caller: dict[str, str]) -> None:
    run("chain", "open", "noted", environment=caller)
    command = ("chain", "append", "noted", "--kind", "a.b", "--payload", "{}", "--idempotency-key", "once")
    printed = run(*command, environment=caller).out.splitlines()
    start = next(number for number, line in enumerate(printed) if line.startswith("receipt "))
    column = printed[start].index("indelible-receipt/1")
    note = "".join(f"{line[column:]}\n" for line in printed[start:])
    assert note == run(*command, "--json", environment=caller).json()["receipt"]


def test_a_row_into_a_file_is_one_line(caller: dict[str, str]) -> None:
    opened = run("chain", "open", "in-one-line", "--json", environment=caller).json()
    listed = run("chain", "list", environment=caller).out
    assert any("in-one-line" in line and opened["head"] in line for line in listed.splitlines())


def test_times_are_written_as_in_bundles(caller: dict[str, str]) -> None:
    opened = run("chain", "open", "timed", "--json", environment=caller).json()
    event = json.loads(run("chain", "show", "timed", "--json", environment=caller).out)
    assert event["occurred_at"] == opened["opened_at"]
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{6}Z", event["occurred_at"])


def test_a_hostile_event_cannot_play_tricks_on_the_terminal(caller: dict[str, str]) -> None:
    run("chain", "open", "tricky", environment=caller)
    payload = json.dumps({"text": "\x1b[2J\u202egnp.exe\n[bold red]x[/bold red]"})
    assert run("chain", "append", "tricky", "--kind", "a.b", "--payload", payload, environment=caller).code == 0
    shown = run("chain", "show", "tricky", environment=caller)
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out
    assert "[bold red]x[/bold red]" in shown.out


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "told"),
    [
        (("chain", "show", "absent"), b"", REFUSED, "CHAIN_NOT_FOUND"),
        (("chain", "open", "Not-A-Chain"), b"", REFUSED, "INVALID_ARGUMENT"),
        (("chain", "open", "a", "--subject", "[]"), b"", REFUSED, "INVALID_PAYLOAD"),
        (("chain", "append", "absent"), b"not json\n", UNUSABLE, "line 1"),
        (("chain", "append", "absent"), b"[" * 100_000, UNUSABLE, "line 1"),
        (("chain", "append", "absent"), b'{"kind":"a.b","payload":{},"more":1}', UNUSABLE, "line 1"),
        (("chain", "append", "absent"), b"", REFUSED, "INVALID_ARGUMENT"),
        (("chain", "append", "absent", "--kind", "a.b"), b"", UNUSABLE, "belong together"),
        (("chain", "export", "absent", "--out", "/nowhere/bundle.zip"), b"", UNUSABLE, "/nowhere/bundle.zip"),
        (("verify-link", "create", "absent", "--days", "367"), b"", UNUSABLE, "366"),
        (("verify-link", "revoke", "nonsense"), b"", REFUSED, "LINK_UNKNOWN"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_one_clear_line_and_an_exit_code(
    caller: dict[str, str], arguments: tuple[str, ...], stdin: bytes, code: int, told: str
) -> None:
    ran = run(*arguments, environment=caller, stdin=stdin)
    assert ran.code == code
    assert told in ran.err


def test_a_ledger_that_is_not_there_is_told_with_its_address(caller: dict[str, str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    ran = run("chain", "list", environment=caller | {"INDELIBLE_LEDGER": address})
    assert ran.code == UNREACHABLE
    assert address in ran.err


def test_a_token_that_is_not_valid_is_told(caller: dict[str, str]) -> None:
    ran = run("chain", "list", environment=caller | {"INDELIBLE_TOKEN": "stale"})
    assert ran.code == REFUSED
    assert "UNAUTHENTICATED" in ran.err


def test_a_caller_without_a_token_is_told_what_to_set() -> None:
    ran = run("chain", "list")
    assert ran.code == UNUSABLE
    assert "INDELIBLE_TOKEN" in ran.err


def test_serving_without_settings_names_every_missing_variable_at_once() -> None:
    ran = run_process("serve")
    assert ran.code == UNUSABLE
    for name in ("INDELIBLE_RUNTIME_DSN", "INDELIBLE_TOKEN_JWKS", "INDELIBLE_RECEIPT_KEY", "INDELIBLE_LINK_KEYS"):
        assert f"{name}: " in ran.err


def test_serving_only_messages_needs_a_message_server(service: Service) -> None:
    ran = run("serve", "--only", "messaging", environment=service.environment)
    assert ran.code == UNUSABLE
    assert "INDELIBLE_NATS_URL" in ran.err


def test_serving_without_a_database_is_one_clear_line(service: Service) -> None:
    nowhere = f"postgresql://indelible_runtime:secret-word@127.0.0.1:{free_port()}/ledger"
    free = {"INDELIBLE_RUNTIME_DSN": nowhere, "INDELIBLE_LISTEN": "127.0.0.1:0", "INDELIBLE_METRICS_LISTEN": ""}
    ran = run_process("serve", environment=service.environment | free)
    assert ran.code == UNREACHABLE
    assert "secret-word" not in ran.out + ran.err


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
    }
    ran = run("settings", "check", environment=service.environment | broken)
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
