"""The preview: some seconds of VP9 in WebM around the event, small enough for a list of clips, without sound."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final, Self

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.video.frames import Shaper, Upright, contained
from media.video.reading import SECOND, to_ticks
from media.video.showing import Shown
from media.video.values import VideoSettings

_TICK: Final = Fraction(1, 1000)  # Matroska's own


def preview_range(frames: Sequence[tuple[int, int]], event_at: int, settings: VideoSettings) -> tuple[int, int]:
    """From when to when the preview goes: the event in its middle, moved so that it stays within the footage."""
    length = settings.preview_seconds * SECOND
    first, last = frames[0][0], frames[-1][1]
    earliest = max(first, min(event_at - length // 2, last - length))
    starts_at = next(start for start, end in frames if end > earliest)
    return starts_at, starts_at + length


def encoder_options(settings: VideoSettings) -> dict[str, str]:
    """What libvpx-vp9 is told."""
    return {
        "deadline": "realtime",
        "cpu-used": "5",
        "row-mt": "1",
        "tile-columns": "1",
        "lag-in-frames": "0",
        "crf": str(settings.preview_crf),
    }


@dataclass(slots=True)
class PreviewWriter:
    """Takes pictures in order and encodes those of the preview. Use as a context manager."""

    path: Path
    starts_at: int
    ends_at: int
    settings: VideoSettings
    frames: list[tuple[int, int]] = field(default_factory=list, init=False)
    _container: OutputContainer = field(init=False)
    _video: VideoStream | None = field(default=None, init=False)
    _upright: Upright = field(default_factory=Upright, init=False)
    _shaper: Shaper = field(default_factory=Shaper, init=False)
    _durations: dict[int, int] = field(default_factory=dict, init=False)

    def __enter__(self) -> Self:
        self._container = av.open(str(self.path), "w", format="webm")
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return (0, 0) if self._video is None else (self._video.width, self._video.height)

    def show(self, shown: Shown) -> None:
        """Encode a picture if it is one of the preview's, and not more of them than its frame rate allows."""
        if not self.starts_at <= shown.starts_at < self.ends_at:
            return
        ends_at = min(shown.ends_at, self.ends_at)
        # A tenth less, for time stamps that jitter.
        if self.frames and (shown.starts_at - self.frames[-1][0]) * self.settings.preview_frame_rate * 10 < 9 * SECOND:
            self.frames[-1] = (self.frames[-1][0], ends_at)
            return
        turned, aspect = self._upright.turned(shown.frame, shown.aspect, shown.matrix)
        video = self._video or self._start(turned, aspect)
        frame = self._shaper.shaped(turned, (video.width, video.height), "yuv420p", full_range=False)
        self.frames.append((shown.starts_at, ends_at))
        frame.pts, frame.time_base = to_ticks(shown.starts_at - self.frames[0][0], _TICK), _TICK
        frame.pict_type = 0
        self._durations[frame.pts] = to_ticks(ends_at - shown.starts_at, _TICK)
        self._write(video, frame)

    def finish(self) -> None:
        """Write what the encoder kept back."""
        if self._video is not None:
            self._write(self._video, None)

    def _start(self, frame: VideoFrame, aspect: Fraction) -> VideoStream:
        settings = self.settings
        width, height = contained(frame.width, frame.height, settings.preview_width, settings.preview_height, aspect)
        video = self._container.add_stream(
            "libvpx-vp9",
            rate=settings.preview_frame_rate,
            width=width,
            height=height,
            time_base=_TICK,
            options=encoder_options(settings),
        )
        context = video.codec_context
        context.color_range, context.colorspace = 1, frame.colorspace
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        context.thread_count = settings.threads
        self._video = video
        return video

    def _write(self, video: VideoStream, frame: VideoFrame | None) -> None:
        for packet in video.encode(frame):
            packet.duration = self._durations.pop(packet.pts or 0, 0)
            self._container.mux(packet)
