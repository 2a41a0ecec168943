"""`indelible gateway`."""

import signal
import threading
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

import click

from gateway.app import create_app
from gateway.server import make_server
from ledger.address import Address
from ledger.client import BlockingLedgerClient, ClientTls


class _CannotListen(click.ClickException):
    """Told in one line; to every command, an address that cannot be had is a setting that cannot be used."""

    exit_code = 2


class _AddressType(click.ParamType[Address]):
    """HOST:PORT."""

    name = "HOST:PORT"

    def convert(self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """The address a text stands for."""
        if isinstance(value, Address):
            return value
        try:
            return Address.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _ip_address(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """An IP address as it stands, in the spelling that connections have."""
    try:
        return str(ip_address(value)) if value else None
    except ValueError as error:
        raise click.BadParameter("give its IP address, for example 192.0.2.1") from error


@click.command()
@click.option(
    "--listen",
    type=_AddressType(),
    default="127.0.0.1:8080",
    envvar="INDELIBLE_GATEWAY_LISTEN",
    show_default=True,
    show_envvar=True,
    help="Where to serve HTTP. Encryption is a reverse proxy's task.",
)
@click.option(
    "--ledger",
    type=_AddressType(),
    default="127.0.0.1:50051",
    envvar="INDELIBLE_LEDGER",
    show_default=True,
    show_envvar=True,
    help="The ledger service.",
)
@click.option(
    "--ledger-ca",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="INDELIBLE_LEDGER_CA",
    show_envvar=True,
    help="PEM file of the certificate authority of a ledger that serves TLS.",
)
@click.option(
    "--trusted-proxy",
    metavar="ADDRESS",
    callback=_ip_address,
    envvar="INDELIBLE_GATEWAY_TRUSTED_PROXY",
    show_envvar=True,
    help="The reverse proxy's address: its X-Forwarded-For names the client whose requests are counted.",
)
def gateway(listen: Address, ledger: Address, ledger_ca: Path | None, trusted_proxy: str | None) -> None:
    """Serve the bundles of verify links until SIGTERM or Ctrl-C."""
    try:
        tls = ClientTls(certificate_authority=ledger_ca.read_bytes()) if ledger_ca else None
    except ValueError as error:
        raise click.UsageError(f"--ledger-ca: {error}") from error
    try:
        client = BlockingLedgerClient(str(ledger), token=None, tls=tls)
    except ValueError as error:
        raise click.UsageError(f"--ledger: {error}; give --ledger-ca") from error
    with client:
        try:
            server = make_server(create_app(client), listen, trusted_proxy)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise _CannotListen(f"cannot listen on {listen}: {reason}") from error
        _stop_on_signals()
        click.echo(f"Serving verify links at http://{listen.host}:{server.effective_port}", err=True)
        try:
            server.run()
        finally:
            server.close()


def _stop_on_signals() -> None:
    """SIGTERM ends the server's loop like Ctrl-C does; waitress then finishes what is running."""
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
