"""A double of LiveKit and its egress: the real wire, rooms that tests fill, recordings that go wrong on command.

What it does as the real one does
- RoomService and Egress over Twirp: protobuf of `livekit-protocol` or its JSON form, tokens (HS256) and their grants
  checked on each call, Twirp's errors, plain 401 for a token that is none.
- Rooms with participants, tracks and attributes; who reconnects has the same identity and another sid; who joins under
  an identity that is there puts the other out.
- Participant and room composite egress into one MP4 file: a repeated start records twice, the states follow each other,
  the end comes with a stop, when the participant leaves or the room is closed; a stop of what has ended is refused;
  secrets are not shown to who lists; upload to S3 with the credentials of the request or its own.
- Reports (webhooks) as signed JSON, with ids and times, in order, tried again.

What it does not do
- No WebRTC: nobody can connect to it, and what it films is a test picture that tells its time and whose it is.
- It does not load the page of a room composite: it shows whom our page would show, by the same attributes and geometry.
- No Redis, no other kinds of egress, ingress, SIP, agents or regions; no limits on rooms or participants; a room stays
  open until it is closed. An egress becomes active at once, and files are as long as its clock says.
- One queue of reports, where LiveKit has one for each room and recording; pauses between tries are shorter.
"""

from sandbox.livekit.double import LiveKitDouble
from sandbox.livekit.faults import ApiFaults, EgressFaults, Outcome, Upload
from sandbox.livekit.film import Filming, UnreadableMarkerError, cut_tile, read_marker, tone_of
from sandbox.livekit.receiver import ReportReceiver
from sandbox.livekit.rooms import LiveKitRoom
from sandbox.livekit.running import LiveKitError, LiveKitSandbox, start_livekit
from sandbox.livekit.storage import S3Target
from sandbox.livekit.webhooks import Delivery

__all__ = [
    "ApiFaults",
    "Delivery",
    "EgressFaults",
    "Filming",
    "LiveKitDouble",
    "LiveKitError",
    "LiveKitRoom",
    "LiveKitSandbox",
    "Outcome",
    "ReportReceiver",
    "S3Target",
    "UnreadableMarkerError",
    "Upload",
    "cut_tile",
    "read_marker",
    "start_livekit",
    "tone_of",
]
