"""The commands of `indelible clip` that decide how long a clip is kept."""

import secrets

import click
from indelible.evidence.v1 import evidence_pb2

from ledger.cli.output import as_json, print_fields
from media.commands.common import call, clip_argument, clip_fields, hold_fields, time_text
from media.service.convert import LOCK_MODES

_LOCK_MODES = [mode.lower() for mode in LOCK_MODES]


@click.command("hold")
@clip_argument
@click.option("--reason", required=True, help="Why: a case number, an order. It goes on the operations chain.")
@click.option("--idempotency-key", help="Repeating it under the same key places no second hold.")
@as_json
def place_hold(clip_id: str, reason: str, idempotency_key: str | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Place a legal hold: the clip is not disposed of until every hold on it is lifted."""
    key = idempotency_key or secrets.token_hex(16)
    request = evidence_pb2.PlaceLegalHoldRequest(clip_id=clip_id, reason=reason, idempotency_key=key)
    answer = call("PlaceLegalHold", request)
    print_fields(hold_fields(answer.hold) | {"held_in_the_store_too": answer.mirrored}, as_json=as_json)


@click.command("lift")
@click.argument("hold_id", metavar="HOLD")
@click.option("--reason", required=True, help="Why. It goes on the operations chain.")
@as_json
def lift_hold(hold_id: str, reason: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Lift one legal hold; others on the clip stand."""
    answer = call("LiftLegalHold", evidence_pb2.LiftLegalHoldRequest(hold_id=hold_id, reason=reason))
    print_fields(hold_fields(answer.hold), as_json=as_json)


@click.command("dispose")
@clip_argument
@click.option("--reason", required=True, help="Why. It goes on the operations chain.")
@click.confirmation_option(prompt="The clip's bytes are deleted for ever. Go on?")
@as_json
def dispose_clip(clip_id: str, reason: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Delete a clip's bytes before its retention ends. Its digests stay; a held clip is refused."""
    answer = call("DisposeClip", evidence_pb2.DisposeClipRequest(clip_id=clip_id, reason=reason))
    fields = clip_fields(answer.clip)
    print_fields({name: fields[name] for name in ("clip_id", "camera", "incident", "state")}, as_json=as_json)


@click.command("retention")
@click.option("--days", type=click.IntRange(1, 36_500), help="Keep clips so long from their preservation on.")
@click.option("--reason", help="Why it changes. It goes on the operations chain.")
@click.option("--lock", type=click.Choice(_LOCK_MODES), help="How firmly the store itself keeps them.")
@as_json
def retention(days: int | None, reason: str | None, lock: str | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Show how long your organisation keeps clips; with --days and --reason, change it."""
    if (days is None) != (reason is None) or (days is None and lock is not None):
        raise click.UsageError("--days and --reason belong together, and --lock needs both")
    if days is None:
        answer = call("GetRetention", evidence_pb2.GetRetentionRequest())
    else:
        request = evidence_pb2.SetRetentionRequest(days=days, reason=reason or "")
        if lock is not None:
            request.lock_mode = evidence_pb2.LockMode.Value(f"LOCK_MODE_{lock.upper()}")
        answer = call("SetRetention", request)
    current = answer.retention
    print_fields(
        {
            "days": current.days,
            "lock": evidence_pb2.LockMode.Name(current.lock_mode).removeprefix("LOCK_MODE_").lower(),
            "set_by": current.set_by or None,
            "set_at": time_text(current.set_at) if current.HasField("set_at") else None,
        },
        as_json=as_json,
    )


KEEPING_COMMANDS = (place_hold, lift_hold, dispose_clip, retention)
