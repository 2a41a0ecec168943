"""`indelible recording`: record sessions through a running evidence service.

Exit codes: 0 done; 1 refused; 2 wrong usage or settings; 3 not reachable.
"""

import secrets
from pathlib import Path
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.evidence.v1 import evidence_pb2

from ledger.cli.main import UNUSABLE, Failure
from ledger.cli.output import as_json, print_fields, print_rows
from media.calling import EvidenceCaller
from media.commands.common import (
    Moment,
    call,
    hold_fields,
    print_checks,
    print_custody,
    recording_argument,
    time_text,
    with_service,
)
from media.commands.keeping import RECORDING_KEEPING_COMMANDS
from media.recordings.annotate import MAX_DOCUMENT_BYTES
from media.service.recording_convert import ACTS, ROLES, STATES, WAYS

PAGE_SIZE = 1_000


def _choice(names: Any) -> click.Choice[str]:
    return click.Choice([name.lower().replace("_", "-") for name in names])


@click.group()
def recording() -> None:
    """Record sessions, with everybody's consent.

    The commands call the evidence service: INDELIBLE_EVIDENCE names it (127.0.0.1:50052 unless set), INDELIBLE_TOKEN or
    INDELIBLE_TOKEN_FILE holds your token, INDELIBLE_EVIDENCE_CA the certificate authority of a service elsewhere.

    Exit codes: 0 done; 1 refused, or a check found something wrong; 2 wrong usage or settings; 3 not reachable.
    """


for _command in RECORDING_KEEPING_COMMANDS:
    recording.add_command(_command)


@recording.command("consent")
@click.option("--session", required=True, help="The session's chain.")
@click.option("--participant", required=True, help="Their identity in the room.")
@click.option("--role", type=_choice(ROLES), required=True, help="Who leads the session is its operator.")
@click.option("--act", type=_choice(ACTS), required=True, help="What they did.")
@click.option("--notice", required=True, help="Which text they saw: its version or address.")
@click.option("--idempotency-key", help="Repeating it under the same key notes nothing twice.")
@as_json
def consent(  # noqa: PLR0913, PLR0917 - one argument for each option
    session: str,
    participant: str,
    role: str,
    act: str,
    notice: str,
    idempotency_key: str | None,
    as_json: bool,  # noqa: FBT001 - click's calling style
) -> None:
    """Note what somebody decided about being recorded. A withdrawal stops what it covers before this returns."""
    request = evidence_pb2.RecordConsentRequest(
        session_chain_id=session,
        participant=participant,
        role=ROLES[_name(role, ROLES)],
        act=ACTS[_name(act, ACTS)],
        notice=notice,
        idempotency_key=idempotency_key or secrets.token_hex(16),
    )
    answer = call("RecordConsent", request, long=True)
    noted = answer.consent
    print_fields(
        {
            "participant": noted.participant,
            "role": _word(ROLES, noted.role),
            "act": _word(ACTS, noted.act),
            "notice": noted.notice,
            "recorded_by": noted.recorded_by,
            "recorded_at": time_text(noted.recorded_at),
            "stopped": list(answer.stopped_recording_ids),
        },
        as_json=as_json,
    )


@recording.command("start")
@click.option("--session", required=True, help="The session's chain.")
@click.option("--room", required=True, help="The LiveKit room: your organisation, a colon, and its name.")
@click.option("--operator", required=True, help="The operator's identity in the room.")
@click.option(
    "--composite", type=_choice(WAYS), help="How the composite is made.  [default: as your organisation chose]"
)
@click.option("--annotations", is_flag=True, help="Strokes will be handed over: processing waits for them.")
@as_json
def start(  # noqa: PLR0913, PLR0917 - one argument for each option
    session: str,
    room: str,
    operator: str,
    composite: str | None,
    annotations: bool,  # noqa: FBT001 - click's calling style
    as_json: bool,  # noqa: FBT001 - as above
) -> None:
    """Begin to record a session. Refused until the operator and everybody in the room have consented."""
    request = evidence_pb2.StartRecordingRequest(
        session_chain_id=session, room=room, operator=operator, annotations_expected=annotations
    )
    if composite is not None:
        request.composite = WAYS[_name(composite, WAYS)]
    answer = call("StartRecording", request, long=True)
    print_fields(recording_fields(answer.recording) | {"created": answer.created}, as_json=as_json)


