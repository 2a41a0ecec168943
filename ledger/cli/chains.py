"""Commands that call a running ledger about chains and their bundles."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from ledger.cli.caller import chain_id_argument, reach_ledger, time_text
from ledger.cli.main import REFUSED, UNUSABLE, Failure
from ledger.cli.output import as_json, print_fields, print_rows
from ledger.client import Chain, NewEvent, Receipt

# Of what is read from standard input: more than a whole append can hold.
MAX_INPUT_BYTES = 16 * 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@click.group()
def chain() -> None:
    """Open, fill, close, read, check and export chains.

    INDELIBLE_LEDGER names the ledger (127.0.0.1:50051 unless set), INDELIBLE_TOKEN or INDELIBLE_TOKEN_FILE holds your
    token, INDELIBLE_LEDGER_CA the certificate authority of a ledger on another machine.
    """


@chain.command("open")
@chain_id_argument
@click.option("--subject", default="{}", help="What the chain is about: a JSON object.")
@as_json
def open_chain(chain_id: str, subject: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Open a chain."""
    with reach_ledger() as ledger:
        opened, receipt = ledger.open_chain(chain_id, subject.encode())
    print_fields(_chain_fields(opened) | {"receipt": receipt.signed_note}, as_json=as_json)


@chain.command("append")
@chain_id_argument
@click.option("--kind", help="The kind of the event, for example door.opened.")
@click.option("--payload", help="The event: a JSON object.")
@click.option("--seal", "sealed", multiple=True, help="A member of the payload to seal. May be given more than once.")
@click.option("--idempotency-key", help="Repeating an append under the same key writes nothing twice.")
@click.option("--expected-sequence", type=click.IntRange(min=1), help="Append only if the event gets this sequence.")
@as_json
def append_events(  # noqa: PLR0913, PLR0917 - one argument for each option
    chain_id: str,
    kind: str | None,
    payload: str | None,
    sealed: tuple[str, ...],
    idempotency_key: str | None,
    expected_sequence: int | None,
    as_json: bool,  # noqa: FBT001 - click's calling style
) -> None:
    """Append one event, or many from standard input.

    Without --kind, each line of standard input is one event: {"kind": "...", "payload": {...}}, and "sealed" with a
    list of members to seal, if any.
    """
    if (kind is None) != (payload is None):
        raise click.UsageError("--kind and --payload belong together")
    if kind is None or payload is None:
        events = _read_events()
    else:
        events = [NewEvent(kind=kind, payload=payload.encode(), sealed_members=sealed)]
    with reach_ledger() as ledger:
        receipt = ledger.append_events(
            chain_id, events, idempotency_key=idempotency_key, expected_sequence=expected_sequence
        )
    print_fields(_receipt_fields(receipt), as_json=as_json)


