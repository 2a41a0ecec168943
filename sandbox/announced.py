"""Our own servers as processes: a module that prints one line of JSON when it is ready and ends with its input."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

START_SECONDS = 60.0  # a busy machine may take long to import what a module needs
STOP_SECONDS = 5.0
_LOG_TAIL_BYTES = 2000


class NotAnnouncedError(RuntimeError):
    """The process did not come up; the text is the end of its log."""


class Announced:
    """`python -m module` as a process, with its log in `directory`. It starts at once; `wait_ready` must follow."""

    def __init__(self, module: str, arguments: Sequence[str], directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._log = directory / "log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own module, with our own arguments
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,  # Ctrl-C is for whoever started it, who then ends it in order
            )

    @property
    def process_id(self) -> int:
        """The process."""
        return self._process.pid

    def wait_ready(self) -> dict[str, Any]:
        """What it says when it is ready. Raises NotAnnouncedError when it says nothing within START_SECONDS."""
        ready: dict[str, Any] = json.loads(self._first_line())
        return ready

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _first_line(self) -> bytes:
        deadline = time.monotonic() + START_SECONDS
        while self._process.stdout is not None and time.monotonic() < deadline:
            readable, _, _ = select.select([self._process.stdout], [], [], 0.5)
            if readable:
                line = self._process.stdout.readline()
                if line:
                    return line
                break
        raise NotAnnouncedError(self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace"))


def has_ended(process_id: int) -> bool:
    """Whether our child has ended, without taking its exit code from whoever waits for it."""
    return os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


@contextlib.contextmanager
def announced(module: str, arguments: Sequence[str], directory: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run `python -m module` until the block ends; its process id and what it said when it was ready.

    Its log is in `directory`. Raises NotAnnouncedError when it says nothing within START_SECONDS.
    """
    process = Announced(module, arguments, directory)
    try:
        yield process.process_id, process.wait_ready()
    finally:
        process.stop()
