"""How the sandbox's commands end: by Ctrl-C, a signal or an error, and always with nothing left running."""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from ledger.client import ClientError
from sandbox.authorities import AuthorityError
from sandbox.calendar import CalendarError
from sandbox.processes import StartError
from sandbox.stack import PartEndedError
from sandbox.tezos import TezosError

INTERRUPTED = 130  # what shells report for a program ended by Ctrl-C


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Make SIGTERM and a closed terminal end the block as Ctrl-C does: everything is stopped on the way out."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what can go wrong with the machine into one message and exit code 1, and Ctrl-C into exit code 130."""
    try:
        yield
    except (StartError, AuthorityError, TezosError, CalendarError, PartEndedError, ClientError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise click.ClickException(told) from error
    except KeyboardInterrupt:
        click.echo("Interrupted. Nothing is left running.", err=True)
        sys.exit(INTERRUPTED)


def temporary_folder(prefix: str) -> Path:
    """A new folder whose name begins with `prefix`."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o711)  # run by root, PostgreSQL is another user, who must pass through
    return folder
