"""The commands the sandbox adds to `indelible`: `demo`, `up` and `token`."""

import contextlib
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.table import Table

from ledger.client import ClientError
from sandbox.authorities import AuthorityError
from sandbox.issuer import DEFAULT_SECONDS, EVERY_SCOPE, Issuer
from sandbox.narrator import Narrator
from sandbox.processes import LOOPBACK, StartError
from sandbox.services import Ports
from sandbox.stack import Announce, Part, PartEndedError, Stack, running_stack

ORGANISATION_ID = "example"
ORGANISATION_NAME = "Example Inspections Ltd"
INTERRUPTED = 130  # what shells report for a program ended by Ctrl-C


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
def up(directory: Path | None, ledger_port: int, gateway_port: int, page_port: int, metrics_port: int) -> None:
    """Run all of Indelible on this machine until Ctrl-C: for trying it out and for building against it."""
    console = Console()
    console.print("Starting Indelible on this machine ...")
    ports = Ports(ledger=ledger_port, gateway=gateway_port, page=page_port, metrics=metrics_port)
    with clear_errors(), stopped_by_signals(), _directory_for(directory) as used:
        ports.require_free()
        with running_stack(used, ports=ports, announce=announcer(console)) as stack:
            stack.add_organisation(ORGANISATION_ID, ORGANISATION_NAME)
            _explain(console, stack, kept=directory is not None)
            with contextlib.suppress(KeyboardInterrupt):
                stack.watch()
            console.print("\nStopping ...")
    console.print("Stopped. Nothing is left running.")


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
    """Record a session, seal it, have it time-stamped, export it, verify it offline, and catch a forgery."""
    from sandbox.demo import DemoError, Outcome, run_demo  # noqa: PLC0415 - `up` and `token` need none of it
    from sandbox.freetsa import fetch_freetsa  # noqa: PLC0415 - as above

    console = Console(stderr=as_json)
    used = (directory or _temporary_folder("indelible-demo-")).resolve()

    def at_the_end(stack: Stack, outcome: Outcome) -> None:
        console.print(f"\n[bold]bundle[/bold]        {outcome.bundle}", soft_wrap=True, highlight=False)
        console.print(f"[bold]trust policy[/bold]  {outcome.trust}", soft_wrap=True, highlight=False)
        if as_json:
            click.echo(json.dumps(asdict(outcome), default=str))
        if keep:
            console.print("\nEverything is still running. Open the link above; stop with Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                stack.watch()

    with clear_errors(), stopped_by_signals():
        try:
            extra = fetch_freetsa(used / "roots") if authority else None
            run_demo(used, Narrator(console), extra_authority=extra, at_the_end=at_the_end)
        except DemoError as error:
            raise click.ClickException(f"The demonstration failed: {error}\nLogs and data: {used}") from error
        except KeyboardInterrupt:
            _forget(used / "stack", given=directory)
            raise
    if not keep:
        _forget(used / "stack", given=directory)
    console.print("Everything has been stopped; nothing is left running.")


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    required=True,
    help="The directory of a running `indelible up` or `indelible demo --keep`.",
)
@click.option("--org", "organisation_id", default=ORGANISATION_ID, show_default=True)
@click.option("--scope", "scopes", multiple=True, help="May be repeated.  [default: every scope]")
@click.option("--subject", default="developer", show_default=True, help="Who the token speaks for.")
@click.option(
    "--seconds", type=click.IntRange(1), default=DEFAULT_SECONDS, show_default=True, help="How long it lasts."
)
def token(directory: Path, organisation_id: str, scopes: tuple[str, ...], subject: str, seconds: int) -> None:
    """Print a bearer token of the sandbox's own issuer, which only a sandbox trusts."""
    if not (directory / "issuer").is_dir():
        raise click.UsageError(f"{directory} is not the directory of a sandbox: it holds no token issuer")
    issuer = Issuer(directory / "issuer")
    click.echo(issuer.mint(organisation_id, scopes=scopes or EVERY_SCOPE, subject=subject, seconds=seconds))


def announcer(console: Console) -> Announce:
    """Prints one line for each part that is ready."""

    def announce(part: Part, address: str, seconds: float) -> None:
        console.print(
            f"  [green]ready[/green]  {part:<24} {seconds:5.1f} s   {address}", soft_wrap=True, highlight=False
        )

    return announce


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Make SIGTERM and a closed terminal end the block as Ctrl-C does: everything is stopped on the way out."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what can go wrong with the machine into one message and exit code 1, and Ctrl-C into exit code 130."""
    try:
        yield
    except (StartError, AuthorityError, PartEndedError, ClientError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("Interrupted. Nothing is left running.", err=True)
        sys.exit(INTERRUPTED)


def _forget(data: Path, *, given: Path | None) -> None:
    """Delete the servers' data, unless it lies in a directory that the user named."""
    if given is None:
        shutil.rmtree(data, ignore_errors=True)


@contextlib.contextmanager
def _directory_for(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept
        return
    made = _temporary_folder("indelible-up-")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _temporary_folder(prefix: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o711)  # run by root, PostgreSQL is another user, who must pass through
    return folder


def _explain(console: Console, stack: Stack, *, kept: bool) -> None:
    table = Table(box=None, padding=(0, 2), show_header=False)
    for name, address in (
        ("ledger (gRPC)", stack.ledger_address),
        ("verify page", stack.page_url),
        ("gateway", stack.gateway_url),
        ("metrics", f"http://{LOOPBACK}:{stack.ports.metrics}/metrics"),
        ("NATS", stack.nats.url),
        ("S3", stack.objects.url),
        ("data, keys, logs", str(stack.directory) + ("" if kept else "  (deleted at the end)")),
        ("trust policy", str(stack.trust_policy)),
    ):
        table.add_row(name, address)
    console.print("\n[bold]Indelible is running.[/bold] Stop it with Ctrl-C.\n")
    console.print(table, soft_wrap=True)
    console.print("\nTo use it from another terminal:\n")
    for line in (
        f"export INDELIBLE_LEDGER={stack.ledger_address}",
        f"export INDELIBLE_TOKEN=$(indelible token --dir {stack.directory})",
        "indelible chain open my-first-chain",
    ):
        console.print(f"  {line}", soft_wrap=True, highlight=False)
    console.print()
