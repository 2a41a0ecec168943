"""How the commands print their reports: in the letters that the terminal has, and with no exit code but their own."""

import io
import os
import sys

import click

from verifier.unusable import Unusable


def print_report(text: str) -> None:
    """Print a whole report, without its last line end; raises `Unusable` where it cannot be written.

    Exit code 1 says that evidence is wrong. A terminal without a letter of some name, or a full disk, must not say so.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        click.echo(text)
    except OSError as error:
        # What could not be written would be tried again when the program ends, and change its exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Unusable(f"The report cannot be written: {error.strerror}") from error
