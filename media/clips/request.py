"""Asking for a clip: what every way in (gRPC, NATS) does."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from media.clips.events import requested_notes
from media.clips.relay import relay_chain
from media.clips.sources import Sources
from media.errors import MediaError, Reason
from media.ledgers import Ledgers
from media.records.records import Records
from media.records.values import Clip, ExtractionRequest
from media.storage.keys import check_identifier

# The ledger's rule for chains (docs/guides/api.md).
MAX_CHAIN_CHARACTERS = 64
# Whoever raises an alert must not wait for a ledger that is away.
TELL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What somebody asks to be preserved; `event_at` in microseconds since 1970. None takes the source's default."""

    source_id: str
    incident_id: str
    event_at: int
    before_seconds: int | None = None
    after_seconds: int | None = None
    session_chain_id: str | None = None


async def request_clip(  # noqa: PLR0913 - who asks whom for what
    records: Records, sources: Sources, ledgers: Ledgers, organisation_id: str, wish: Wish, *, by: str
) -> tuple[Clip, bool]:
    """The clip of this source and incident, and whether it is a new one. Returns after the commit.

    A session that was named is told at once, so that it waits for the clip when it ends; a ledger that is away is told
    later. The first request decides: the same source and incident give the same clip for ever, whatever else is asked.
    Raises MediaError: INVALID_ARGUMENT, SOURCE_NOT_FOUND (also for another organisation's), IDEMPOTENCY_CONFLICT.
    """
    check_identifier(wish.source_id, "source")
    check_identifier(wish.incident_id, "incident")
    chain_id = wish.session_chain_id
    if chain_id is not None and not is_chain_id(chain_id):
        raise MediaError(
            Reason.INVALID_ARGUMENT,
            f"session_chain_id must be 1 to {MAX_CHAIN_CHARACTERS} of a-z, 0-9 and '-', and not the operations chain",
            {"field": "session_chain_id"},
        )
    source = sources.find(organisation_id, wish.source_id)
    window = sources.window(source, wish.event_at, before_seconds=wish.before_seconds, after_seconds=wish.after_seconds)
    clip, created = await records.request(
        ExtractionRequest(
            organisation_id=organisation_id,
            source_id=source.source_id,
            camera_id=source.camera_id,
            incident_id=wish.incident_id,
            event_at=wish.event_at,
            asked_from=window.asked_from,
            asked_to=window.asked_to,
            session_chain_id=chain_id,
            requested_by=by,
            requested_at=time.time_ns() // 1000,
        ),
        requested_notes,
    )
    if created and chain_id is not None:
        with contextlib.suppress(TimeoutError, MediaError):
            async with asyncio.timeout(TELL_SECONDS):
                await relay_chain(records, ledgers, organisation_id, chain_id)
    return clip, created


def is_chain_id(text: str) -> bool:
    """Whether a session's chain may be called so."""
    allowed = text.replace("-", "").isalnum() and text.isascii() and text == text.lower()
    return allowed and 1 <= len(text) <= MAX_CHAIN_CHARACTERS and text.strip("-") == text and text != "operations"
