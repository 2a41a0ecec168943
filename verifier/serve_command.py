"""The `serve` command: the verify page on this machine. Its libraries are an extra, so they are imported late."""

from pathlib import Path

import click

from verifier.unusable import Unusable


@click.command()
@click.option(
    "--bundles",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of bundles to show.",
)
@click.option("--gateway", metavar="URL", help="Fetch the bundles behind verify links from this gateway.")
@click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="POLICY.toml",
    help="The trust policy that verdicts rest on.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port to listen on.")
@click.option(
    "--link-keys",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Keys (TOML) to check verify links with, for --bundles.",
)
@click.option(
    "--proxy-hops",
    type=click.IntRange(0, 9),
    default=0,
    show_default=True,
    help="How many reverse proxies of yours stand in front; each adds to X-Forwarded-For.",
)
def serve(  # noqa: PLR0913 - one parameter per option
    *,
    bundles: Path | None,
    gateway: str | None,
    trust: Path | None,
    host: str,
    port: int,
    link_keys: Path | None,
    proxy_hops: int,
) -> None:
    """Show verifications in a browser. Drop a bundle on the page, or open a verify link."""
    if bundles is not None and gateway is not None:
        raise click.UsageError("give --bundles or --gateway, not both")
    try:
        from verifier import web  # noqa: PLC0415 - see the module's docstring
    except ImportError as error:
        raise Unusable(f"the page needs the extra: pip install 'indelible-verifier[web]' ({error})") from error
    try:
        settings = web.WebSettings(
            host=host,
            port=port,
            bundles=bundles,
            gateway=gateway,
            trust=trust,
            link_keys=link_keys,
            proxy_hops=proxy_hops,
        )
        web.run(settings)
    except OSError as error:
        failed = f"{error.filename} cannot be read" if error.filename else f"cannot listen on {host}, port {port}"
        raise Unusable(f"{failed}: {error.strerror}") from error
    except ValueError as error:
        raise Unusable(str(error)) from error
