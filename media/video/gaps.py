"""Finds the parts of a window that no frame covers, and says why as far as the files tell."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from media.video.plan import Piece
from media.video.values import Gap, GapReason


def gaps(frames: Iterable[tuple[int, int]], starts_at: int, ends_at: int, pieces: Sequence[Piece]) -> tuple[Gap, ...]:
    """The holes between frames (start and end of each, in order) from `starts_at` to `ends_at`.

    A hole shorter than one and a half frames is none: neighbouring files rarely meet to the microsecond.
    """
    least = 3 * max(piece.scan.nominal_us for piece in pieces) // 2
    spans = [(starts_at, starts_at), *frames, (ends_at, ends_at)]
    return tuple(
        Gap(starts_at=end, ends_at=start, why=_why(end, start, pieces))
        for (_, end), (start, _) in pairwise(spans)
        if start - end > least
    )


def _why(starts_at: int, ends_at: int, pieces: Sequence[Piece]) -> GapReason:
    for piece in pieces:
        clock, scan = piece.segment.clock, piece.scan
        if starts_at < piece.utc(scan.keys[0]) <= ends_at and scan.shown[0] < scan.pts[scan.keys[0]]:
            return GapReason.NO_KEYFRAME
        if scan.probe.truncated and starts_at <= clock.utc_of(scan.probe.video.duration_us) <= ends_at:
            return GapReason.TRUNCATED
        if clock.utc_of(scan.shown[0]) < ends_at and starts_at < clock.utc_of(scan.shown[-1]):
            # The file has frames on both sides of the hole or in it.
            return GapReason.OVERLAP_DROPPED if starts_at < piece.limit <= ends_at else GapReason.UNREADABLE
    return GapReason.MISSING
