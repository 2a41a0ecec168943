"""`indelible tezos`: what an operator does once before anchoring at Tezos."""

from pathlib import Path

import click

from ledger.anchoring.tezos.configuration import DEFAULT_CONFIRMATIONS
from ledger.anchoring.tezos.keys import MAX_KEY_FILE_BYTES, LocalSigner
from ledger.anchoring.tezos.originate import OriginationError, contract_source, originate


@click.group()
def tezos() -> None:
    """Prepare anchoring at Tezos."""


@tezos.command("originate")
@click.option("--node", required=True, help="Address of a node, such as https://node.example.com.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the unencrypted secret key (edsk..., spsk..., p2sk...) of the account that pays.",
)
@click.option("--key", envvar="TEZOS_KEY", help="The key itself; better given as TEZOS_KEY.")
@click.option("--confirmations", type=click.IntRange(0, 500), default=DEFAULT_CONFIRMATIONS, show_default=True)
def originate_command(node: str, key_file: Path | None, key: str | None, confirmations: int) -> None:
    """Put the anchoring contract on a network and print its address."""
    if key_file is not None:
        with key_file.open("rb") as file:
            key = file.read(MAX_KEY_FILE_BYTES).decode("ascii", "replace")
    if not key:
        raise click.UsageError("give --key-file, or set TEZOS_KEY")
    key = key.strip()
    try:
        LocalSigner(key)
        address = originate(node, key, confirmations=confirmations, report=lambda text: click.echo(text, err=True))
    except (ValueError, OriginationError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(address)


@tezos.command("contract")
def contract_command() -> None:
    """Print the contract's source, to compare it with what is at an address."""
    click.echo(contract_source(), nl=False)
