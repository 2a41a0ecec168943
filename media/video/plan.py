"""Decides what of which file goes where, before anything is written.

1. Files stand in the order of their first keyframe; what comes before it cannot be shown.
2. A file that ends before the one before it does brings nothing new and is left out.
3. Where two overlap, the later one counts from its first keyframe on.
4. The clip shows every frame f of the rest with asked_from <= f < asked_to.
5. The native copy goes from the keyframe at or before asked_from to the first frame at or after asked_to.
6. The native copy starts a new file where the camera's codec parameters change: players and courts' tools trust the
   parameters at the start of a track. It also does where sound that cannot be timed (PCM) would run out of step.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from ledger.timestamps import moment, rfc3339
from media.errors import MediaError, Reason
from media.video.parameters import ParameterSets
from media.video.reading import SECOND
from media.video.scan import ParameterChange, Scan
from media.video.values import ClockMap, ClockSource, Segment, Window

# Further apart than this, and than ten frames, two frames of one file have a hole between them.
_LONGEST_FRAME_US: Final = 2 * SECOND
_LONGEST_FRAMES: Final = 10
# Sound and picture this far apart are noticed (ITU-R BT.1359: 45 to 125 ms).
_OUT_OF_STEP_US: Final = SECOND // 10
# Frames are shown in another order than they are decoded, but no further apart than this (H.264, A.3.1; H.265, A.4.1).
_MOST_REORDERED: Final = 16
FOR_EVER: Final = 1 << 62
# Beyond so many native files nobody can look at them all; see also scan.py.
MOST_PARTS: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """The part of one file that the window needs. Times are UTC; `shown_from <= frame < shown_to` is in the clip."""

    segment: Segment
    scan: Scan
    shown_from: int
    shown_to: int
    limit: int  # where the next file takes over
    decode_first: int  # index of the packet with which decoding begins
    native_first: int
    native_stop: int

    def utc(self, index: int) -> int:
        """When the frame of this packet is shown."""
        return self.segment.clock.utc_of(self.scan.pts[index])

    def frames(self) -> Iterator[tuple[int, int]]:
        """Start and end of every frame of the clip."""
        utc_of = self.segment.clock.utc_of
        first = bisect_left(self.scan.shown, self.shown_from, key=utc_of)
        for position in self.scan.shown[first : bisect_left(self.scan.shown, self.shown_to, key=utc_of)]:
            yield utc_of(position), self.end_of(position)

    def end_of(self, position: int) -> int:
        """Until when the frame at this position is shown."""
        end = self.scan.frame_end(position)
        if end - position > max(_LONGEST_FRAME_US, _LONGEST_FRAMES * self.scan.nominal_us):
            end = position + self.scan.nominal_us
        return min(self.segment.clock.utc_of(end), self.limit)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Packets [first, stop) of a file, which share their codec parameters."""

    piece: Piece
    first: int
    stop: int
    sets: ParameterSets
    extradata: bytes | None
    reframe: bool

    @property
    def kind(self) -> tuple[object, ...]:
        """One track can hold two stretches of the same kind."""
        scan = self.piece.scan
        video = scan.probe.video
        framing = None if self.reframe else scan.unit_length
        parameters = self.sets or self.extradata
        return video.codec, video.width, video.height, parameters, framing, scan.probe.audio, scan.audio_extradata


def plan(scanned: Sequence[tuple[Segment, Scan]], window: Window) -> list[Piece]:
    """What the window needs, in order. Raises MediaError OUTSIDE_FOOTAGE when not one frame lies in it."""
    ordered = _without_contained(scanned)
    starts = [_first_shown(segment, found) for segment, found in ordered]
    limits = [*starts[1:], FOR_EVER]
    pieces = []
    for (segment, found), start, limit in zip(ordered, starts, limits, strict=True):
        piece = _piece(segment, found, window, start, limit)
        if piece is not None:
            pieces.append(piece)
    if not pieces:
        raise _outside(ordered, starts)
    return pieces


