"""What is reported, and what becomes of a report on its way when it is to be lost, doubled, forged or late."""

import secrets
import time
from collections.abc import Iterator

from livekit.protocol.egress import EgressInfo
from livekit.protocol.models import ParticipantInfo, TrackInfo
from livekit.protocol.webhook import WebhookEvent

from sandbox.livekit.faults import EgressFaults
from sandbox.livekit.webhooks import Delivery, forgeries_of
from sandbox.livekit.world import Member, RoomState


def about_room(
    name: str, room: RoomState, member: Member | None = None, track: TrackInfo | None = None
) -> WebhookEvent:
    """A report about a room, and whoever or whatever in it."""
    event = _new(name)
    event.room.CopyFrom(room.info)
    if member is not None and track is not None:
        # As LiveKit: with a track comes no more of its participant than this.
        event.participant.CopyFrom(ParticipantInfo(sid=member.info.sid, identity=member.info.identity))
        event.track.CopyFrom(track)
    elif member is not None:
        event.participant.CopyFrom(member.info)
    return event


def about_egress(name: str, info: EgressInfo) -> WebhookEvent:
    """A report about a recording."""
    event = _new(name)
    event.egress_info.CopyFrom(info)
    return event


def as_misreported(delivery: Delivery, faults: EgressFaults, held: list[Delivery], api_key: str) -> Iterator[Delivery]:
    """What is sent in place of `delivery`; `held` keeps what is to come later."""
    ends = delivery.event == "egress_ended"
    if faults.replayed or (faults.out_of_order and not ends):
        held.append(delivery)
    if ends and faults.forged:
        yield from forgeries_of(delivery, api_key)
    if delivery.event not in faults.lost and (ends or not faults.out_of_order):
        yield delivery
        if delivery.event in faults.duplicated:
            yield delivery
    if ends and faults.out_of_order:
        yield from (one for one in held if one.event not in faults.lost and one is not delivery)
    if ends and faults.replayed:
        yield held[0]


def _new(name: str) -> WebhookEvent:
    return WebhookEvent(event=name, id=f"EV_{secrets.token_hex(6)}", created_at=int(time.time()))
