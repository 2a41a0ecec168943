"""The operator's command for the keys that webhook secrets are encrypted with."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import click
from cryptography.fernet import Fernet

from ledger.cli.main import UNUSABLE, Failure

MAX_KEYS = 8


@click.group("webhook-key")
def webhook_key() -> None:
    """Look after the keys that webhook secrets are encrypted with (INDELIBLE_GATEWAY_WEBHOOK_KEYS)."""


@webhook_key.command("add")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def add_key(file: Path) -> None:
    """Put a new key at the head of FILE, which is made where there is none; restart gateway and worker then.

    The new key encrypts; the ones below still open what they closed. A key may be taken out when every secret that was
    made under it has been replaced.
    """
    try:
        keys = file.read_text("ascii").split() if file.exists() else []
        for one in keys:
            Fernet(one.encode())
    except (OSError, ValueError) as error:
        raise Failure(f"{file} holds something else than keys: {error}", UNUSABLE) from error
    if len(keys) >= MAX_KEYS:
        raise Failure(f"{file} holds {MAX_KEYS} keys already; take one out that nothing needs any more", UNUSABLE)
    try:
        _write(file, [Fernet.generate_key().decode(), *keys])
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}", UNUSABLE) from error
    click.echo(f"{file} holds {len(keys) + 1} keys; the first one encrypts from the next start on.", err=True)


def _write(file: Path, keys: list[str]) -> None:
    """Whole or not at all: a half-written file would lock every secret away."""
    descriptor, name = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.writelines(f"{key}\n" for key in keys)
            opened.flush()
            os.fsync(opened.fileno())
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
