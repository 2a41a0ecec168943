"""What the commands that call a running evidence service have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.evidence.v1 import evidence_pb2

from ledger.timestamps import moment, rfc3339
from media.calling import EvidenceCaller
from media.settings import CallerSettings

Answer = TypeVar("Answer")

clip_argument = click.argument("clip_id", metavar="CLIP")


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
        "clip_id": hold.clip_id,
        "reason": hold.reason,
        "placed_by": hold.placed_by,
        "placed_at": time_text(hold.placed_at),
        "lift_reason": hold.lift_reason or None,
        "lifted_by": hold.lifted_by or None,
        "lifted_at": time_text(hold.lifted_at) if hold.HasField("lifted_at") else None,
    }


def time_text(stamp: Timestamp) -> str:
    """As documents and events write times."""
    return rfc3339(moment(stamp.ToMicroseconds()))
