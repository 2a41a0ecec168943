"""The command line `indelible-verify`."""

import click

from verifier.bundle_command import bundle
from verifier.ledger_commands import ots, tezos
from verifier.serve_command import serve
from verifier.token_command import token


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="indelible-verifier", prog_name="indelible-verify")
def main() -> None:
    """Check evidence without trusting whoever kept it."""


main.add_command(bundle)
main.add_command(token)
main.add_command(tezos)
main.add_command(ots)
main.add_command(serve)
