"""Places segments in wall time: what tells each one's clock, how far it may be wrong, and how neighbours meet.

Of the clocks that a segment may have, the best is taken:
1. the recorder's sidecar: anchors from RTCP, or from when the packets arrived;
2. its name, by the source's pattern;
3. the creation time in its container, which may be that of its beginning or of its end: told apart by when the file
   was written, else the whole length of the segment is in the bound;
4. when it was last written, less its length: copying a file changes that, so the bound is the largest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from media.clips.naming import NamedTime
from media.clips.shelves import Fetched, Listed
from media.clips.sources import Source
from media.clips.window import EARLIEST_EVENT
from media.video.recorder_sidecar import Sidecar
from media.video.values import ClockMap, ClockSource, Gap, GapReason, Probe, Segment, Window

_MICROSECONDS = 1_000_000
# Creation times are in whole seconds.
_CREATION_RESOLUTION_US = _MICROSECONDS
# A file is written for some seconds more than its footage lasts.
_WRITTEN_WITHIN_US = 5 * _MICROSECONDS
_MODIFIED_ERROR_US = 300 * _MICROSECONDS
# Neighbours that miss or overlap each other by less meet; but never by more than this, however bad their clocks.
_LONGEST_JOIN_US = 3 * _MICROSECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Acquired:
    """A local copy of a segment, and what was found in it."""

    listed: Listed
    named: NamedTime | None
    sidecar: Sidecar | None
    fetched: Fetched
    path: Path
    probe: Probe


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A segment in wall time. `ends_at` is exclusive."""

    acquired: Acquired
    clock: ClockMap

    @property
    def starts_at(self) -> int:
        """When its first frame was taken."""
        return self.clock.utc_of(0)

    @property
    def ends_at(self) -> int:
        """When its last frame ended."""
        return self.clock.utc_of(self.acquired.probe.video.duration_us)

    @property
    def frame_us(self) -> int:
        """How long a frame lasts, on average."""
        video = self.acquired.probe.video
        return video.duration_us // max(1, video.frames)

    def as_segment(self) -> Segment:
        """What the cutter needs of it."""
        return Segment(
            path=self.acquired.path,
            clock=self.clock,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            source_name=self.acquired.listed.name,
            sha256=self.acquired.fetched.sha256,
        )


def place(source: Source, acquired: Acquired) -> Placed:
    """Give the segment the best clock there is."""
    return Placed(acquired=acquired, clock=_clock(source, acquired))


def _clock(source: Source, acquired: Acquired) -> ClockMap:
    if acquired.sidecar is not None:
        return acquired.sidecar.clock
    duration = acquired.probe.video.duration_us
    written = acquired.fetched.modified_at
    if acquired.named is not None:
        starts_at, ambiguity = acquired.named.settle(duration, written)
        error = source.clock_error_us + acquired.named.resolution_us + ambiguity
        return ClockMap(anchors=((0, starts_at),), error_us=error, source=ClockSource.FILE_NAME)
    return clock_of_file(acquired.probe, written, source.clock_error_us)


def clock_of_file(probe: Probe, written: int, error: int) -> ClockMap:
    """The clock of a file whose name tells none: its creation time, else when it was last written.

    `error` is how wrong the clock may be that either comes from.
    """
    duration, created = probe.video.duration_us, probe.created_at
    if created is not None and EARLIEST_EVENT <= created <= written + _WRITTEN_WITHIN_US:
        return _creation_clock(created, duration, written, error + _CREATION_RESOLUTION_US)
    return ClockMap(
        anchors=((0, written - duration),), error_us=error + _MODIFIED_ERROR_US, source=ClockSource.MODIFIED_AT
    )


def _creation_clock(created: int, duration: int, written: int, error: int) -> ClockMap:
    starts_at = created
    if abs(created - written) <= _WRITTEN_WITHIN_US < duration:
        starts_at = created - duration
    elif abs(created + duration - written) > _WRITTEN_WITHIN_US:
        error += duration
    return ClockMap(anchors=((0, starts_at),), error_us=error, source=ClockSource.FILE_INFO)


