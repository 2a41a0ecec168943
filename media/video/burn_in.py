"""Makes a recording's file out of a raw one: strokes burned in, H.264 and AAC in MP4, every time kept.

1. Read the whole file without decoding (media/video/scan.py); find its time zero (media/video/timing.py).
2. A file within policy on which nothing is drawn is copied, where the organisation keeps such files as they are.
3. Else every picture is turned upright, painted and encoded at its own time; AAC is copied, other sound encoded.
4. Read the new file back and compare it with what was written.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from av.video.frame import VideoFrame

from media.errors import MediaError, Reason
from media.video.check import Expected, check_video
from media.video.encoding import recording_encoder, tool
from media.video.frames import Upright
from media.video.movie import MovieWriter
from media.video.placing import Rect, rects_at
from media.video.plan import FOR_EVER, Piece, whole
from media.video.recording_values import DEFAULT_ENCODING, Encoded, EncodingSettings, Placing
from media.video.remux import copy_recording, is_within_policy
from media.video.scan import scan
from media.video.showing import Heard, Player, Shown
from media.video.sound import can_be_copied
from media.video.strokes.painter import StrokePainter
from media.video.strokes.timeline import StrokeTimeline
from media.video.timing import time_zero
from media.video.values import DEFAULT_LIMITS, Limits, Progress, Report


def burn_in(  # noqa: PLR0913 - the file, what is drawn on it, and how
    source: Path,
    target: Path,
    *,
    strokes: StrokeTimeline | None,
    placing: Placing,
    offset_us: int,
    may_copy: bool = False,
    settings: EncodingSettings = DEFAULT_ENCODING,
    limits: Limits = DEFAULT_LIMITS,
    progress: Report | None = None,
) -> Encoded:
    """Write `target`, an MP4 file. `offset_us` is what the annotation clock showed at time zero of `source`.

    Raises MediaError: those of `probe`, DERIVATIVE_WRONG; `target` may then be left behind.
    """
    report = progress or _silent
    report(Progress(step="read", done=0))
    found = scan(source, limits)
    lead = found.zero_us - time_zero(source, found.zero_us, limits)
    tiles = {placing} if isinstance(placing, int) else {tile for placement in placing for tile in placement.rects}
    ends = lead + found.probe.video.duration_us
    is_drawn_on = strokes is not None and strokes.is_drawn_on(tiles, offset_us, offset_us + ends)
    if may_copy and not is_drawn_on and is_within_policy(found):
        report(Progress(step="copy", done=0))
        copied = copy_recording(source, target, found, limits)
        if copied is not None:
            return replace(copied, annotation_offset_us=None if strokes is None else offset_us)
    painter = StrokePainter(strokes, offset_us) if strokes is not None and is_drawn_on else None
    burning = _Burning(painter=painter, placing=placing)
    encoded = _encode(whole(source, found, lead), target, burning, settings, limits, report)
    return replace(encoded, annotation_offset_us=None if strokes is None else offset_us)


@dataclass(slots=True)
class _Burning:
    painter: StrokePainter | None
    placing: Placing
    _upright: Upright = field(default_factory=Upright, init=False)

    def turned(self, shown: Shown) -> Shown:
        frame, aspect = self._upright.turned(shown.frame, shown.aspect, shown.matrix)
        return replace(shown, frame=frame, aspect=aspect, matrix=None)

    def paint(self, frame: VideoFrame, at_us: int, picture: Rect) -> None:
        if self.painter is not None:
            try:
                self.painter.paint(frame, at_us, self._rects(at_us, picture))
            except ValueError as error:
                message = f"the pictures of {frame.width}x{frame.height} have no room for the tiles drawn on"
                raise MediaError(Reason.INVALID_ARGUMENT, message, {"field": "placing"}) from error

    def _rects(self, at_us: int, picture: Rect) -> Mapping[int, Rect]:
        return {self.placing: picture} if isinstance(self.placing, int) else rects_at(self.placing, at_us)


def _silent(_: Progress) -> None:
    return


def _encode(  # noqa: PLR0913, PLR0917 - as burn_in
    piece: Piece, target: Path, burning: _Burning, settings: EncodingSettings, limits: Limits, report: Report
) -> Encoded:
    encoder = recording_encoder(settings)
    player = Player(pieces=[piece], limits=limits, audio=True, whole=True)
    writer = MovieWriter(
        pieces=[piece],
        path=target,
        limits=limits,
        encoder=encoder,
        audio_bit_rate=settings.audio_bit_rate,
        origin=0,
        eight_bits=True,
        paint=burning.paint,
    )
    heard_until = 0
    with writer:
        for item in player.play(-FOR_EVER, FOR_EVER):
            if isinstance(item, Heard):
                heard_until = max(heard_until, item.starts_at + item.duration)
                writer.hear(item)
            else:
                writer.show(burning.turned(item))
                report(Progress(step="encode", done=min(1.0, item.ends_at / piece.segment.ends_at)))
        writer.finish()
    pictures = writer.pictures
    if not pictures.frames:
        raise MediaError(Reason.FOOTAGE_UNREADABLE, "not one picture of the file can be decoded")
    check_video(target, Expected(starts=pictures.starts, ends=pictures.ends, codec=encoder.codec, tag=encoder.tag))
    options = encoder.arguments
    if writer.has_audio:
        options["audio"] = "copied" if can_be_copied([piece]) else f"aac {settings.audio_bit_rate}"
    return Encoded(
        path=target,
        width=pictures.size[0],
        height=pictures.size[1],
        frames=len(pictures.frames),
        duration_us=max(pictures.ends, heard_until if writer.has_audio else 0),
        video_codec=encoder.codec,
        audio_codec="aac" if writer.has_audio else None,
        copied=False,
        tool=tool(encoder.name, **options),
        annotation_offset_us=None,
        strokes_painted=0 if burning.painter is None else burning.painter.painted,
        notes=tuple(_notes(piece, player.lost + pictures.misplaced, player.damaged, writer.lost_sounds)),
    )


def _notes(piece: Piece, lost: int, damaged: int, lost_sounds: int) -> Iterator[str]:
    """What a reader of the documents has to know about the file."""
    shown = sum(1 for _ in piece.frames())
    lost += len(piece.scan.shown) - shown
    if lost:
        yield f"{lost} pictures could not be decoded and are missing"
    if damaged:
        yield f"{damaged} pictures are damaged and shown as far as they could be decoded"
    if lost_sounds:
        yield f"{lost_sounds} packets of sound could not be decoded and are silent"
    if piece.scan.probe.truncated:
        yield "the file ends before what it declares"
