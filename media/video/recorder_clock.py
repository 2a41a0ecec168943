"""The wall clock of a live stream: from the camera's RTCP sender reports where they can be believed.

Two clocks are watched against the stream's own timestamps:
- the camera's, from its sender reports (RFC 3550 section 6.4.1), which libav attaches to packets;
- the recorder's, from when packets arrive, measured on its monotonic clock, which nobody sets. The least delayed packet
  of the last minute shows it best, so the smallest difference counts; what remains is the delay of encoder and network,
  for which there is a bound. Packets that libav gathered while it opened the stream came earlier than they were read:
  until a later one has come, the time the opening took is added to the bound.

The recorder's machine is expected to keep time (NTP). A camera whose reports differ from it by more than that bound
tells the wrong time: then the arrival counts, and the camera's offset is only noted.
"""

import struct
from dataclasses import dataclass

from media.video.values import ClockMap, ClockSource

# Delay of encoder, network and a stalled reader's buffers, once the least delayed packet is taken.
ARRIVAL_ERROR_US = 2_000_000
# A sender report is exact to a millisecond or so; cameras stamp frames up to some frames after the light.
RTCP_ERROR_US = 100_000
# Two packets in a row must agree on the camera's time: libav's first stamp after a report can be one picture early.
AGREEMENT_US = 20_000
# The camera's clock is steered, not set, as long as its offset moves by less between two packets.
STEP_US = 200_000
ANCHOR_EVERY_US = 5_000_000
# How long an arrival counts. Camera clocks drift from it by less than 0.1 s in that time.
REMEMBERED_US = 60_000_000
_MAX_ANCHORS = 200
_MAX_SEGMENTS = 100

# AVProducerReferenceTime of libavutil: microseconds since 1970, then flags.
_REFERENCE_TIME = struct.Struct("=q")


def reference_time(side_data: bytes) -> int | None:
    """The wall time that libav attached to a packet, from the camera's sender reports; None if it is unusable."""
    if len(side_data) < _REFERENCE_TIME.size:
        return None
    (wall_clock,) = _REFERENCE_TIME.unpack_from(side_data)
    return int(wall_clock)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a clock says about a segment."""

    clock: ClockMap
    camera_offset_us: int | None


class CameraClock:
    """The clocks of one connection, read segment by segment.

    Times of the stream are microseconds on its timeline; arrivals are microseconds on the recorder's monotonic clock.
    """

    def __init__(self, *, opening_us: int) -> None:
        """`opening_us`: how long it took to open the stream."""
        self._opening_us = opening_us
        self._began_us: int | None = None
        self._latest_us = 0
        self._is_live = False  # a packet has come that cannot have waited since the opening
        self._arrival: int | None = None  # the smallest difference to the stream's time, of this segment
        self._arrivals_before: list[tuple[int, int]] = []  # the same of earlier ones, each with its latest time
        self._camera: int | None = None  # the latest difference that two packets agreed on
        self._last: int | None = None
        self._stepped = False
        self._anchors: list[tuple[int, int]] = []

    def begin_segment(self) -> None:
        """What comes now belongs to another segment. What is known of the clocks stays known."""
        if self._arrival is not None:
            self._arrivals_before.append((self._latest_us, self._arrival))
            self._arrival = None
        self._arrivals_before = [
            one for one in self._arrivals_before[-_MAX_SEGMENTS:] if self._latest_us - one[0] <= REMEMBERED_US
        ]
        if self._stepped:
            self._camera, self._stepped = None, False
        self._anchors = []

    def observe(self, stream_us: int, *, arrived_at: int, camera_at: int | None) -> None:
        """One packet of video, in the order of their arrival."""
        if self._began_us is None:
            self._began_us = stream_us
        self._latest_us = stream_us
        self._is_live = self._is_live or stream_us - self._began_us > self._opening_us
        arrival = arrived_at - stream_us
        self._arrival = arrival if self._arrival is None else min(self._arrival, arrival)
        if camera_at is not None and not self._stepped:
            self._hear(stream_us, camera_at)

    def _hear(self, stream_us: int, camera_at: int) -> None:
        offset = camera_at - stream_us
        agreed = self._last is not None and abs(offset - self._last) <= AGREEMENT_US
        self._last = offset
        if not agreed:
            return
        if self._anchors and self._is_set(stream_us, offset):
            # The camera's clock was set. What it said before holds for this segment; the next begins with the new one.
            self._stepped = True
            return
        self._camera = offset
        if len(self._anchors) < _MAX_ANCHORS and (
            not self._anchors or stream_us - self._anchors[-1][0] >= ANCHOR_EVERY_US
        ):
            self._anchors.append((stream_us, stream_us + offset))

    def _is_set(self, stream_us: int, offset: int) -> bool:
        anchor_us, anchor_at = self._anchors[-1]
        runs_back = stream_us > anchor_us and stream_us + offset <= anchor_at
        return runs_back or (self._camera is not None and abs(offset - self._camera) > STEP_US)

    def read(self, first_us: int, *, epoch: int) -> Reading | None:
        """The clock of the segment whose first picture stands at `first_us`; None before its first packet.

        `epoch`: the wall time at which the monotonic clock stood at zero.
        """
        if self._arrival is None:
            return None
        arrival = epoch + min([self._arrival, *(one for _, one in self._arrivals_before)])
        arrival_error = ARRIVAL_ERROR_US if self._is_live else ARRIVAL_ERROR_US + self._opening_us
        difference = None if self._camera is None else self._camera - arrival
        anchors = [(at - first_us, utc) for at, utc in self._anchors]
        if not anchors and self._camera is not None:
            anchors = [(0, first_us + self._camera)]
        # A steered clock must have been right all the time, not only at last.
        worst = max((abs(utc - media - first_us - arrival) for media, utc in anchors), default=0)
        if difference is not None and max(worst, abs(difference)) <= arrival_error:
            error = max(RTCP_ERROR_US, worst, abs(difference))
            clock = ClockMap(anchors=tuple(anchors), error_us=error, source=ClockSource.RTCP)
        else:
            clock = ClockMap(anchors=((0, first_us + arrival),), error_us=arrival_error, source=ClockSource.ARRIVAL)
        return Reading(clock=clock, camera_offset_us=difference)
