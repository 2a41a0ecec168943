"""`indelible up`, as a developer uses it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from sandbox.processes import accepts_connections, free_port

INDELIBLE = str(Path(sys.executable).with_name("indelible"))

pytestmark = pytest.mark.timeout(600)  # the first test waits until everything has started


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    process: subprocess.Popen[str]
    directory: Path
    ports: dict[str, int]
    said: str


@pytest.fixture(scope="module")
def running(sandbox_directory: Path) -> Iterator[Running]:
    directory = sandbox_directory / "up"
    ports = {name: free_port() for name in ("ledger", "gateway", "page", "metrics", "evidence")}
    options = [text for name, port in ports.items() for text in (f"--{name}-port", str(port))]
    with subprocess.Popen(
        [INDELIBLE, "up", "--dir", str(directory), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        while "/api/v1/sessions" not in said.partition("chain open my-first-chain")[2]:
            line = process.stdout.readline()
            assert line, said
            said += line
        try:
            yield Running(process=process, directory=directory, ports=ports, said=said)
        finally:
            process.kill()


def mint(running: Running) -> str:
    minting = [sys.executable, "-c", "from sandbox.cli import token; token()", "--dir", str(running.directory)]
    return subprocess.run(minting, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def use(running: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Follow the instructions that `up` printed, in another terminal."""
    environment = {
        "INDELIBLE_LEDGER": f"127.0.0.1:{running.ports['ledger']}",
        "INDELIBLE_EVIDENCE": f"127.0.0.1:{running.ports['evidence']}",
        "INDELIBLE_TOKEN": mint(running),
    }
    command, everything = [INDELIBLE, *arguments], {**os.environ, **environment}
    return subprocess.run(command, env=everything, capture_output=True, text=True, timeout=60, check=False)


def pid_of(arguments: str) -> int:
    """The process of these arguments: the first one, where it has made others of its kind."""
    found: dict[int, int] = {}
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            if directory.name.isdigit() and arguments.encode() in (directory / "cmdline").read_bytes():
                status = (directory / "stat").read_text()
                found[int(directory.name)] = int(status.rpartition(")")[2].split()[1])
    [pid] = [one for one, parent in found.items() if parent not in found]
    return pid


def test_everything_can_be_used_as_it_says(running: Running) -> None:
    opened = use(running, "chain", "open", "my-first-chain")
    assert opened.returncode == 0, opened.stderr
    assert "my-first-chain" in use(running, "chain", "list").stdout
    for name, path in (("gateway", "/healthz"), ("page", "/healthz"), ("metrics", "/metrics")):
        assert httpx.get(f"http://127.0.0.1:{running.ports[name]}{path}", timeout=10).status_code == 200
    [sessions] = re.findall(r"curl .*(http://\S+/api/v1/sessions)\n", running.said)
    answer = httpx.get(sessions, headers={"Authorization": f"Bearer {mint(running)}"}, timeout=30)
    assert [one["session_id"] for one in answer.json()["items"]] == ["my-first-chain"]


def test_the_clip_it_suggests_is_preserved(running: Running) -> None:
    [suggested] = re.findall(r"(clip request --source .*)\n", running.said)
    asked = use(running, *suggested.split(), "--json")
    assert asked.returncode == 0, asked.stderr
    clip_id = json.loads(asked.stdout)["clip_id"]
    deadline = time.monotonic() + 180
    while (clip := json.loads(use(running, "clip", "get", clip_id, "--json").stdout))["state"] != "preserved":
        assert clip["state"] != "failed", clip
        assert time.monotonic() < deadline, clip
        time.sleep(0.5)
    assert clip["gaps"] == []
    for asked_for, shown in (("asked_from", "actual_from"), ("asked_to", "actual_to")):
        difference = datetime.fromisoformat(clip[shown]) - datetime.fromisoformat(clip[asked_for])
        assert abs(difference) <= timedelta(seconds=0.1), "more than the next picture"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found in /proc")
def test_a_part_that_dies_ends_the_rest_with_its_name_and_a_failure(running: Running) -> None:
    [gateway] = re.findall(r"gateway .*\n", running.said)[:1]
    assert str(running.ports["gateway"]) in gateway
    os.kill(pid_of(f"gateway\0--listen\x00127.0.0.1:{running.ports['gateway']}"), signal.SIGKILL)
    assert running.process.stdout is not None
    said = running.process.stdout.read()
    assert running.process.wait(60) == 1
    assert "gateway ended by itself (exit code -9)" in " ".join(said.split())
    assert not any(accepts_connections(port) for port in running.ports.values())
