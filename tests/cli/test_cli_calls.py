"""Commands that call a running ledger."""

import json
import re
import zipfile
from pathlib import Path

import pytest

from ledger.cli.main import REFUSED, UNREACHABLE, UNUSABLE
from sandbox.processes import free_port
from tests.cli.running import run


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


def test_a_session_is_ended_from_the_command_line_while_a_clip_is_in_the_making(caller: dict[str, str]) -> None:
    run("chain", "open", "filmed", environment=caller)
    clip = ("chain", "append", "filmed", "--payload", '{"clip_id":"c1"}', "--json", "--kind")
    run(*clip, "clip.requested", environment=caller)
    refused = run("chain", "close", "filmed", environment=caller)
    assert (refused.code, "EndSession" in refused.err) == (REFUSED, True)
    assert run("chain", "end", "filmed", "--wait", "59", environment=caller).code == UNUSABLE
    ended = run("chain", "end", "filmed", "--ending", '{"by":"me"}', "--wait", "60", environment=caller)
    assert '{"type": "clip", "item_id": "c1", "since_sequence": 2}' in ended.out
    shown = run("chain", "list", "--state", "ended", "--json", environment=caller).json()
    (found,) = [chain for chain in shown if chain["chain_id"] == "filmed"]
    assert (found["state"], found["ended_at"] < found["closes_by"], found["closed_at"]) == ("ended", True, None)
    run(*clip, "clip.failed", environment=caller)
    again = run("chain", "end", "filmed", "--json", environment=caller).json()
    assert (again["state"], again["pending"], again["event_count"]) == ("closed", [], 6)


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
