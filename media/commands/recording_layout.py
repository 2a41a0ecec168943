"""`indelible recording-layout`: serve the page that LiveKit films a room with."""

import signal
from types import FrameType

import click
from waitress.server import create_server  # type: ignore[import-untyped]  # it ships no types

from ledger.address import Address
from ledger.cli.main import UNUSABLE, Failure
from media.recordings.layout_page import LayoutSettings, layout_app

# One browser of one egress fetches five small files, once.
_THREADS = 4
_MOST_CONNECTIONS = 100
_SILENCE_SECONDS = 30
_HEADER_BYTES = 16 * 1024


@click.command("recording-layout")
@click.option(
    "--listen",
    default="127.0.0.1:8083",
    envvar="INDELIBLE_LAYOUT_LISTEN",
    show_default=True,
    show_envvar=True,
    metavar="HOST:PORT",
    help="Where to serve HTTP. Encryption is a reverse proxy's task.",
)
@click.option(
    "--client",
    required=True,
    envvar="INDELIBLE_LAYOUT_CLIENT",
    show_envvar=True,
    metavar="URL",
    help="LiveKit's client library, livekit-client.umd.js, where you host it.",
)
@click.option(
    "--livekit",
    required=True,
    multiple=True,
    envvar="INDELIBLE_LAYOUT_LIVEKIT",
    show_envvar=True,
    metavar="URL",
    help="The LiveKit server as its egress calls it (its ws_url). May be given more than once.",
)
def recording_layout(listen: str, client: str, livekit: tuple[str, ...]) -> None:
    """Serve the page that LiveKit's egress films, until SIGTERM or Ctrl-C.

    It shows who consented, each in their tile. Name its address to the evidence service in
    INDELIBLE_LIVEKIT_LAYOUT_URL; LiveKit's egress must be able to reach it.
    """
    try:
        address = Address.parse(listen)
        settings = LayoutSettings(client=client, servers=livekit)
        server = create_server(
            layout_app(settings),
            host=address.host,
            port=address.port,
            threads=_THREADS,
            connection_limit=_MOST_CONNECTIONS,
            channel_timeout=_SILENCE_SECONDS,
            max_request_header_size=_HEADER_BYTES,
            max_request_body_size=0,
            asyncore_use_poll=True,  # select() cannot watch descriptors above 1,023
            ident=None,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise Failure(f"cannot listen on {listen}: {error.strerror}", UNUSABLE) from error
    signal.signal(signal.SIGTERM, _stop)
    click.echo(f"Serving the layout page at http://{address.host}:{server.effective_port}", err=True)
    try:
        server.run()
    finally:
        server.close()


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
