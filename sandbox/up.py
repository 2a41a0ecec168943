"""Everything on this machine until Ctrl-C."""

import contextlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sandbox.evidence import CAMERA
from sandbox.lifetime import clear_errors, stopped_by_signals, temporary_folder
from sandbox.outside import OutsideOptions
from sandbox.processes import LOOPBACK, as_typed
from sandbox.services import Ports
from sandbox.stack import ORGANISATION_ID, ORGANISATION_NAME, Announce, Part, Stack, running_stack

if TYPE_CHECKING:
    from sandbox.livekit import LiveKitSandbox

# Instead of ten minutes: who tries it out should see a proof being completed.
BITCOIN_BLOCK_SECONDS = 20.0
# What the camera has filmed when everything is ready, so that there is something to preserve.
FILMED_SECONDS = 20


def run_up(directory: Path | None, ports: Ports) -> None:
    """Run the whole stack until Ctrl-C; keep the data only in a directory that was named."""
    console = Console()
    console.print("Starting Indelible on this machine ...")
    with clear_errors(), stopped_by_signals(), _directory_for(directory) as used:
        ports.require_free()
        outside = OutsideOptions(bitcoin_block_seconds=BITCOIN_BLOCK_SECONDS)
        with running_stack(used, ports=ports, outside=outside, announce=_announcer(console)) as stack:
            stack.add_organisation(ORGANISATION_ID, ORGANISATION_NAME)
            _explain(console, stack, kept=directory is not None)
            with contextlib.suppress(KeyboardInterrupt):
                stack.watch()
            console.print("\nStopping ...")
    console.print("Stopped. Nothing is left running.")


def _announcer(console: Console) -> Announce:
    """Prints one line for each part that is ready."""

    def announce(part: Part, address: str, seconds: float) -> None:
        console.print(
            f"  [green]ready[/green]  {part:<24} {seconds:5.1f} s   {address}", soft_wrap=True, highlight=False
        )

    return announce


@contextlib.contextmanager
def _directory_for(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept
        return
    made = temporary_folder("indelible-up-")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _explain(console: Console, stack: Stack, *, kept: bool) -> None:
    console.print("\n[bold]Indelible is running.[/bold] Stop it with Ctrl-C.\n")
    for name, address in (
        ("ledger (gRPC)", stack.ledger_address),
        *([("evidence (gRPC)", stack.evidence.address)] if stack.makes_clips else []),
        ("verify page", stack.page_url),
        ("gateway", f"{stack.gateway_url}  (REST below {stack.gateway_url}/api/v1)"),
        ("metrics", f"http://{LOOPBACK}:{stack.ports.metrics}/metrics"),
        ("NATS", stack.nats.url),
        *([("footage", f"{stack.evidence.footage}  (of the camera {CAMERA})")] if stack.makes_clips else []),
        *([("LiveKit", _rooms(stack.livekit))] if stack.livekit is not None else []),
        ("S3", f"{stack.objects.url}  (keys: {stack.objects.keys_file})"),
        ("data, keys, logs", f"{stack.directory}{'' if kept else '  (deleted at the end)'}"),
        ("trust policy", stack.trust_policy),
    ):
        console.print(f"  {name:<18}{address}", soft_wrap=True, highlight=False)
    indelible = as_typed("indelible")
    console.print("\nTo use it from another terminal:\n")
    for line in (
        f"export INDELIBLE_LEDGER={stack.ledger_address}",
        f"export INDELIBLE_TOKEN=$({indelible} token --dir {stack.directory})",
        *(_clip_commands(indelible, stack) if stack.makes_clips else ()),
        f"{indelible} chain open my-first-chain",
        f'curl -H "Authorization: Bearer $INDELIBLE_TOKEN" {stack.gateway_url}/api/v1/sessions',
    ):
        console.print(f"  {line}", soft_wrap=True, highlight=False)
    console.print()


def _rooms(livekit: "LiveKitSandbox") -> str:
    return f"{livekit.url}  (its rooms are moved at {livekit.control_url})"


def _clip_commands(indelible: str, stack: Stack) -> tuple[str, ...]:
    """How to preserve a clip of what the camera has just filmed."""
    began = stack.evidence.film(FILMED_SECONDS)
    at = datetime.fromtimestamp(began // 1_000_000 + FILMED_SECONDS // 2, UTC)
    # An incident has one clip for ever, and data that was kept may have one of yesterday.
    incident = f"alarm-{at:%Y%m%d-%H%M%S}"
    window = f"--before {FILMED_SECONDS // 4} --after {FILMED_SECONDS // 4}"
    return (
        f"export INDELIBLE_EVIDENCE={stack.evidence.address}",
        f"{indelible} clip request --source {CAMERA} --incident {incident} --at {at:%Y-%m-%dT%H:%M:%SZ} {window}",
        f"{indelible} clip list",
    )
