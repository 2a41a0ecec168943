import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from ledger.anchoring.authorities import load_authorities
from ledger.anchoring.rfc3161.request import build_request
from sandbox.authorities import Authorities, Authority, AuthorityError, Fault, start_authorities
from verifier.policy import load_policy

DIGEST = hashlib.sha256(b"what happened").digest()


def ask(authority: Authority) -> tuple[bytes, bytes]:
    request = build_request(DIGEST)
    headers = {"Content-Type": "application/timestamp-query"}
    answer = httpx.post(authority.url, content=request, headers=headers, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/timestamp-reply"
    return request, answer.content


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
@pytest.mark.parametrize("which", ["one", "two"])
def test_openssl_accepts_the_answer_of_each_authority(authorities: Authorities, which: str, tmp_path: Path) -> None:
    authority = getattr(authorities, which)
    request, response = ask(authority)
    (tmp_path / "tsq").write_bytes(request)
    (tmp_path / "tsr").write_bytes(response)
    question = ["-queryfile", str(tmp_path / "tsq"), "-in", str(tmp_path / "tsr")]
    verified = subprocess.run(
        ["openssl", "ts", "-verify", *question, "-CAfile", str(authority.root_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Verification: OK" in verified.stdout, verified.stderr


def test_the_two_authorities_have_different_roots(authorities: Authorities) -> None:
    assert authorities.one.root_pem != authorities.two.root_pem


def test_the_trust_policy_and_the_authorities_file_are_what_verifier_and_ledger_read(
    authorities: Authorities, tmp_path: Path
) -> None:
    authorities.write_trust_policy(tmp_path / "trust.toml")
    authorities.write_configuration(tmp_path / "authorities.toml")
    trusted = load_policy(tmp_path / "trust.toml").authorities
    asked = load_authorities(tmp_path / "authorities.toml").configurations
    assert set(trusted) == {one.name for one in asked} == {"sandbox-one", "sandbox-two"}
    for one in asked:
        assert trusted[one.name].roots == one.roots
        assert trusted[one.name].policies == one.policies


def test_keys_and_addresses_survive_a_restart(tmp_path: Path) -> None:
    with start_authorities(tmp_path) as first:
        before = [(authority.root_pem, authority.url) for authority in first]
    with start_authorities(tmp_path) as second:
        assert [(authority.root_pem, authority.url) for authority in second] == before
        for authority in second:
            ask(authority)


def test_an_authority_whose_port_was_taken_comes_back_on_another_with_the_same_root(tmp_path: Path) -> None:
    with start_authorities(tmp_path) as first:
        root, port = first.two.root_pem, int((first.two.directory / "port").read_text())
    with socket.create_server(("127.0.0.1", port)), start_authorities(tmp_path) as second:
        assert second.two.root_pem == root
        assert f":{port}/" not in second.two.url
        ask(second.two)


def test_a_stopped_authority_refuses_connections(tmp_path: Path) -> None:
    with start_authorities(tmp_path) as running:
        running.two.stop()
        with pytest.raises(httpx.ConnectError):
            ask(running.two)


def test_authorities_end_when_whoever_started_them_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from sandbox.authorities import start_authorities\n"
        "with start_authorities(Path(sys.argv[1])) as running:\n"
        "    print(running.one.process_id, running.two.process_id, flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(word) for word in parent.stdout.readline().split()]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while any(is_alive(child) for child in children):
        assert time.monotonic() < deadline, "an authority outlived its parent"
        time.sleep(0.05)


def test_an_authority_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "sandbox-two").mkdir()
    (tmp_path / "sandbox-two" / "root.key.pem").write_text("not a key")
    with (
        pytest.raises(AuthorityError, match=r"sandbox-two did not start(.|\n)*ValueError"),
        start_authorities(tmp_path),
    ):
        pass


def test_other_peoples_code_does_not_misbehave_on_command(authorities: Authorities) -> None:
    with pytest.raises(ValueError, match="use sandbox-two"):
        authorities.one.misbehave(Fault.REJECTED)


@pytest.mark.parametrize("body", [b"", b"\x30\x03\x02\x01", b"x" * 100_000], ids=["empty", "cut", "huge"])
@pytest.mark.parametrize("which", ["one", "two"])
def test_an_unreadable_request_gets_no_time_stamp_and_ends_nothing(
    authorities: Authorities, which: str, body: bytes
) -> None:
    authority = getattr(authorities, which)
    headers = {"Content-Type": "application/timestamp-query"}
    answer = httpx.post(authority.url, content=body, headers=headers, timeout=60)
    assert answer.status_code != 200 or len(answer.content) < 200
    ask(authority)


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # A zombie that its new parent has not yet collected is not alive.
    return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