@chain.command("checkpoint")
@chain_id_argument
@as_json
def checkpoint_chain(chain_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Commit to every event so far and have that anchored."""
    with reach_ledger() as ledger:
        receipt = ledger.checkpoint_chain(chain_id)
    print_fields(_receipt_fields(receipt), as_json=as_json)


@chain.command("end")
@chain_id_argument
@click.option("--ending", help="Why or by whom it is ended: a JSON object.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.IntRange(min=60, max=604_800),
    help="How many seconds the chain waits for what is pending.  [default: 86400, a day]",
)
@as_json
def end_session(chain_id: str, ending: str | None, wait_seconds: int | None, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """End a session whose recordings or clips may still be in the making.

    The chain is anchored at once and closes by itself when nothing is pending, or when the time is over; directly when
    nothing is pending now.
    """
    with reach_ledger() as ledger:
        ended, receipt = ledger.end_session(
            chain_id, None if ending is None else ending.encode(), wait_seconds=wait_seconds or 0
        )
    print_fields(_chain_fields(ended) | {"receipt": receipt.signed_note}, as_json=as_json)


@chain.command("close")
@chain_id_argument
@click.option("--closing", help="Why or by whom it is closed: a JSON object.")
@as_json
def close_chain(chain_id: str, closing: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Seal a chain for ever and have its head anchored.

    A chain with recordings or clips in the making is not closed: see `indelible chain end`.
    """
    with reach_ledger() as ledger:
        closed, receipt = ledger.close_chain(chain_id, None if closing is None else closing.encode())
    print_fields(_chain_fields(closed) | {"receipt": receipt.signed_note}, as_json=as_json)


@chain.command("list")
@click.option("--state", type=click.Choice(("open", "ended", "closed")), help="Only chains in this state.")
@as_json
def list_chains(state: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """List your organisation's chains."""
    with reach_ledger() as ledger:
        rows = [_chain_fields(found) for found in ledger.list_chains(state=state)]
    print_rows(("chain_id", "type", "state", "event_count", "head"), rows, as_json=as_json, empty="There is no chain.")


@chain.command("show")
@chain_id_argument
@click.option("--kind", "kinds", multiple=True, help="Only events of this kind. May be given more than once.")
@click.option("--follow", is_flag=True, help="Go on showing events as they come, until the chain closes or Ctrl-C.")
@as_json
def show_chain(chain_id: str, kinds: tuple[str, ...], follow: bool, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Show a chain and its events; with --json, one event a line."""
    if follow and kinds:
        raise click.UsageError("--follow shows every event; leave --kind out")
    with reach_ledger() as ledger:
        if not as_json:
            print_fields(_chain_fields(ledger.get_chain(chain_id)), as_json=False)
            click.echo()
        events = ledger.stream_events(chain_id, follow=True) if follow else ledger.list_events(chain_id, kinds=kinds)
        for event in events:
            fields = {
                "sequence": event.sequence,
                "kind": event.kind,
                "occurred_at": time_text(_EPOCH + timedelta(microseconds=event.occurred_at_us)),
                "hash": event.hash.hex(),
                "payload": event.content,
            }
            if as_json:
                click.echo(json.dumps(fields))
            else:
                # Escaped, so that no text of an event can play tricks on the terminal.
                text = json.dumps(event.content).encode("unicode_escape").decode("ascii")
                click.echo(f"{event.sequence:>6}  {event.hash.hex()[:16]}  {event.kind}  {text}")


@chain.command("check")
@chain_id_argument
@as_json
def check_chain(chain_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Have the service compute every hash of a chain again.

    For a check that trusts nobody, export the chain and use indelible-verify.
    """
    with reach_ledger() as ledger:
        result = ledger.check_chain(chain_id)
    print_fields(
        {
            "ok": result.ok,
            "event_count": result.event_count,
            "head": result.head.hex(),
            "first_divergent_sequence": result.first_divergent_sequence,
            "divergence": result.divergence or None,
        },
        as_json=as_json,
    )
    if not result.ok:
        raise SystemExit(REFUSED)


@chain.command("export")
@chain_id_argument
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The zip file to write.")
@click.option("--include-disclosures", is_flag=True, help="Add what sealed members say.")
@click.option("--force", is_flag=True, help="Replace the file if it is there already.")
@as_json
def export_chain(chain_id: str, out: Path, include_disclosures: bool, force: bool, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Write a chain's bundle: all that verifying it takes. An existing file is only replaced with --force."""
    if not force and os.path.lexists(out):
        raise Failure(f"{out} exists already; choose another name, or replace it with --force", UNUSABLE)
    with reach_ledger() as ledger:
        try:
            size = ledger.export_bundle(chain_id, out, include_disclosures=include_disclosures)
        except OSError as error:
            raise Failure(f"{out} cannot be written: {error.strerror}", UNUSABLE) from error
    print_fields({"bundle": str(out), "bytes": size}, as_json=as_json)


@chain.command("erase-disclosures")
@chain_id_argument
@click.option("--sequence", type=click.IntRange(min=1), required=True, help="The event whose sealed members are meant.")
@click.option("--member", "members", multiple=True, help="Only this sealed member. May be given more than once.")
@click.option("--reason", required=True, help="Why. It stays on the operations chain, so it must name no person.")
@as_json
def erase_disclosures(chain_id: str, sequence: int, members: tuple[str, ...], reason: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Erase for ever what sealed members of an event say.

    The chain still verifies: it holds digests only. Bundles that were exported with disclosures keep what they have.
    """
    with reach_ledger() as ledger:
        erased, receipt = ledger.erase_disclosures(chain_id, sequence, members=members, reason=reason)
    print_fields({"erased": erased, "receipt": receipt.signed_note if receipt else None}, as_json=as_json)


def _read_events() -> list[NewEvent]:
    text = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if len(text) > MAX_INPUT_BYTES:
        raise Failure(f"standard input is larger than {MAX_INPUT_BYTES} bytes; append it in parts", UNUSABLE)
    return [_read_event(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _read_event(number: int, line: bytes) -> NewEvent:
    expected = f'line {number} of standard input is not {{"kind": "...", "payload": {{...}}}}'
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Failure(expected, UNUSABLE) from error
    if not isinstance(document, dict) or not {"kind", "payload"} <= set(document) <= {"kind", "payload", "sealed"}:
        raise Failure(expected, UNUSABLE)
    kind, payload, sealed = document["kind"], document["payload"], document.get("sealed", [])
    if not isinstance(kind, str) or not isinstance(payload, dict) or not isinstance(sealed, list):
        raise Failure(expected, UNUSABLE)
    return NewEvent(kind=kind, payload=payload, sealed_members=tuple(map(str, sealed)))


def _chain_fields(found: Chain) -> dict[str, Any]:
    return {
        "chain_id": found.chain_id,
        "type": found.type,
        "state": found.state,
        "organisation_id": found.organisation_id,
        "organisation_name": found.organisation_name,
        "subject": json.loads(found.subject),
        "event_count": found.event_count,
        "head": found.head.hex(),
        "opened_at": time_text(found.opened_at),
        "ended_at": time_text(found.ended_at),
        "closes_by": time_text(found.closes_by),
        "closed_at": time_text(found.closed_at),
        "pending": [
            {"type": item.type, "item_id": item.item_id, "since_sequence": item.since_sequence}
            for item in found.pending
        ],
    }


def _receipt_fields(receipt: Receipt) -> dict[str, Any]:
    return {
        "chain_id": receipt.chain_id,
        "first_sequence": receipt.first_sequence,
        "last_sequence": receipt.last_sequence,
        "event_hashes": [digest.hex() for digest in receipt.event_hashes],
        "replayed": receipt.replayed,
        "occurred_at": time_text(_EPOCH + timedelta(microseconds=receipt.occurred_at_us)),
        "receipt": receipt.signed_note,
    }
