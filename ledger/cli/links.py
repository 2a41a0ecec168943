"""Commands that call a running ledger about anchors and verify links."""

import click

from ledger.cli.caller import chain_id_argument, reach_ledger, time_text
from ledger.cli.output import as_json, print_fields, print_rows


@click.group()
def anchors() -> None:
    """Look at the outside evidence for a chain."""


@anchors.command("list")
@chain_id_argument
@as_json
def list_anchors(chain_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """List a chain's anchors, obtained and still asked for."""
    with reach_ledger() as ledger:
        rows = [
            {
                "sequence": anchor.sequence,
                "backend": anchor.backend,
                "authority": anchor.authority,
                "state": anchor.state,
                "anchored_at": time_text(anchor.anchored_at),
                "attempts": anchor.attempts,
                "last_error": anchor.last_error or None,
                "digest": anchor.digest.hex(),
            }
            for anchor in ledger.list_anchors(chain_id)
        ]
    names = ("sequence", "backend", "authority", "state", "anchored_at", "attempts", "last_error")
    print_rows(names, rows, as_json=as_json, empty="Nothing of this chain has been asked to be anchored yet.")


@click.group()
def verify_link() -> None:
    """Make and revoke links that show a chain to their holder."""


@verify_link.command("create")
@chain_id_argument
@click.option("--days", type=click.IntRange(1, 366), default=90, show_default=True, help="How long it is valid.")
@as_json
def create_verify_link(chain_id: str, days: int, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Make a link to a chain as it is now."""
    with reach_ledger() as ledger:
        link = ledger.create_verify_link(chain_id, valid_days=days)
    print_fields(
        {
            "url": link.url or None,
            "token": link.token,
            "link_id": link.link_id,
            "expires_at": time_text(link.expires_at),
            "head": link.head.hex(),
        },
        as_json=as_json,
    )


@verify_link.command("revoke")
@click.argument("link_id", metavar="LINK")
@as_json
def revoke_verify_link(link_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """End a link before its time."""
    with reach_ledger() as ledger:
        revoked_at = ledger.revoke_verify_link(link_id)
    print_fields({"link_id": link_id, "revoked_at": time_text(revoked_at)}, as_json=as_json)
