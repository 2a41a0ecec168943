"""What the commands that call a running evidence service have in common."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.evidence.v1 import evidence_pb2

from ledger.cli.main import REFUSED
from ledger.cli.output import print_rows
from ledger.timestamps import moment, rfc3339
from media.calling import EvidenceCaller
from media.settings import CallerSettings

Answer = TypeVar("Answer")

clip_argument = click.argument("clip_id", metavar="CLIP")
recording_argument = click.argument("recording_id", metavar="RECORDING")


class Moment(click.ParamType[Timestamp]):
    """A time in RFC 3339."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Timestamp:
        """Read it, or say how to write it."""
        stamp = Timestamp()
        try:
            stamp.FromJsonString(str(value).upper())
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-22T10:00:00Z", param, ctx)
        return stamp


def call(method: str, request: Any, *, long: bool = False) -> Any:
    """The answer of a unary method of the service that the environment names. Raises ClientError, SettingsError."""
    return with_service(lambda service: service.call(method, request, long=long))


def with_service(work: Callable[[EvidenceCaller], Awaitable[Answer]]) -> Answer:
    """What `work` makes of the service that the environment names."""

    async def run() -> Answer:
        async with EvidenceCaller(CallerSettings.from_environment()) as service:
            return await work(service)

    return asyncio.run(run())


def clip_fields(clip: evidence_pb2.Clip) -> dict[str, Any]:
    """A clip, for printing."""
    fields: dict[str, Any] = {
        "clip_id": clip.clip_id,
        "source": clip.source,
        "camera": clip.camera,
        "incident": clip.incident,
        "state": evidence_pb2.ClipState.Name(clip.state).removeprefix("CLIP_STATE_").lower(),
        "event_at": time_text(clip.event_at),
        "asked_from": time_text(clip.asked_from),
        "asked_to": time_text(clip.asked_to),
    }
    for name in ("actual_from", "actual_to", "requested_at", "preserved_at", "retain_until", "disposed_at"):
        fields[name] = time_text(getattr(clip, name)) if clip.HasField(name) else None
    return fields | {
        "requested_by": clip.requested_by,
        "session": clip.session_chain_id or None,
        "gaps": [{"from": time_text(gap.starts_at), "to": time_text(gap.ends_at), "why": gap.why} for gap in clip.gaps],
        "failure": f"{clip.failure.message} [{clip.failure.reason}]" if clip.HasField("failure") else None,
        "held": bool(clip.holds),
        "holds": [hold_fields(hold) for hold in clip.holds],
        "artefacts": [
            {"name": one.name, "size": one.size, "sha256": one.sha256.hex(), "key": one.key} for one in clip.artefacts
        ],
    }


def hold_fields(hold: evidence_pb2.LegalHold) -> dict[str, Any]:
    """A hold, for printing."""
    return {
        "hold_id": hold.hold_id,
        **({"recording_id": hold.recording_id} if hold.recording_id else {"clip_id": hold.clip_id}),
        "reason": hold.reason,
        "placed_by": hold.placed_by,
        "placed_at": time_text(hold.placed_at),
        "lift_reason": hold.lift_reason or None,
        "lifted_by": hold.lifted_by or None,
        "lifted_at": time_text(hold.lifted_at) if hold.HasField("lifted_at") else None,
    }


def print_custody(request: evidence_pb2.GetCustodyRequest, *, as_json: bool) -> None:
    """Who or what did what to a clip or a recording, up to now."""
    document = json.loads(call("GetCustody", request).document)
    if as_json:
        click.echo(json.dumps(document))
        return
    rows = [
        {
            "at": entry["at"],
            "who or what": entry["actor"]["name"],
            "action": entry["action"],
            "object": entry["object"],
            "digest": (entry["digest_after"] or entry["digest_before"] or "")[:16] or None,
        }
        for entry in document["entries"]
    ]
    print_rows(("at", "who or what", "action", "object", "digest"), rows, as_json=False, empty="Nothing yet.")


def print_checks(name: str, answer: Any, checks: Sequence[evidence_pb2.ArtefactCheck], *, as_json: bool) -> None:
    """What reading files back gave; ends with exit code 1 when one is not what it was. `name`: of the list in JSON."""
    rows = [
        {"name": one.name, "ok": one.ok, "sha256": one.expected_sha256.hex(), "problem": one.problem or None}
        for one in checks
    ]
    if as_json:
        click.echo(json.dumps({"ok": answer.ok, "checked_at": time_text(answer.checked_at), name: rows}))
    else:
        print_rows(("name", "ok", "sha256", "problem"), rows, as_json=False, empty="There are no files.")
    if not answer.ok:
        raise SystemExit(REFUSED)


def time_text(stamp: Timestamp) -> str:
    """As documents and events write times."""
    return rfc3339(moment(stamp.ToMicroseconds()))
