"""Encodes pictures into a track of an MP4 file, each shown exactly as long as it is to be shown."""

import os
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, Literal

import av
from av.codec.context import ThreadType
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.video.beside import EncoderThread
from media.video.reading import SECOND, to_ticks, to_us
from media.video.recording_values import EncodingSettings
from media.video.values import Tool

_TICK: Final = Fraction(1, 90_000)
# The encoder plans its bits for a frame rate; frames are shown at their own times all the same.
_FASTEST, _SLOWEST = 240, 1
# A viewer can jump to any keyframe.
KEYFRAME_SECONDS: Final = 4
# Enough that the encoder never waits where a picture takes longer to make than others; 6 MB at 720p, 50 at 4K.
_AHEAD: Final = 4
# Left to itself x264 works on half as many pictures again as there are cores. On two cores that is three, which
# wait for each other now and then; with four both are busy.
_LEAST_THREADS: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """An encoder of libav, what it is told, and the four letters that name its codec in MP4."""

    name: Literal["libx264", "libx265"]
    codec: str
    tag: str
    options: dict[str, str]
    threads: int = 0  # 0: as many as the encoder likes
    ahead: int = 0  # pictures that may wait for it, in a thread of its own (beside.py)

    @property
    def arguments(self) -> dict[str, str]:
        """All that whoever repeats the encode must know."""
        return {**self.options, "keyframe_seconds": str(KEYFRAME_SECONDS)}


def recording_encoder(settings: EncodingSettings) -> Encoder:
    """The encoder of recordings."""
    # Participants send pictures when something changes, seconds apart. With B frames an MP4 file then says that it ends
    # before its last pictures are shown, as lengths are counted in the order of decoding.
    options = {"preset": settings.preset, "crf": str(settings.crf), "bf": "0"}
    few = len(os.sched_getaffinity(0)) * 3 // 2 < _LEAST_THREADS
    threads = settings.threads or (_LEAST_THREADS if few else 0)
    return Encoder(name="libx264", codec="h264", tag="avc1", options=options, threads=threads, ahead=_AHEAD)


def mp4_options() -> dict[str, str]:
    """What the writer of MP4 files is told."""
    # The index first; and edit lists that tell when a track begins as exactly as the track tells its times.
    return {"movflags": "+faststart", "movie_timescale": "90000"}


def tool(name: str, **arguments: str) -> Tool:
    """What makes a file, with the versions of all its parts."""
    versions = {"pyav": av.__version__, "ffmpeg": av.ffmpeg_version_info}
    versions |= {library: ".".join(map(str, version)) for library, version in av.library_versions.items()}
    return Tool(name=name, versions=versions, arguments=arguments)


@dataclass(slots=True)
class PictureWriter:
    """The video track of a file. `start` it, and add other tracks, before the first picture is shown.

    `close` it before the file is closed, whatever happens.
    """

    container: OutputContainer
    encoder: Encoder
    nominal_us: int  # how long a picture usually lasts
    origin: int | None = None  # time zero of the file; None: the start of the first picture
    frames: list[tuple[int, int]] = field(default_factory=list, init=False)
    starts: list[int] = field(default_factory=list, init=False)  # in the file, in microseconds
    misplaced: int = field(default=0, init=False)  # pictures that came after ones shown later
    stream: VideoStream | None = field(default=None, init=False)
    _durations: dict[int, int] = field(default_factory=dict, init=False)
    _last: int = field(default=-1, init=False)
    _beside: EncoderThread | None = field(default=None, init=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return (0, 0) if self.stream is None else (self.stream.width, self.stream.height)

    def start(
        self, like: VideoFrame, aspect: Fraction = Fraction(1), matrix: tuple[int, ...] | None = None
    ) -> VideoStream:
        """Add the track, for pictures of the size, format and colours of this one."""
        rate = min(
            Fraction(_FASTEST), max(Fraction(_SLOWEST), Fraction(SECOND, self.nominal_us).limit_denominator(1001))
        )
        video = self.container.add_stream(
            self.encoder.name,
            rate=rate,
            width=like.width,
            height=like.height,
            time_base=_TICK,
            options=dict(self.encoder.options),
        )
        context = video.codec_context
        context.pix_fmt = like.format.name
        context.codec_tag = self.encoder.tag
        context.thread_count = self.encoder.threads
        # Pictures beside each other, and not slices of one: x264 else waits for all slices before it goes on.
        context.thread_type = ThreadType.AUTO
        context.gop_size = max(1, round(rate * KEYFRAME_SECONDS))
        context.sample_aspect_ratio = aspect
        context.color_range, context.colorspace = like.color_range, like.colorspace
        context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
        video.set_display_matrix(matrix)
        self.stream = video
        if self.encoder.ahead:
            self._beside = EncoderThread(video, self.encoder.ahead)
        return video

    def show(self, frame: VideoFrame, starts_at: int, ends_at: int) -> None:
        """Encode a picture; one that starts before the one before it is left out and counted.

        With an encoder that is `ahead`, nobody may touch the picture any more.
        """
        if self.frames and starts_at < self.frames[-1][0]:
            self.misplaced += 1
            return
        if self.origin is None:
            self.origin = starts_at
        at = self._last = max(self._last + 1, to_ticks(starts_at - self.origin, _TICK))
        self._durations[at] = to_ticks(ends_at - starts_at, _TICK)
        self.frames.append((starts_at, ends_at))
        self.starts.append(to_us(at, _TICK))
        frame.pts, frame.time_base = at, _TICK
        frame.pict_type = 0  # the encoder decides; a decoded frame would impose what it was in the source
        self._mux(frame)

    def finish(self) -> None:
        """Write what the encoder kept back."""
        self._mux(None)

    def close(self) -> None:
        """Let go of the encoder."""
        if self._beside is not None:
            self._beside.close()

    @property
    def ends(self) -> int:
        """Where the last picture ends in the file."""
        return self.starts[-1] + self.frames[-1][1] - self.frames[-1][0]

    def _mux(self, frame: VideoFrame | None) -> None:
        for packet in self._packets(frame):
            packet.duration = self._durations.pop(packet.pts or 0, 0)
            self.container.mux(packet)

    def _packets(self, frame: VideoFrame | None) -> "list[Packet[VideoStream]]":
        if self._beside is not None:
            return self._beside.finish() if frame is None else self._beside.encode(frame)
        return [] if self.stream is None else self.stream.encode(frame)
