"""`indelible gateway`: serve verify links and integrators, relay, and look after keys and credentials.

What a command needs is imported when it runs: `indelible --help` lists them, and should not wait for a web server.
"""

import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from gateway.auth.commands import clear_refusals, credential, key
from gateway.webhooks.commands import webhook_key
from ledger.address import Address

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings


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


@click.group(invoke_without_command=True)
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
@click.pass_context
def gateway(
    context: click.Context, listen: Address, ledger: Address, ledger_ca: Path | None, trusted_proxy: str | None
) -> None:
    """Serve the bundles of verify links, and integrators, until SIGTERM or Ctrl-C.

    Integrators are served where INDELIBLE_GATEWAY_DSN is set; `indelible gateway serve` insists on it.
    """
    if context.invoked_subcommand is not None:
        return
    from gateway.app import create_app  # noqa: PLC0415 - see above
    from gateway.server import make_server, serve_until_stopped  # noqa: PLC0415 - see above
    from gateway.settings import GatewaySettings, serves_integrators  # noqa: PLC0415 - see above
    from ledger.client import BlockingLedgerClient, ClientTls  # noqa: PLC0415 - see above

    if serves_integrators():
        named = {"INDELIBLE_GATEWAY_LISTEN": str(listen), "INDELIBLE_LEDGER": str(ledger)}
        if ledger_ca is not None:
            named["INDELIBLE_LEDGER_CA"] = str(ledger_ca)
        if trusted_proxy is not None:
            named["INDELIBLE_GATEWAY_TRUSTED_PROXY"] = trusted_proxy
        _serve_integrators(GatewaySettings.from_environment({**os.environ, **named}))
        return
    try:
        tls = ClientTls(certificate_authority=ledger_ca.read_bytes()) if ledger_ca else None
    except ValueError as error:
        raise click.UsageError(f"--ledger-ca: {error}") from error
    try:
        client = BlockingLedgerClient(str(ledger), token=None, tls=tls)
    except ValueError as error:
        raise click.UsageError(f"--ledger: {error}; give --ledger-ca") from error
    with client, _bound(listen) as bound:
        server = make_server(create_app(client), bound[0], trusted_proxy)
        _stop_on_signals()
        _announce(listen, bound, "verify links")
        serve_until_stopped(server)


@gateway.command()
def serve() -> None:
    """Serve integrators and verify links until SIGTERM or Ctrl-C. Settings come from the environment."""
    from gateway.settings import GatewaySettings  # noqa: PLC0415 - see above

    _serve_integrators(GatewaySettings.from_environment())


@gateway.command()
def worker() -> None:
    """Relay what was decided, and send webhooks, until SIGTERM or Ctrl-C. Any number may run."""
    from gateway.settings import WorkerSettings  # noqa: PLC0415 - see above
    from gateway.worker import run_worker  # noqa: PLC0415 - see above
    from ledger.telemetry import configure_logging  # noqa: PLC0415 - see above

    settings = WorkerSettings.from_environment()
    configure_logging(settings.log)
    with clear_refusals():
        run_worker(settings)


gateway.add_command(credential)
gateway.add_command(key)
gateway.add_command(webhook_key)


def _serve_integrators(settings: "GatewaySettings") -> None:
    from gateway.serving import serve_integrators  # noqa: PLC0415 - see above
    from ledger.telemetry import configure_logging  # noqa: PLC0415 - see above

    configure_logging(settings.log)
    with clear_refusals(), _bound(settings.listen, settings.processes) as bound:
        what = "integrators and verify links"
        code = serve_integrators(settings, bound, lambda: _announce(settings.listen, bound, what))
    if code:
        raise SystemExit(code)


@contextmanager
def _bound(listen: Address, count: int = 1) -> Iterator[list[socket.socket]]:
    from gateway.server import bind  # noqa: PLC0415 - see above

    try:
        bound = bind(listen, count)
    except OSError as error:
        raise _CannotListen(f"cannot listen on {listen}: {error.strerror or error}") from error
    try:
        yield bound
    finally:
        for one in bound:
            one.close()


def _announce(listen: Address, bound: Sequence[socket.socket], what: str) -> None:
    click.echo(f"Serving {what} at http://{listen.host}:{bound[0].getsockname()[1]}", err=True)


def _stop_on_signals() -> None:
    """SIGTERM ends the server's loop like Ctrl-C does; waitress then finishes what is running."""
    if threading.current_thread() is not threading.main_thread():
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
