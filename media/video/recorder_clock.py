"""The wall clock of a live stream: from the camera's RTCP sender reports where they can be believed.

Two clocks are watched against the stream's own timestamps:
- the camera's, from its sender reports (RFC 3550 section 6.4.1), which libav attaches to packets;
- the recorder's, from when packets arrive. The least delayed packet shows it best, so the smallest difference counts;
  what remains is the delay of encoder and network, for which there is a bound.

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
_MAX_ANCHORS = 200

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


class SegmentClock:
    """The clock of one segment. Media times are microseconds after its first picture."""

    def __init__(self) -> None:
        self._arrival: int | None = None  # the smallest difference to media time
        self._camera: int | None = None  # the latest difference that two packets agreed on
        self._last: int | None = None
        self._stepped = False
        self._anchors: list[tuple[int, int]] = []

    def observe(self, media_us: int, *, arrived_at: int, camera_at: int | None) -> None:
        """One packet of video, in the order of their arrival."""
        arrival = arrived_at - media_us
        self._arrival = arrival if self._arrival is None else min(self._arrival, arrival)
        if camera_at is None or self._stepped:
            return
        offset = camera_at - media_us
        agreed = self._last is not None and abs(offset - self._last) <= AGREEMENT_US
        self._last = offset
        if not agreed:
            return
        back = bool(self._anchors) and media_us > self._anchors[-1][0] and media_us + offset <= self._anchors[-1][1]
        if back or (self._camera is not None and abs(offset - self._camera) > STEP_US):
            # The camera's clock was set. What it said before holds for this segment; the next begins with the new one.
            self._stepped = True
            return
        self._camera = offset
        self._add_anchor(media_us, offset)

    def _add_anchor(self, media_us: int, offset: int) -> None:
        if len(self._anchors) >= _MAX_ANCHORS:
            return
        if not self._anchors or media_us - self._anchors[-1][0] >= ANCHOR_EVERY_US:
            self._anchors.append((media_us, media_us + offset))

    def read(self) -> Reading | None:
        """The clock as far as it is known; None before the first packet."""
        if self._arrival is None:
            return None
        difference = None if self._camera is None else self._camera - self._arrival
        if difference is not None and abs(difference) <= ARRIVAL_ERROR_US:
            clock = ClockMap(
                anchors=tuple(self._anchors),
                error_us=max(RTCP_ERROR_US, abs(difference)),
                source=ClockSource.RTCP,
            )
        else:
            clock = ClockMap(anchors=((0, self._arrival),), error_us=ARRIVAL_ERROR_US, source=ClockSource.ARRIVAL)
        return Reading(clock=clock, camera_offset_us=difference)
