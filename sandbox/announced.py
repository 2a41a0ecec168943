"""Our own servers as processes: a module that prints one line of JSON when it is ready and ends with its input."""

import contextlib
import json
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


@contextlib.contextmanager
def announced(module: str, arguments: Sequence[str], directory: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run `python -m module` until the block ends; its process id and what it said when it was ready.

    Its log is in `directory`. Raises NotAnnouncedError when it says nothing within START_SECONDS.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log_path = directory / "log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  # our own module, with our own arguments
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    try:
        yield process.pid, json.loads(_first_line(process, log_path))
    finally:
        _stop(process)


def _first_line(process: "subprocess.Popen[bytes]", log: Path) -> bytes:
    deadline = time.monotonic() + START_SECONDS
    while process.stdout is not None and time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], 0.5)
        if readable:
            line = process.stdout.readline()
            if line:
                return line
            break
    raise NotAnnouncedError(log.read_bytes()[-_LOG_TAIL_BYTES:].decode("utf-8", "replace"))


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
