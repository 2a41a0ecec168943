"""The commands of `indelible clip` and `indelible recording` that decide how long something is kept."""

import secrets

import click
from indelible.evidence.v1 import evidence_pb2

from ledger.cli.output import as_json, print_fields
from media.commands.common import (
    call,
    clip_argument,
    clip_fields,
    hold_fields,
    recording_argument,
    time_text,
)
from media.service.convert import LOCK_MODES

_LOCK_MODES = [mode.lower() for mode in LOCK_MODES]


_reason_of_hold = click.option(
    "--reason", required=True, help="Why: a case number, an order. It goes on the operations chain."
)
_key = click.option("--idempotency-key", help="Repeating it under the same key places no second hold.")


@click.command("hold")
@clip_argument
@_reason_of_hold
@_key
@as_json
def place_hold(clip_id: str, reason: str, idempotency_key: str | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Place a legal hold: the clip is not disposed of until every hold on it is lifted."""
    _hold(evidence_pb2.PlaceLegalHoldRequest(clip_id=clip_id, reason=reason), idempotency_key, as_json=as_json)


@click.command("hold")
@recording_argument
@_reason_of_hold
@_key
@as_json
def hold_recording(recording_id: str, reason: str, idempotency_key: str | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Place a legal hold: nothing of the recording is deleted until every hold on it is lifted.

    It may still be running: what comes of it is held, too.
    """
    request = evidence_pb2.PlaceLegalHoldRequest(recording_id=recording_id, reason=reason)
    _hold(request, idempotency_key, as_json=as_json)


@click.command("lift")
@click.argument("hold_id", metavar="HOLD")
@click.option("--reason", required=True, help="Why. It goes on the operations chain.")
@as_json
def lift_hold(hold_id: str, reason: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Lift one legal hold; others on the same thing stand."""
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


@click.command("dispose")
@recording_argument
@click.option("--reason", required=True, help="Why. It goes on the operations chain.")
@click.confirmation_option(prompt="The recording's bytes are deleted for ever. Go on?")
@as_json
def dispose_recording(recording_id: str, reason: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Delete a recording's bytes before its retention ends. Its digests stay; a held recording is refused."""
    answer = call("DisposeRecording", evidence_pb2.DisposeRecordingRequest(recording_id=recording_id, reason=reason))
    state = evidence_pb2.RecordingState.Name(answer.recording.state).removeprefix("RECORDING_STATE_").lower()
    fields = {"recording_id": recording_id, "session": answer.recording.session_chain_id, "state": state}
    print_fields(fields, as_json=as_json)


@click.command("retention")
@click.option("--days", type=click.IntRange(1, 36_500), help="Keep clips and recordings so long from their end on.")
@click.option("--reason", help="Why it changes. It goes on the operations chain.")
@click.option("--lock", type=click.Choice(_LOCK_MODES), help="How firmly the store itself keeps them.")
@as_json
def retention(days: int | None, reason: str | None, lock: str | None, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Show how long your organisation keeps clips and recordings; with --days and --reason, change it."""
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


def _hold(request: evidence_pb2.PlaceLegalHoldRequest, idempotency_key: str | None, *, as_json: bool) -> None:
    request.idempotency_key = idempotency_key or secrets.token_hex(16)
    answer = call("PlaceLegalHold", request)
    print_fields(hold_fields(answer.hold) | {"held_in_the_store_too": answer.mirrored}, as_json=as_json)


RECORDING_KEEPING_COMMANDS = (hold_recording, lift_hold, dispose_recording)
KEEPING_COMMANDS = (place_hold, lift_hold, dispose_clip, retention)