def arrange(placed: Sequence[Placed]) -> tuple[list[Placed], list[str]]:
    """The segments in order, without those that show nothing of their own, neighbours joined; and what was done.

    Joined are segments that miss or overlap each other by less than their clocks may be wrong: the later one's clock
    is moved to where the earlier one ends, and its error bound grows by as much.
    """
    notes: list[str] = []
    arranged: list[Placed] = []
    digests: set[str] = set()
    as_told: Placed | None = None  # the last one arranged, before it was moved
    for segment in sorted(placed, key=lambda one: (one.starts_at, -one.ends_at, one.acquired.listed.name)):
        name, digest = segment.acquired.listed.name, segment.acquired.fetched.sha256
        if digest in digests:
            notes.append(f"{name} was left out: it holds the same bytes as another segment")
            continue
        joined = _joined(arranged[-1], as_told, segment) if arranged and as_told else segment
        if arranged and joined.ends_at <= arranged[-1].ends_at:
            notes.append(f"{name} was left out: {arranged[-1].acquired.listed.name} shows all of its time")
            continue
        digests.add(digest)
        arranged.append(joined)
        as_told = segment
    return arranged, notes


def _joined(earlier: Placed, earlier_as_told: Placed, later: Placed) -> Placed:
    lost = later.acquired.sidecar is not None and later.acquired.sidecar.lost_before is not None
    most = min(later.clock.error_us, _LONGEST_JOIN_US)
    if lost or abs(earlier_as_told.ends_at - later.starts_at) > most:
        return later
    # Small holes may add up to more than a clock can be wrong; then it is moved as far as that.
    shift = max(-most, min(earlier.ends_at - later.starts_at, most))
    clock = replace(
        later.clock,
        anchors=tuple((media, utc + shift) for media, utc in later.clock.anchors),
        error_us=later.clock.error_us + abs(shift),
    )
    return replace(later, clock=clock)


def needed(arranged: Sequence[Placed], window: Window) -> list[Placed]:
    """The segments that show something of the window, and those before that its first pictures depend on."""
    chosen = [one for one in arranged if one.ends_at > window.asked_from and one.starts_at < window.asked_to]
    if not chosen:
        return []
    first = arranged.index(chosen[0])
    # A segment need not begin with a keyframe: what it shows until its first one hangs on the segment before.
    while first > 0 and depends_on_earlier(arranged[first], window) and _touches(arranged[first - 1], arranged[first]):
        first -= 1
        chosen.insert(0, arranged[first])
    return chosen


def depends_on_earlier(segment: Placed, window: Window) -> bool:
    """Whether the first pictures it shows of the window come before its first keyframe."""
    keyframes = segment.acquired.probe.video.keyframes
    return not keyframes or segment.clock.utc_of(keyframes[0]) > max(window.asked_from, segment.starts_at)


def _touches(earlier: Placed, later: Placed) -> bool:
    return later.starts_at - earlier.ends_at <= 2 * earlier.frame_us


def find_gaps(
    window: Window, arranged: Sequence[Placed], unreadable: Sequence[int], newest_at: int | None
) -> list[Gap]:
    """The parts of the window without footage. `unreadable`: when segments begin that could not be read.

    A hole of less than one and a half frames is none. What lies beyond the newest footage is not recorded yet.
    """
    shown = [one for one in arranged if one.ends_at > window.asked_from and one.starts_at < window.asked_to]
    tolerance = max((3 * one.frame_us // 2 for one in shown), default=0)
    gaps = []
    covered_to = window.asked_from
    spans = [(one.starts_at, one.ends_at) for one in shown] + [(window.asked_to, window.asked_to)]
    for place_in_order, (starts_at, ends_at) in enumerate(spans):
        if starts_at - covered_to > tolerance:
            before = shown[place_in_order - 1] if place_in_order else None
            why = _why_missing(covered_to, starts_at, before, unreadable, newest_at)
            gaps.append(Gap(starts_at=covered_to, ends_at=starts_at, why=why))
        covered_to = max(covered_to, ends_at)
    return gaps


def _why_missing(
    starts_at: int, ends_at: int, before: Placed | None, unreadable: Sequence[int], newest_at: int | None
) -> GapReason:
    if before is not None and before.acquired.probe.truncated:
        return GapReason.TRUNCATED
    if any(starts_at - _LONGEST_JOIN_US <= at < ends_at for at in unreadable):
        return GapReason.UNREADABLE
    if newest_at is None or newest_at <= starts_at + _LONGEST_JOIN_US:
        return GapReason.NOT_YET_RECORDED
    return GapReason.MISSING
