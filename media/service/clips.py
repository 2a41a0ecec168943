"""Asking for clips, and reading what is on record of them."""

from uuid import UUID

from indelible.evidence.v1 import evidence_pb2

from ledger.identity import Caller
from ledger.serving.paging import page_size, read_page_token, write_page_token
from media.clips.request import Wish, request_clip
from media.clips.sources import Sources
from media.errors import MediaError, Reason
from media.ledgers import Ledgers
from media.records.records import Records
from media.records.values import ClipFilter
from media.service.convert import (
    STATES_OF,
    clip_message,
    identifier,
    optional_seconds,
    optional_time,
    required_time,
)
from media.storage.keys import check_identifier

MAX_STATES = 8


def wish_of(message: evidence_pb2.ClipExtractionRequest, within: str = "") -> Wish:
    """What an extraction request says; `within` is where it stands. Raises MediaError (INVALID_ARGUMENT)."""
    return Wish(
        source_id=message.source,
        incident_id=message.incident,
        event_at=required_time(message, "event_at", f"{within}event_at"),
        before_seconds=optional_seconds(message, "before", f"{within}before"),
        after_seconds=optional_seconds(message, "after", f"{within}after"),
        session_chain_id=message.session_chain_id or None,
    )


class Clips:
    """The handlers about clips."""

    def __init__(self, records: Records, sources: Sources, ledgers: Ledgers) -> None:
        self._records = records
        self._sources = sources
        self._ledgers = ledgers

    async def request_extraction(
        self, request: evidence_pb2.RequestExtractionRequest, caller: Caller
    ) -> evidence_pb2.RequestExtractionResponse:
        """Ask for a clip; the answer does not wait for it."""
        wish = wish_of(request.extraction, "extraction.")
        clip, created = await request_clip(
            self._records, self._sources, self._ledgers, caller.organisation_id, wish, by=caller.subject
        )
        return evidence_pb2.RequestExtractionResponse(clip=clip_message(clip), created=created)

    async def get_clip(self, request: evidence_pb2.GetClipRequest, caller: Caller) -> evidence_pb2.GetClipResponse:
        """One clip."""
        clip = await self._records.get_clip(caller.organisation_id, identifier(request.clip_id, "clip_id"))
        return evidence_pb2.GetClipResponse(clip=clip_message(clip))

    async def list_clips(
        self, request: evidence_pb2.ListClipsRequest, caller: Caller
    ) -> evidence_pb2.ListClipsResponse:
        """A page of the organisation's clips."""
        wanted = _filter_of(request)
        size = page_size(request.page_size)
        question = ("ListClips", caller.organisation_id, repr(wanted))
        position = read_page_token(request.page_token, question, (str, str))
        after = None if position is None else _position_of(position)
        clips = await self._records.list_clips(caller.organisation_id, wanted, after=after, limit=size + 1)
        more = len(clips) > size
        last = clips[size - 1] if more else None
        return evidence_pb2.ListClipsResponse(
            clips=[clip_message(clip) for clip in clips[:size]],
            next_page_token=write_page_token(question, [str(last.event_at), str(last.clip_id)]) if last else "",
        )


def _filter_of(request: evidence_pb2.ListClipsRequest) -> ClipFilter:
    if len(request.states) > MAX_STATES:
        raise MediaError(Reason.INVALID_ARGUMENT, f"at most {MAX_STATES} states", {"field": "states"})
    unknown = [state for state in request.states if state not in STATES_OF]
    if unknown:
        raise MediaError(Reason.INVALID_ARGUMENT, "a state is not one of the contract", {"field": "states"})
    return ClipFilter(
        camera_id=check_identifier(request.camera, "camera") if request.camera else None,
        incident_id=check_identifier(request.incident, "incident") if request.incident else None,
        states=tuple(sorted({STATES_OF[state] for state in request.states})) or None,
        event_from=optional_time(request, "event_from", "event_from"),
        event_to=optional_time(request, "event_to", "event_to"),
        held=request.held if request.HasField("held") else None,
    )


def _position_of(position: list[str | int]) -> tuple[int, UUID]:
    try:
        return int(position[0]), UUID(str(position[1]))
    except ValueError:
        raise MediaError(
            Reason.INVALID_ARGUMENT, "page_token does not belong to this list", {"field": "page_token"}
        ) from None
