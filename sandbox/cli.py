"""The commands the sandbox adds to `indelible`: `demo`, `up` and `token`.

What they need is imported when they run: `indelible --help` lists them, and should not wait for a server's libraries.
"""

from pathlib import Path

import click


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep all data here, and use it again next time. Without it, everything is deleted at the end.",
)
@click.option("--ledger-port", type=click.IntRange(1, 65535), default=50051, show_default=True)
@click.option("--gateway-port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.option("--page-port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--metrics-port", type=click.IntRange(1, 65535), default=9464, show_default=True)
@click.option("--evidence-port", type=click.IntRange(1, 65535), default=50052, show_default=True)
def up(directory: Path | None, **ports: int) -> None:
    """Run all of Indelible on this machine until Ctrl-C. For trying it out and for building against it."""
    from sandbox.services import Ports  # noqa: PLC0415 - see above
    from sandbox.up import run_up  # noqa: PLC0415 - see above

    run_up(directory, Ports(**{name.removesuffix("_port"): port for name, port in ports.items()}))


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running at the end, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Tell the story on stderr; the last line on stdout is JSON.")
@click.option(
    "--authority",
    type=click.Choice(["freetsa"]),
    help="Ask this real authority as well as the two local ones. Needs the internet.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to put the bundle and the trust policy.  [default: a new folder among the temporary files]",
)
def demo(*, keep: bool, as_json: bool, authority: str | None, directory: Path | None) -> None:
    """Show the whole product in one story.

    Record a session, preserve a camera's clip, seal, have it time-stamped, export, verify offline, catch forgeries.
    """
    from sandbox.demo_command import show_demo  # noqa: PLC0415 - see above

    show_demo(directory, keep=keep, as_json=as_json, authority=authority)


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    required=True,
    help="The directory of a running `indelible up` or `indelible demo --keep`.",
)
@click.option("--org", "organisation_id", default="example", show_default=True)
@click.option("--scope", "scopes", multiple=True, help="May be repeated.  [default: every scope]")
@click.option(
    "--role", "roles", multiple=True, default=("org_admin",), show_default=True, help="At the gateway. May be repeated."
)
@click.option("--subject", default="developer", show_default=True, help="Who the token speaks for.")
@click.option("--seconds", type=click.IntRange(1), default=3600, show_default=True, help="How long it lasts.")
def token(  # noqa: PLR0913, PLR0917 - click's calling style
    directory: Path, organisation_id: str, scopes: tuple[str, ...], roles: tuple[str, ...], subject: str, seconds: int
) -> None:
    """Print a bearer token of the sandbox's own issuer. Only a sandbox trusts it."""
    from sandbox.issuer import EVERY_SCOPE, Issuer  # noqa: PLC0415 - see above

    if not (directory / "issuer").is_dir():
        raise click.UsageError(f"{directory} is not the directory of a sandbox: it holds no token issuer")
    issuer = Issuer(directory / "issuer")
    given = scopes or EVERY_SCOPE
    click.echo(issuer.mint(organisation_id, scopes=given, subject=subject, seconds=seconds, roles=roles))
