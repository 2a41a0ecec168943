"""The clip: H.265 in MP4 under the tag `hvc1`, with exactly the frames of the window at the times of the wall clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final, Self

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.video.copying import Copied, copy_packets
from media.video.frames import Canvas, encodable_format
from media.video.plan import Piece, Stretch, stretch_of_clip
from media.video.reading import SECOND, to_ticks, to_us
from media.video.showing import Heard, Shown
from media.video.sound import CopiedSound, EncodedSound, add_sound, can_be_copied
from media.video.values import Limits, VideoSettings

_TICK: Final = Fraction(1, 90_000)
# The encoder plans its bits for a frame rate; frames are shown at their own times all the same.
_FASTEST, _SLOWEST = 240, 1
# A viewer can jump to any keyframe.
_KEYFRAME_SECONDS: Final = 4


def copy_clip(pieces: Sequence[Piece], path: Path, limits: Limits) -> Copied | None:
    """Write the clip without encoding, or None where that cannot give exactly the window (media/video/plan.py)."""
    with_audio = any(piece.scan.probe.audio is not None for piece in pieces)
    if any(piece.scan.probe.video.codec != "hevc" for piece in pieces) or (with_audio and not can_be_copied(pieces)):
        return None
    stretches: list[Stretch] = []
    for piece in pieces:
        stretch = stretch_of_clip(piece, is_last=piece is pieces[-1])
        if stretch is None or (stretches and stretch.kind != stretches[0].kind):
            return None
        stretches.append(stretch)
    return copy_packets(stretches, path, limits, tag="hvc1")


def encoder_options(settings: VideoSettings) -> dict[str, str]:
    """What libx265 is told."""
    # Left to itself x265 holds more pictures the more cores there are; so 1080p stays under 500 MB on any machine.
    # Without B frames decoding and showing have one order: what MP4 says of times and lengths is exact in every player.
    parameters = "log-level=none:bframes=0:frame-threads=2:rc-lookahead=10"
    if settings.threads:
        parameters += f":pools={settings.threads}"
    return {"preset": settings.preset, "crf": str(settings.crf), "x265-params": parameters}


@dataclass(slots=True)
class ClipWriter:
    """Takes what is shown and heard, in order, and encodes it. Use as a context manager."""

    pieces: Sequence[Piece]
    path: Path
    limits: Limits
    settings: VideoSettings
    frames: list[tuple[int, int]] = field(default_factory=list, init=False)
    starts: list[int] = field(default_factory=list, init=False)  # in the file, in microseconds
    misplaced: int = field(default=0, init=False)  # frames that came after ones shown later
    _container: OutputContainer = field(init=False)
    _video: VideoStream | None = field(default=None, init=False)
    _sound: CopiedSound | EncodedSound | None = field(default=None, init=False)
    _canvas: Canvas | None = field(default=None, init=False)
    _early: list[Heard] = field(default_factory=list, init=False)
    _durations: dict[int, int] = field(default_factory=dict, init=False)
    _last: int = field(default=-1, init=False)

    def __enter__(self) -> Self:
        options = {"movflags": "+faststart"}
        self._container = av.open(str(self.path), "w", format="mp4", container_options=options)
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    @property
    def has_audio(self) -> bool:
        """Whether the clip has sound."""
        return self._sound is not None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return (0, 0) if self._video is None else (self._video.width, self._video.height)

    def show(self, shown: Shown) -> None:
        """Encode a picture."""
        video, canvas = self._video, self._canvas
        if video is None or canvas is None:
            video, canvas = self._start(shown)
        if self.frames and shown.starts_at < self.frames[-1][0]:
            self.misplaced += 1
            return
        frame = canvas.fit(shown.frame)
        at = max(self._last + 1, to_ticks(shown.starts_at - self.frames[0][0] if self.frames else 0, _TICK))
        self._last = at
        self._durations[at] = to_ticks(shown.ends_at - shown.starts_at, _TICK)
        self.frames.append((shown.starts_at, shown.ends_at))
        self.starts.append(to_us(at, _TICK))
        frame.pts, frame.time_base = at, _TICK
        frame.pict_type = 0  # the encoder decides; a decoded frame would impose what it was in the source
        self._write(video, frame)

    def hear(self, heard: Heard) -> None:
        """Take a packet of audio. The decoder of pictures lags behind, so sound may come before the first one."""
        if self._video is None:
            self._early.append(heard)
        elif self._sound is not None:
            self._sound.hear(heard)

    def finish(self) -> None:
        """Write what the encoders kept back."""
        if self._video is not None:
            self._write(self._video, None)
        if self._sound is not None:
            self._sound.finish()

    def _start(self, shown: Shown) -> tuple[VideoStream, Canvas]:
        width, height = shown.frame.width + shown.frame.width % 2, shown.frame.height + shown.frame.height % 2
        canvas = Canvas(width=width, height=height, pixel_format=encodable_format(shown.frame))
        frame = canvas.fit(shown.frame)
        nominal = self.pieces[0].scan.nominal_us
        rate = min(Fraction(_FASTEST), max(Fraction(_SLOWEST), Fraction(SECOND, nominal).limit_denominator(1001)))
        video = self._container.add_stream(
            "libx265", rate=rate, width=width, height=height, time_base=_TICK, options=encoder_options(self.settings)
        )
        context = video.codec_context
        context.pix_fmt = canvas.pixel_format
        context.codec_tag = "hvc1"
        context.gop_size = max(1, round(rate * _KEYFRAME_SECONDS))
        context.sample_aspect_ratio = shown.aspect
        context.color_range, context.colorspace = frame.color_range, frame.colorspace
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        video.set_display_matrix(shown.matrix)
        self._sound = add_sound(self._container, self.pieces, self.limits, self.settings, shown.starts_at)
        self._video, self._canvas = video, canvas
        return video, canvas

    def _write(self, video: VideoStream, frame: VideoFrame | None) -> None:
        for packet in video.encode(frame):
            packet.duration = self._durations.pop(packet.pts or 0, 0)
            self._container.mux(packet)
        if self._sound is not None and self._early:
            early, self._early = self._early, []
            for heard in early:
                self.hear(heard)
