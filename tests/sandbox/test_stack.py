import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import click
import pytest
from click.testing import CliRunner
from joserfc import jwt
from joserfc.jwk import KeySet

from sandbox.cli import demo, token, up
from sandbox.evidence import why_no_clips
from sandbox.issuer import Issuer
from sandbox.outside import ExtraAuthority, OutsideOptions
from sandbox.processes import StartError, accepts_connections, free_port
from sandbox.services import Ports
from sandbox.stack import Part, PartEndedError, running_stack
from verifier.policy import load_policy


def test_a_subset_runs_under_one_directory_and_is_gone_afterwards(sandbox_directory: Path) -> None:
    ready = []
    with running_stack(
        sandbox_directory / "subset",
        parts={Part.NATS, Part.AUTHORITIES},
        announce=lambda part, _address, _seconds: ready.append(part),
    ) as stack:
        assert ready == [Part.NATS, Part.AUTHORITIES]
        stack.check()
        assert accepts_connections(stack.nats.port)
        with pytest.raises(StartError, match="without PostgreSQL"):
            stack.add_organisation("acme", "Acme Ltd")
    assert not accepts_connections(stack.nats.port)


def test_a_part_that_dies_is_named_with_the_end_of_its_log(sandbox_directory: Path) -> None:
    with running_stack(sandbox_directory / "dying", parts={Part.NATS}) as stack:
        stack.nats.kill()
        with pytest.raises(PartEndedError, match=r"(?s)NATS JetStream ended by itself \(exit code -9\).*is ready"):
            stack.watch()


def test_an_authority_that_dies_is_named(sandbox_directory: Path) -> None:
    with running_stack(sandbox_directory / "dying-authority", parts={Part.AUTHORITIES}) as stack:
        stack.authorities.two.stop()
        with pytest.raises(PartEndedError, match="sandbox-two ended by itself"):
            stack.check()


def test_livekit_runs_with_a_door_to_move_its_rooms_and_is_named_when_it_dies(sandbox_directory: Path) -> None:
    with running_stack(sandbox_directory / "livekit", parts={Part.LIVEKIT}) as stack:
        assert stack.livekit is not None
        stack.livekit.join("example:room", "operator")
        assert stack.livekit.status()["rooms"] == {"example:room": {"operator": {}}}
        stack.check()
        os.kill(stack.livekit.process_id, signal.SIGKILL)
        with pytest.raises(PartEndedError, match="LiveKit ended by itself"):
            stack.watch()


def test_an_error_in_the_middle_stops_what_was_started(sandbox_directory: Path) -> None:
    directory = sandbox_directory / "broken"
    (directory / "authorities" / "sandbox-two").mkdir(parents=True)
    (directory / "authorities" / "sandbox-two" / "root.pem").mkdir()
    ports = []
    with (
        pytest.raises(Exception, match=r"root\.pem"),
        running_stack(
            directory,
            parts={Part.NATS, Part.AUTHORITIES},
            announce=lambda _part, address, _seconds: ports.append(int(address.rpartition(":")[2])),
        ),
    ):
        pytest.fail("the stack must not start")
    assert len(ports) == 1
    assert not accepts_connections(ports[0])


def test_an_extra_authority_is_told_to_the_ledger_and_to_the_auditor(sandbox_directory: Path) -> None:
    directory = sandbox_directory / "extra"
    with running_stack(directory, parts={Part.AUTHORITIES}) as stack:
        root = stack.authorities.one.root_pem.decode()
    configuration = '[authorities.extra]\nurl = "http://127.0.0.1:1/"\nroots = []\n'
    extra = ExtraAuthority(name="extra", root_pem=root, configuration=configuration)
    with running_stack(directory, parts={Part.AUTHORITIES}, outside=OutsideOptions(extra_authority=extra)) as stack:
        assert configuration in stack.files.authorities.read_text()
        policy = load_policy(stack.trust_policy)
    assert set(policy.authorities) == {"sandbox-one", "sandbox-two", "extra"}
    assert policy.authorities["extra"].roots == policy.authorities["sandbox-one"].roots


def test_a_machine_that_cannot_encode_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not why_no_clips()
    monkeypatch.setattr("av.codecs_available", av.codecs_available - {"libx265"})
    assert why_no_clips() == "clips need a PyAV that can encode; this one lacks libx265"


def test_a_taken_port_is_refused_before_anything_starts() -> None:
    taken = free_port()
    with subprocess.Popen([sys.executable, "-m", "http.server", str(taken), "--bind", "127.0.0.1"]) as other:
        try:
            while not accepts_connections(taken):
                assert other.poll() is None
            with pytest.raises(StartError, match=f"port {taken} is taken .* --page-port"):
                Ports(page=taken).require_free()
        finally:
            other.kill()


def test_one_port_cannot_serve_two() -> None:
    with pytest.raises(StartError, match="port 4711 is wanted twice; choose another one with --page-port"):
        Ports(gateway=4711, page=4711).require_free()


@pytest.mark.parametrize("command", [demo, up, token])
def test_every_command_explains_itself(command: click.Command) -> None:
    explained = CliRunner().invoke(command, ["--help"])
    assert explained.exit_code == 0
    assert "--dir" in explained.output


def test_a_token_can_only_be_minted_by_a_sandbox(tmp_path: Path) -> None:
    refused = CliRunner().invoke(token, ["--dir", str(tmp_path)])
    assert refused.exit_code == 2
    assert "is not the directory of a sandbox" in " ".join(refused.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_minted_token_carries_the_scopes_that_were_asked_for(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path / "issuer")
    options = ["--dir", str(tmp_path), "--org", "acme", "--scope", "ledger:read", "--scope", "ledger:export"]
    minted = CliRunner().invoke(token, options)
    published = KeySet.import_key_set(json.loads(issuer.jwks_file.read_text()))
    claims = jwt.decode(minted.output.strip(), published, algorithms=["Ed25519"]).claims
    assert (claims["org"], claims["scope"]) == ("acme", "ledger:read ledger:export")
