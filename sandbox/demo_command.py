"""The demonstration as a command: where its files go, what its last line says, and what is left behind."""

import contextlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from sandbox.demo import Outcome, run_demo
from sandbox.demo_anchors import DemoError
from sandbox.freetsa import fetch_freetsa
from sandbox.lifetime import clear_errors, stopped_by_signals, temporary_folder
from sandbox.narrator import Narrator
from sandbox.stack import Stack


def show_demo(directory: Path | None, *, keep: bool, as_json: bool, authority: str | None) -> None:
    """Run the demonstration and end like a command. Raises click.ClickException when a claim does not hold."""
    console = Console(stderr=as_json)
    used = (directory or temporary_folder("indelible-demo-")).resolve()

    def at_the_end(stack: Stack, outcome: Outcome) -> None:
        console.print(f"\n[bold]bundle[/bold]        {outcome.bundle}", soft_wrap=True, highlight=False)
        if outcome.clip_bundle is not None:
            console.print(f"[bold]with the clip[/bold] {outcome.clip_bundle}", soft_wrap=True, highlight=False)
        if outcome.recording_bundle is not None:
            console.print(f"[bold]with the call[/bold] {outcome.recording_bundle}", soft_wrap=True, highlight=False)
            console.print(f"[bold]its picture[/bold]   {outcome.picture}", soft_wrap=True, highlight=False)
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


def _forget(data: Path, *, given: Path | None) -> None:
    """Delete the servers' data, unless it lies in a directory that the user named."""
    if given is None:
        shutil.rmtree(data, ignore_errors=True)
