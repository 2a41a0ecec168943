"""Starts a worker process: as a copy of this one where that is safe, otherwise as a fresh interpreter.

A copy is there at once, while an interpreter takes as long to start as it takes to check thirty thousand events. But a
copy has only the thread that asked for it, and what other threads held locked stays locked in it for ever. So a process
is copied only when the system says that it has a single thread: Python does not know of those a library started.
"""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

try:
    from fcntl import F_SETPIPE_SZ, fcntl
except ImportError:  # only on Linux can a pipe's size be chosen
    fcntl = None  # type: ignore[assignment]  # absent, and looked for before it is used

_START = "import sys; sys.path[:] = sys.argv[1].split(sys.argv[2]); from verifier.workers import serve; serve()"
_OPTIONS = ("-I", "-S", "-B")
"""A worker finds modules where this process does: it needs nothing of what an interpreter looks for at its start."""

_ANSWER_BYTES = 1024 * 1024
"""Answers a worker can give without waiting until they are read. Ordinary users may ask for no more."""

_THREADS = Path("/proc/self/task")
_FIRST_OTHER_DESCRIPTOR = 3


class Process(Protocol):
    """A worker that was started: both ends of what it hears and says are this process's to close."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def kill(self) -> None:
        """End it now."""

    def wait(self) -> int:
        """Wait until it has ended."""


def start_process(serve: Callable[[IO[bytes], IO[bytes]], None]) -> Process:
    """Start a process that runs `serve` on what it hears and says; raises `OSError` when the system does not let us."""
    process = _start(serve)
    if fcntl is not None and process.stdout is not None:
        # It is only slower where the system refuses.
        with suppress(OSError):
            fcntl(process.stdout.fileno(), F_SETPIPE_SZ, _ANSWER_BYTES)
    return process


def _start(serve: Callable[[IO[bytes], IO[bytes]], None]) -> Process:
    if hasattr(os, "fork") and _has_one_thread():
        return _Copy(serve)
    # Where this package lies comes first: an editable installation finds it by other means than the path.
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
        [sys.executable, *_OPTIONS, "-c", _START, path, os.pathsep],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches this process only, and this one ends the others.
    )


def _has_one_thread() -> bool:
    try:
        return sum(1 for _ in _THREADS.iterdir()) == 1
    except OSError:
        return False


class _Copy:
    """A forked process, with the part of `subprocess.Popen` that is needed here."""

    def __init__(self, serve: Callable[[IO[bytes], IO[bytes]], None]) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            for descriptor in (theirs_in, ours_out, ours_in, theirs_out):
                os.close(descriptor)
            raise
        if not self._pid:
            _run(serve, theirs_in, theirs_out)
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin: IO[bytes] | None = open(ours_out, "wb")  # noqa: PTH123, SIM115 - a descriptor; the pool closes it
        self.stdout: IO[bytes] | None = open(ours_in, "rb")  # noqa: PTH123, SIM115 - as above
        self._ended = False

    def kill(self) -> None:
        """End it now."""
        # It may have ended by itself, and be waited for by another thread.
        if not self._ended:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it has ended."""
        # Its end may have been noted already by a caller who waits for whatever process ends.
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._ended = True
        return 0


def _run(serve: Callable[[IO[bytes], IO[bytes]], None], hears: int, says: int) -> None:
    """Be the worker, and end without anything that this process had planned for its own end."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        os.dup2(hears, 0)
        os.dup2(says, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        # Not to keep open what others wait to see closed.
        os.closerange(_FIRST_OTHER_DESCRIPTOR, os.sysconf("SC_OPEN_MAX"))
        # The memory that is shared with the process copied stays shared if nothing looks through it for garbage.
        gc.freeze()
        with open(0, "rb", closefd=False) as hearing, open(1, "wb", closefd=False) as saying:
            serve(hearing, saying)
    finally:
        os._exit(0)
