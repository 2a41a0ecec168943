import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.processes import Process, StartError, accepts_connections, as_typed, free_port

FOR_EVER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def until_gone(pid: int, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_running(pid)


def until_up(process: Process) -> Process:
    process.wait_ready(lambda: "up" in process.log.read_text(), seconds=60)
    return process


def test_a_child_that_ends_early_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "print('first'); print('the disk is on fire'); raise SystemExit(7)"]
    process = Process("thing", argv, log=tmp_path / "log")
    with pytest.raises(StartError, match=r"(?s)thing ended with exit code 7.*the disk is on fire"):
        process.wait_ready(lambda: False, seconds=60)


def test_a_child_that_never_becomes_ready_is_stopped_and_named(tmp_path: Path) -> None:
    process = until_up(Process("thing", FOR_EVER, log=tmp_path / "log"))
    with pytest.raises(StartError, match=r"thing was not ready after 0\.1 seconds"):
        process.wait_ready(lambda: False, seconds=0.1)
    assert process.exit_code is not None


def test_a_missing_program_is_an_error_that_names_it(tmp_path: Path) -> None:
    process = Process("thing", ["/no/such/program"], log=tmp_path / "log")
    with pytest.raises(StartError, match="/no/such/program"):
        process.wait_ready(lambda: False, seconds=60)


def test_a_child_that_ignores_the_stop_signal_is_killed(tmp_path: Path) -> None:
    process = until_up(Process("deaf", DEAF, log=tmp_path / "log", stop_seconds=0.2))
    process.stop()
    assert process.exit_code == -signal.SIGKILL


def test_stopping_twice_does_no_harm(tmp_path: Path) -> None:
    process = until_up(Process("thing", FOR_EVER, log=tmp_path / "log"))
    process.stop()
    process.stop()
    assert process.exit_code == -signal.SIGTERM


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can tie a child's life to its parent's")
def test_a_child_dies_when_its_parent_is_killed_without_warning(tmp_path: Path) -> None:
    parent_source = (
        "import sys, time; from pathlib import Path; from sandbox.processes import Process\n"
        f"child = Process('child', {FOR_EVER!r}, log=Path({str(tmp_path / 'log')!r}))\n"
        "child.wait_ready(lambda: 'up' in child.log.read_text(), seconds=60)\n"
        "print(child.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent_source], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    try:
        assert until_gone(child)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def test_ctrl_c_in_the_terminal_does_not_reach_a_child_directly(tmp_path: Path) -> None:
    process = until_up(Process("thing", FOR_EVER, log=tmp_path / "log"))
    try:
        assert os.getpgid(process.pid) != os.getpgid(0)
    finally:
        process.stop()


def test_a_free_port_can_be_listened_on() -> None:
    assert not accepts_connections(free_port())


def test_a_program_is_named_as_it_must_be_typed_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    programs = Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert as_typed("indelible") == str(programs / "indelible")
    monkeypatch.chdir(programs.parent)
    assert as_typed("indelible") == f"{programs.name}/indelible"
    monkeypatch.setenv("PATH", str(programs))
    assert as_typed("indelible") == "indelible"