def whole(path: Path, found: Scan, first_at: int) -> Piece:
    """All of a file whose first frame is shown at `first_at`, on whatever clock that is."""
    clock = ClockMap(anchors=((0, first_at),), error_us=0, source=ClockSource.FILE_INFO)
    ends_at = first_at + found.probe.video.duration_us
    segment = Segment(path=path, clock=clock, starts_at=first_at, ends_at=ends_at, source_name=path.name, sha256=None)
    # Not to the limits themselves, which are those of a file that nothing follows.
    everything = Window(asked_from=-FOR_EVER // 2, asked_to=FOR_EVER // 2, event_at=first_at)
    (piece,) = plan([(segment, found)], everything)
    return piece


def stretches(pieces: Sequence[Piece]) -> list[list[Stretch]]:
    """The native files, each a list of what it is made of."""
    parts: list[list[Stretch]] = []
    for piece in pieces:
        for stretch in _stretches_of(piece):
            if parts and parts[-1][-1].kind == stretch.kind and not _drifts([*parts[-1], stretch]):
                parts[-1].append(stretch)
            else:
                parts.append([stretch])
    if len(parts) > MOST_PARTS:
        message = f"the video changes its codec parameters more than {MOST_PARTS} times in the window"
        raise MediaError(Reason.TOO_LARGE, message)
    return parts


def stretch_of_clip(piece: Piece, *, is_last: bool) -> Stretch | None:
    """The packets of exactly the frames the clip shows, or None when no such run of packets exists.

    It must begin with a keyframe. The last one may hold one frame more: the order of decoding may need it.
    """
    scan = piece.scan
    inside = [index for index, _ in enumerate(scan.pts) if piece.shown_from <= piece.utc(index) < piece.shown_to]
    inside = [index for index in inside if index not in scan.hidden]
    if not inside:
        return None
    first, stop = inside[0], inside[-1] + 1
    begins = first in scan.keys and scan.pts[first] == min(scan.pts[index] for index in inside)
    if not begins or stop - first - len(inside) > int(is_last) or any(change.index < stop for change in scan.changes):
        return None
    return Stretch(piece=piece, first=first, stop=stop, sets=scan.sets, extradata=None, reframe=False)


def _without_contained(scanned: Sequence[tuple[Segment, Scan]]) -> list[tuple[Segment, Scan]]:
    kept: list[tuple[Segment, Scan]] = []
    reached = -FOR_EVER
    # Of two that start together the longer one comes first, so that it is the one kept.
    for segment, found in sorted(scanned, key=lambda pair: (_first_shown(*pair), -_end(*pair))):
        if _end(segment, found) > reached:
            kept.append((segment, found))
            reached = _end(segment, found)
    return kept


def _first_shown(segment: Segment, found: Scan) -> int:
    return segment.clock.utc_of(max(0, found.pts[found.keys[0]]))


def _end(segment: Segment, found: Scan) -> int:
    return segment.clock.utc_of(found.probe.video.duration_us)


def _piece(segment: Segment, found: Scan, window: Window, start: int, limit: int) -> Piece | None:
    utc_of = segment.clock.utc_of
    shown_from, shown_to = max(window.asked_from, start), min(window.asked_to, limit)
    first = bisect_left(found.shown, shown_from, key=utc_of)
    if first >= len(found.shown) or utc_of(found.shown[first]) >= shown_to:
        return None
    native_first = _last_key(segment, found, max(window.asked_from, start))
    return Piece(
        segment=segment,
        scan=found,
        shown_from=shown_from,
        shown_to=shown_to,
        limit=limit,
        decode_first=_last_key(segment, found, utc_of(found.shown[first])),
        native_first=native_first,
        native_stop=_native_stop(segment, found, window, limit, native_first),
    )


def _last_key(segment: Segment, found: Scan, at: int) -> int:
    fitting = [index for index in found.keys if segment.clock.utc_of(found.pts[index]) <= at]
    return fitting[-1] if fitting else found.keys[0]


def _native_stop(segment: Segment, found: Scan, window: Window, limit: int, first: int) -> int:
    utc_of = segment.clock.utc_of
    count = len(found.pts)
    if limit < utc_of(found.shown[-1]) and limit <= window.asked_to:
        # The next file takes over. Frames that come later in decoding order may need the one that is left out.
        return next((index for index in range(first, count) if utc_of(found.pts[index]) >= limit), count)
    after = bisect_left(found.shown, window.asked_to, key=utc_of)
    if after >= len(found.shown):
        return count
    # That frame, and whatever must be decoded before it; then the frames shown before those, so that none is missing.
    stop, last = first, found.shown[after]
    for _ in range(_MOST_REORDERED):
        further = next((index for index in range(count, stop, -1) if found.pts[index - 1] <= last), stop)
        if further == stop:
            break
        stop, last = further, max(found.pts[first:further])
    return stop


def _stretches_of(piece: Piece) -> Iterator[Stretch]:
    scan = piece.scan
    before = [change for change in scan.changes if change.index <= piece.native_first]
    within = [change for change in scan.changes if piece.native_first < change.index < piece.native_stop]
    bounds = [piece.native_first, *(change.index for change in within), piece.native_stop]
    origins: list[ParameterChange | None] = [before[-1] if before else None, *within]
    for change, (first, stop) in zip(origins, pairwise(bounds), strict=True):
        yield Stretch(
            piece=piece,
            first=first,
            stop=stop,
            sets=scan.sets if change is None else change.sets,
            extradata=None if change is None else change.extradata,
            reframe=change is not None and change.reframe,
        )


def _drifts(part: Sequence[Stretch]) -> bool:
    # The containers that hold PCM count its samples and have no times for them: after a gap the sound would be early.
    audio = part[0].piece.scan.probe.audio
    if audio is None or not audio.codec.startswith("pcm_"):
        return False
    holes = (after.piece.utc(after.first) - _ends_at(before) for before, after in pairwise(part))
    return abs(sum(holes)) > _OUT_OF_STEP_US


def _ends_at(stretch: Stretch) -> int:
    return stretch.piece.end_of(max(stretch.piece.scan.pts[stretch.first : stretch.stop]))


def _outside(ordered: Sequence[tuple[Segment, Scan]], starts: Sequence[int]) -> MediaError:
    covers_from, covers_to = rfc3339(moment(starts[0])), rfc3339(moment(_end(*ordered[-1])))
    message = f"no frame of the footage lies in the window; the footage goes from {covers_from} to {covers_to}"
    return MediaError(Reason.OUTSIDE_FOOTAGE, message, {"covers_from": covers_from, "covers_to": covers_to})
