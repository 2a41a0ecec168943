"""The command line, run as callers and operators run it."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from ledger.cli.main import indelible
from sandbox.processes import find_program


def run(*arguments: str | Path, environment: Mapping[str, str] | None = None, stdin: bytes = b"") -> "Ran":
    """Run the command line within this process: starting Python anew for each would take most of the time."""
    clean = {name: None for name in os.environ if name.startswith(("INDELIBLE_", "OTEL_"))}
    result = CliRunner().invoke(
        indelible, list(map(str, arguments)), prog_name="indelible", env={**clean, **(environment or {})}, input=stdin
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return Ran(result.exit_code, result.stdout, result.stderr)


def run_process(*arguments: str, environment: Mapping[str, str] | None = None) -> "Ran":
    with start_process(*arguments, environment=environment) as process:
        return ended(process)


def start_process(*arguments: str, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("INDELIBLE_", "OTEL_"))}
    return subprocess.Popen(
        [find_program("indelible"), *arguments],
        env={**clean, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: "subprocess.Popen[bytes]") -> "Ran":
    """What became of a process, which is killed when it takes too long."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ran(process.returncode, out.decode(), err.decode())


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        assert "Traceback" not in out + err, err
        self.code = code
        self.out = out
        self.err = err

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)
