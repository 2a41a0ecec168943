"""The thumbnail: the picture on the screen at the event, as a JPEG."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

from av.codec import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Colorspace

from media.errors import MediaError, Reason
from media.video.frames import FULL_RANGE, Shaper, Upright, contained
from media.video.showing import Shown
from media.video.values import VideoSettings

# libav counts the quality of JPEGs in steps of so much (FF_QP2LAMBDA).
_QUALITY_STEP: Final = 118
# No picture of a camera is taller, once it is as wide as a thumbnail.
_TALLEST: Final = 1 << 14


@dataclass(slots=True)
class ThumbnailWriter:
    """Takes pictures in order and keeps the last one that begins at or before the event, else the first one after."""

    path: Path
    event_at: int
    settings: VideoSettings
    taken: Shown | None = field(default=None, init=False)
    size: tuple[int, int] = field(default=(0, 0), init=False)

    def show(self, shown: Shown) -> None:
        """Look at a picture."""
        if self.taken is None or shown.starts_at <= self.event_at:
            self.taken = shown

    def finish(self) -> None:
        """Write the picture. JPEG files (JFIF) have full range and the matrix of BT.601, whatever the video had."""
        if self.taken is None:
            return
        turned, aspect = Upright().turned(self.taken.frame, self.taken.aspect, self.taken.matrix)
        width, height = round(turned.width * aspect), turned.height
        if width > self.settings.thumbnail_width or aspect != 1:
            wide = min(width, self.settings.thumbnail_width)
            width, height = contained(turned.width, turned.height, wide, _TALLEST, aspect)
        frame = Shaper().shaped(turned, (width, height), FULL_RANGE, full_range=True, matrix=Colorspace.ITU601)
        context = CodecContext.create("mjpeg", "w")
        if not isinstance(context, VideoCodecContext):
            raise MediaError(Reason.INTERNAL, "this build of libav cannot write JPEG files")
        context.width, context.height, context.pix_fmt = width, height, FULL_RANGE
        context.time_base = Fraction(1, 1)
        quality = str(self.settings.thumbnail_quality * _QUALITY_STEP)
        context.options = {"flags": "+qscale", "global_quality": quality}
        frame.pts, frame.pict_type = 0, 0
        self.path.write_bytes(b"".join(bytes(packet) for packet in (*context.encode(frame), *context.encode(None))))
        self.size = width, height
