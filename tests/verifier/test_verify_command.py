"""The command line: exit codes, JSON, and text that a lawyer can read."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.verifier.bundle_forge import Authority, Chain, Files, data_files, sealed, write_directory, zipped
from verifier.cli import main

PROGRAM = [sys.executable, "-c", "from verifier.cli import main; main()"]


@pytest.fixture
def bundle(tmp_path: Path, good_files: Files) -> Path:
    path = tmp_path / "demo-1.zip"
    path.write_bytes(zipped(good_files))
    return path


@pytest.fixture
def root(tmp_path: Path, alpha: Authority) -> Path:
    path = tmp_path / "alpha.pem"
    path.write_text(alpha.root_pem)
    return path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def test_a_good_bundle_with_a_trusted_root_exits_0_and_says_verified_first(bundle: Path, root: Path) -> None:
    result = run("bundle", bundle, "--trust-root", root)
    assert result.exit_code == 0
    assert result.output.startswith("VERIFIED\n")
    assert "Acme Security" in result.output
    assert "What this does not prove" in result.output
    assert max(len(line) for line in result.output.splitlines()) <= 100


def test_a_good_bundle_without_any_trust_exits_3(bundle: Path) -> None:
    result = run("bundle", bundle)
    assert result.exit_code == 3
    assert result.output.startswith("INDETERMINATE\n")
    assert "trust-missing" in result.output


def test_an_altered_bundle_exits_1_and_names_the_event(tmp_path: Path, good_files: Files, root: Path) -> None:
    folder = write_directory(good_files, tmp_path / "bundle")
    events = folder / "data" / "events.jsonl"
    events.write_bytes(events.read_bytes().replace(b"north", b"south"))
    result = run("bundle", folder, "--trust-root", root)
    assert result.exit_code == 1
    assert result.output.startswith("FAILED\n")
    assert "First fault    event 2;" in result.output
    assert json.loads(run("bundle", folder, "--json").output)["chain_integrity"]["first_divergent_sequence"] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("/nonexistent",),
        (__file__,),
        ("EMPTY",),
        ("BUNDLE", "--trust", __file__),
        ("BUNDLE", "--trust-root", __file__),
        ("BUNDLE", "--trust-root", "EMPTY"),
        ("BUNDLE", "--trust", "BUNDLE"),
        ("BUNDLE", "--require", "0"),
        ("BUNDLE", "--expect-head", "xyz"),
        ("BUNDLE", "--expect-count", "0"),
        ("BUNDLE", "--online"),
        (),
    ],
)
def test_unusable_input_or_a_wrong_call_exits_2_with_a_reason(
    arguments: tuple[str, ...], bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    files = {"BUNDLE": str(bundle), "EMPTY": str(tmp_path / "empty")}
    result = run("bundle", *(files.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2
    assert "Error: " in result.output


@pytest.mark.parametrize(
    ("option", "content", "reason"),
    [
        ("--trust", b"\xbd", "is not text in UTF-8"),
        ("--trust-root", b"", "contains no certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line_without_a_lesson_on_usage(
    option: str, content: bytes, reason: str, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "given").write_bytes(content)
    result = run("bundle", bundle, option, tmp_path / "given")
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert reason in result.output


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert result.output.startswith("Error: cannot listen on 127.0.0.1, port ")
    assert "Errno" not in result.output


@pytest.mark.parametrize("address", ["ftp://gateway.example", "http://[bad", "http://gateway.example:port", "gateway"])
def test_a_gateway_that_is_no_web_address_is_refused(address: str) -> None:
    result = run("serve", "--port", 0, "--gateway", address)
    assert result.exit_code == 2
    assert result.output == "Error: the gateway must be an http:// or https:// address\n"


def test_require_asks_for_more_than_one_root_can_give(
    bundle: Path, root: Path, tmp_path: Path, beta: Authority
) -> None:
    assert run("bundle", bundle, "--trust-root", root, "--require", 2).exit_code == 3
    other = tmp_path / "beta.pem"
    other.write_text(beta.root_pem)
    assert run("bundle", bundle, "--trust-root", root, "--trust-root", other, "--require", 2).exit_code == 0


def test_what_the_auditor_knows_is_compared(bundle: Path, root: Path, good_files: Files) -> None:
    head = json.loads(good_files["data/bundle.json"])["head"]
    good = ("bundle", bundle, "--trust-root", root)
    assert run(*good, "--expect-head", head, "--expect-count", 4).exit_code == 0
    assert run(*good, "--expect-head", head.upper()).exit_code == 0
    assert run(*good, "--expect-head", "00" * 32).exit_code == 1
    assert run(*good, "--expect-count", 5).exit_code == 1


def test_a_policy_file_decides(bundle: Path, tmp_path: Path, alpha: Authority, root: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(f'format = "indelible-trust/1"\n[authorities.alpha]\nroots = ["{root.name}"]\n')
    assert run("bundle", bundle, "--trust", policy).exit_code == 0
    assert run("bundle", bundle, "--trust", policy, "--require", 2).exit_code == 3


def test_json_output_is_one_report_in_ascii(bundle: Path, root: Path) -> None:
    result = run("bundle", bundle, "--trust-root", root, "--json")
    assert result.output.isascii()
    assert json.loads(result.output)["verdict"] == "VERIFIED"


def test_names_in_a_bundle_cannot_move_the_cursor_or_turn_the_text_round(tmp_path: Path) -> None:
    chain = Chain(organisation={"id": "acme", "name": "Acme \x1b[2J\u202egnp.exe"})
    folder = write_directory(sealed(data_files(chain.open())), tmp_path)
    result = run("bundle", folder)
    assert result.exit_code == 3
    assert "\x1b" not in result.output
    assert "\u202e" not in result.output


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_a_name_in_letters_that_the_terminal_lacks_does_not_change_the_exit_code(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "demo-1.zip"
    chain = Chain(organisation={"id": "acme", "name": "Łódź ☃"}).open().close()
    path.write_bytes(zipped(sealed(data_files(chain))))
    done = subprocess.run(
        [*PROGRAM, "bundle", path], check=False, capture_output=True, env={"PYTHONIOENCODING": encoding}
    )
    assert (done.returncode, done.stderr) == (3, b"")
    assert b"INDETERMINATE" in done.stdout


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory in use is read from Linux's /proc")
def test_a_machine_without_enough_memory_does_not_make_the_evidence_wrong(bundle: Path) -> None:
    script = (
        "import resource, verifier.cli, verifier.verify\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))\n"
        "verifier.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script, "bundle", bundle], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"Error: This program failed and has decided nothing: MemoryError")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is Linux's /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_report_that_cannot_be_written_exits_2_with_a_reason(form: list[str], bundle: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*PROGRAM, "bundle", bundle, *form], check=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (2, b"Error: The report cannot be written: No space left on device\n")


def test_the_program_runs_as_a_process_and_lists_its_commands() -> None:
    done = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True)
    for name in ("bundle", "ots", "serve", "tezos", "token"):
        assert f"\n  {name} " in done.stdout
    assert "..." not in done.stdout.split("Commands:")[1], "a summary that is cut off tells half"


def test_the_command_line_starts_without_the_page_or_any_server_library() -> None:
    script = (
        "import sys, verifier.cli\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "wrong = loaded & {'flask', 'waitress', 'ledger', 'indelible', 'orjson'}\n"
        "assert not wrong, wrong\n"
        "assert 'verifier.web' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_serve_refuses_two_sources_at_once(tmp_path: Path) -> None:
    result = run("serve", "--bundles", tmp_path, "--gateway", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "not both" in result.output
