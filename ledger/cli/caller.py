"""What the commands that call a running ledger share: how to reach it, and how they write times."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from ledger.client import BlockingLedgerClient, ClientTls
from ledger.settings import CallerSettings
from ledger.settings_reader import SettingsError

# Waiting for an unreachable ledger longer than this helps nobody at a terminal.
TIMEOUT_SECONDS = 5.0

chain_id_argument = click.argument("chain_id", metavar="CHAIN")


@contextmanager
def reach_ledger() -> Iterator[BlockingLedgerClient]:
    """The ledger that the environment names."""
    caller = CallerSettings.from_environment()
    tls = None
    if caller.certificate_authority is not None:
        try:
            tls = ClientTls(certificate_authority=caller.certificate_authority.read_bytes())
        except ValueError as error:
            raise SettingsError((f"INDELIBLE_LEDGER_CA: {error}",)) from error
    try:
        client = BlockingLedgerClient(caller.address, token=caller.token, tls=tls, timeout_seconds=TIMEOUT_SECONDS)
    except ValueError as error:
        raise SettingsError((f"INDELIBLE_LEDGER: {error}; set INDELIBLE_LEDGER_CA",)) from error
    with client:
        yield client


def time_text(moment: datetime | None) -> str | None:
    """As bundles and reports write times."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z") if moment else None
