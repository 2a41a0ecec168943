"""The command `indelible`."""

from ledger.cli.main import main

__all__ = ["main"]
