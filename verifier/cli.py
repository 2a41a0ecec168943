"""The command line `indelible-verify`."""

from typing import Any

import click

from verifier.bundle_command import bundle
from verifier.ledger_commands import ots, tezos
from verifier.serve_command import serve
from verifier.token_command import token
from verifier.unusable import Unusable


class _Commands(click.Group):
    """Exit code 1 says that evidence is wrong, so a command that did not come to its end has another."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except KeyboardInterrupt as stop:
            raise Unusable("Stopped before anything was decided") from stop
        except Exception as error:  # whatever it is, memory that ran out among it
            raise Unusable(f"This program failed and has decided nothing: {type(error).__name__} {error}") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="indelible-verifier", prog_name="indelible-verify")
def main() -> None:
    """Check evidence without trusting whoever kept it."""


main.add_command(bundle)
main.add_command(token)
main.add_command(tezos)
main.add_command(ots)
main.add_command(serve)