@recording.command("stop")
@recording_argument
@click.option("--reason", default="", help="Why: it goes on the session's chain.")
@as_json
def stop(recording_id: str, reason: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """End a recording; its files are then processed."""
    request = evidence_pb2.StopRecordingRequest(recording_id=recording_id, reason=reason)
    print_fields(recording_fields(call("StopRecording", request, long=True).recording), as_json=as_json)


@recording.command("show")
@recording_argument
@as_json
def show(recording_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Show a recording: who was recorded, what became of it, and its files."""
    request = evidence_pb2.GetRecordingRequest(recording_id=recording_id)
    print_fields(recording_fields(call("GetRecording", request).recording), as_json=as_json)


@recording.command("list")
@click.option("--session", help="Only of this session's chain.")
@click.option("--state", "states", type=_choice(STATES), multiple=True, help="Only in this state; may be repeated.")
@click.option("--from", "started_from", type=Moment(), help="Only those that began then or later.")
@click.option("--to", "started_to", type=Moment(), help="Only those that began before then.")
@click.option("--held/--not-held", default=None, help="Only with, or without, a standing hold.")
@as_json
def list_recordings(  # noqa: PLR0913, PLR0917 - one argument for each option
    session: str | None,
    states: tuple[str, ...],
    started_from: Timestamp | None,
    started_to: Timestamp | None,
    held: bool | None,  # noqa: FBT001 - as below
    as_json: bool,  # noqa: FBT001 - click's calling style
) -> None:
    """List your organisation's recordings, newest first."""
    request = evidence_pb2.ListRecordingsRequest(
        page_size=PAGE_SIZE,
        session_chain_id=session or "",
        states=[STATES[_name(state, STATES)] for state in states],
        started_from=started_from,
        started_to=started_to,
        held=held,
    )
    rows: list[dict[str, Any]] = []
    while True:
        answer = call("ListRecordings", request)
        rows += [recording_fields(one) for one in answer.recordings]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token
    columns = ("recording_id", "session", "state", "started_at", "stopped_at", "held")
    print_rows(columns, rows, as_json=as_json, empty="There are no such recordings.")


@recording.command("annotate")
@recording_argument
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--nothing-drawn", is_flag=True, help="Say that nothing was drawn, instead of giving FILE.")
@as_json
def annotate(recording_id: str, file: Path | None, nothing_drawn: bool, as_json: bool) -> None:  # noqa: FBT001 - as above
    """Hand over what was drawn in the session: FILE, a document as docs/spec/annotations.md says. The first counts."""
    if (file is None) != nothing_drawn:
        raise click.UsageError("give the document's FILE, or --nothing-drawn")
    request = evidence_pb2.ProcessRecordingRequest(
        recording_id=recording_id, annotations=b"" if file is None else _read(file)
    )
    print_fields(recording_fields(call("ProcessRecording", request, long=True).recording), as_json=as_json)


@recording.command("link")
@recording_argument
@click.option("--file", required=True, help="Which file, for example composite.mp4.")
@click.option("--seconds", type=click.IntRange(1, 3600), default=300, show_default=True, help="How long it is valid.")
@as_json
def link(recording_id: str, file: str, seconds: int, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Make an address that gives one file to whoever holds it. It goes on the operations chain."""
    request = evidence_pb2.CreateRecordingLinkRequest(recording_id=recording_id, file=file, valid_seconds=seconds)
    answer = call("CreateRecordingLink", request)
    print_fields(
        {
            "url": answer.url,
            "expires_at": time_text(answer.expires_at),
            "size": answer.size,
            "sha256": answer.sha256.hex(),
        },
        as_json=as_json,
    )


@recording.command("custody")
@recording_argument
@as_json
def custody(recording_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Show who or what did what to a recording, up to now."""
    print_custody(evidence_pb2.GetCustodyRequest(recording_id=recording_id), as_json=as_json)


@recording.command("verify")
@recording_argument
@as_json
def verify(recording_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Have every stored file read back now and compared with its digest. Exit code 1 when one differs."""
    request = evidence_pb2.VerifyStoredRecordingRequest(recording_id=recording_id)
    answer = call("VerifyStoredRecording", request, long=True)
    print_checks("files", answer, answer.files, as_json=as_json)


@recording.command("export")
@recording_argument
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The zip file to write.")
@as_json
def export(recording_id: str, out: Path, as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Write the bundle of the session's chain, with the recording's files in it. That is recorded as an access."""
    if out.exists():
        raise Failure(f"{out} exists; it is not overwritten", UNUSABLE)
    request = evidence_pb2.ExportRecordingRequest(recording_id=recording_id)

    async def write(service: EvidenceCaller) -> int:
        try:
            return await service.export(request, out)
        except OSError as error:
            raise Failure(f"{out} cannot be written: {error.strerror}", UNUSABLE) from error

    print_fields({"bundle": str(out), "bytes": with_service(write)}, as_json=as_json)


def recording_fields(one: evidence_pb2.Recording) -> dict[str, Any]:
    """A recording, for printing."""
    fields: dict[str, Any] = {
        "recording_id": one.recording_id,
        "session": one.session_chain_id,
        "room": one.room,
        "operator": one.operator,
        "composite": _word(WAYS, one.composite),
        "state": _word(STATES, one.state),
        "annotations_expected": one.annotations_expected,
        "requested_by": one.requested_by,
    }
    for name in ("started_at", "stopped_at", "completed_at", "retain_until", "disposed_at"):
        fields[name] = time_text(getattr(one, name)) if one.HasField(name) else None
    return fields | {
        "stop_reason": one.stop_reason or None,
        "failure": f"{one.failure.message} [{one.failure.reason}]" if one.HasField("failure") else None,
        "participants": [
            {
                "participant": stay.participant,
                "role": _word(ROLES, stay.role),
                "tile": stay.tile,
                "outcome": _outcome(stay),
            }
            for stay in one.participants
        ],
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256.hex()} for file in one.files],
        "notes": list(one.notes),
        "held": bool(one.holds),
        "holds": [hold_fields(hold) for hold in one.holds],
    }


def _outcome(stay: evidence_pb2.ParticipantRecording) -> str:
    """What became of an egress; until LiveKit has said it, whether it has begun."""
    if stay.outcome == evidence_pb2.EGRESS_OUTCOME_UNSPECIFIED:
        return "running" if stay.HasField("started_at") else "starting"
    return evidence_pb2.EgressOutcome.Name(stay.outcome).removeprefix("EGRESS_OUTCOME_").lower()


def _name(option: str, names: Any) -> Any:
    """The name that an option's word stands for."""
    return next(name for name in names if name.lower().replace("_", "-") == option)


def _word(names: Any, value: int) -> str | None:
    """The word for a value of the contract; None for one that is not set."""
    return next((name.lower() for name, known in names.items() if known == value), None)


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise Failure(f"{file} has more than {MAX_DOCUMENT_BYTES} bytes", UNUSABLE)
    if not data:
        raise Failure(f"{file} is empty; say --nothing-drawn if nothing was drawn", UNUSABLE)
    return data
