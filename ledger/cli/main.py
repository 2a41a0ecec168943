"""`indelible` and what its exit codes mean.

0  done
1  the ledger refused, or a check found something wrong
2  wrong usage, or settings that cannot be used
3  the ledger or its database cannot be reached
"""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

import click

from ledger.client.errors import ClientError
from ledger.errors import LedgerError, Reason
from ledger.settings_reader import SettingsError

REFUSED = 1
UNUSABLE = 2
UNREACHABLE = 3

# Other packages add commands here, so that this one need not import them.
ENTRY_POINTS = "indelible.commands"

# Modules are imported when their command is used: a server's libraries take a second that `--help` should not.
_COMMANDS = {
    "anchors": "ledger.cli.links:anchors",
    "chain": "ledger.cli.chains:chain",
    "keys": "ledger.cli.operate:keys",
    "migrate": "ledger.cli.install:migrate",
    "organisation": "ledger.cli.install:organisation",
    "serve": "ledger.cli.operate:serve",
    "settings": "ledger.cli.operate:settings",
    "verify-link": "ledger.cli.links:verify_link",
}


class Failure(click.ClickException):
    """An error that is told in one line, with an exit code of its own."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it a class variable, and reads it by instance


@contextmanager
def clear_failures() -> Iterator[None]:
    """What may be expected to go wrong becomes a Failure: one clear line and an exit code."""
    try:
        yield
    except SettingsError as error:
        raise Failure("\n".join(("these settings cannot be used:", *error.problems)), UNUSABLE) from error
    except LedgerError as error:
        code = UNREACHABLE if error.reason is Reason.DATABASE_UNAVAILABLE else REFUSED
        raise Failure(f"{error.message} [{error.reason}]", code) from error
    except ClientError as error:
        code = UNREACHABLE if error.unreachable else REFUSED
        raise Failure(f"{error.message} [{error.reason}]", code) from error
    except _database_errors("OperationalError") as error:
        raise Failure(f"the database cannot be reached: {_first_line(error)}", UNREACHABLE) from error
    except _database_errors("Error") as error:
        raise Failure(f"the database refused: {_first_line(error)}", REFUSED) from error


class Commands(click.Group):
    """The product's own commands and those other packages offer, loaded when used."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every command's name."""
        return sorted({*_COMMANDS, *entry_points(group=ENTRY_POINTS).names})

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """The command called `name`; None when there is none."""
        if name in _COMMANDS:
            module, _, attribute = _COMMANDS[name].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        for point in entry_points(group=ENTRY_POINTS, name=name):
            try:
                offered: click.Command = point.load()
            except ImportError as error:
                return _unavailable(name, error)
            return offered
        return None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; expected errors become one clear line and an exit code."""
        with clear_failures():
            return super().invoke(ctx)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="indelible", prog_name="indelible")
def indelible() -> None:
    """Indelible keeps evidence that cannot be changed unnoticed.

    Settings come from environment variables that begin with INDELIBLE_; `indelible settings check` explains them.

    Exit codes: 0 done; 1 refused, or a check found something wrong; 2 wrong usage or settings; 3 not reachable.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    indelible.main(args=arguments, prog_name="indelible")


def _unavailable(name: str, error: ImportError) -> click.Command:
    """Stands in for a command whose package is not installed completely."""

    def explain(_arguments: tuple[str, ...]) -> None:
        raise Failure(f"`indelible {name}` needs a part that is not installed: {error}", UNUSABLE)

    return click.Command(
        name,
        callback=explain,
        params=[click.Argument(["_arguments"], nargs=-1, type=click.UNPROCESSED)],
        short_help="(not installed completely)",
    )


def _database_errors(name: str) -> tuple[type[Exception], ...]:
    """The client's errors of that name. Only commands that use the database wait for it to load."""
    psycopg = sys.modules.get("psycopg")
    return (getattr(psycopg, name),) if psycopg else ()


def _first_line(error: BaseException) -> str:
    """What PostgreSQL's client says first; the rest repeats it for each address."""
    return next(iter(str(error).splitlines()), type(error).__name__)
