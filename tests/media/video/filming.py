"""Films short footage in which every picture carries its own number, so that a test can tell which ones it sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.video.probe import probe
from media.video.values import ClockMap, ClockSource, Segment, Window

SECOND = 1_000_000
# 2026-03-01T12:00:00Z, when the cameras of the tests start.
NOON = 1_772_366_400 * SECOND
_BITS = 12
_WHITE, _BLACK = 210, 40


@dataclass(frozen=True, kw_only=True)
class Film:
    """What to film."""

    seconds: float = 4
    rate: int = 10
    codec: str = "libx264"
    size: tuple[int, int] = (320, 180)
    pixel_format: str = "yuv420p"
    keyframe_every: int = 10
    b_frames: int = 0
    first_number: int = 0
    first_pts: int = 0  # in 1/90000 s
    stamps: Sequence[int] | None = None  # microseconds of each frame, in place of `rate`
    audio: str | None = None
    audio_rate: int = 16_000
    rotation: int = 0
    aspect: Fraction = Fraction(1)
    full_range: bool = False
    options: tuple[tuple[str, str], ...] = ()
    container_options: tuple[tuple[str, str], ...] = ()
    format: str | None = None

    @property
    def times(self) -> list[int]:
        """When each frame is shown, in microseconds after the first."""
        return list(self.stamps or [round(n * SECOND / self.rate) for n in range(round(self.seconds * self.rate))])


def film(path: Path, wanted: Film = Film()) -> Path:
    with av.open(str(path), "w", format=wanted.format, container_options=dict(wanted.container_options)) as container:
        video = cast(
            VideoStream,
            container.add_stream(wanted.codec, rate=wanted.rate, width=wanted.size[0], height=wanted.size[1]),
        )
        context = video.codec_context
        # AVI and the older codecs know frame rates, not times.
        by_rate = path.suffix in {".avi", ".mpg"} or wanted.codec == "mpeg4"
        tick = Fraction(1, wanted.rate) if by_rate else Fraction(1, 90_000)
        context.time_base = tick
        context.pix_fmt, context.gop_size, context.max_b_frames = (
            wanted.pixel_format,
            wanted.keyframe_every,
            wanted.b_frames,
        )
        context.sample_aspect_ratio = wanted.aspect
        if wanted.full_range:
            context.color_range = 2
        context.options = _speed(wanted) | dict(wanted.options)
        if wanted.rotation:
            video.set_display_rotation(wanted.rotation)
        sound = None
        if wanted.audio is not None:
            sound = cast(AudioStream, container.add_stream(wanted.audio, rate=wanted.audio_rate))
            sound.codec_context.layout = "mono"
        for number, at in enumerate(wanted.times):
            frame = picture(wanted.first_number + number, wanted.size, wanted.pixel_format)
            frame.time_base = tick
            frame.pts = round(Fraction(at, SECOND) / tick) + round(Fraction(wanted.first_pts, 90_000) / tick)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            _hum(container, sound, wanted)
    return path


def segment(path: Path, starts_at: int = NOON, *, error_us: int = 1_000) -> Segment:
    """The file placed in wall time."""
    clock = ClockMap(anchors=((0, starts_at),), error_us=error_us, source=ClockSource.GIVEN)
    ends_at = starts_at + probe(path).video.duration_us
    return Segment(path=path, clock=clock, starts_at=starts_at, ends_at=ends_at, source_name=path.name, sha256=None)


def window(starts: float, ends: float, event: float | None = None) -> Window:
    """A window in seconds after noon; the event in its middle by default."""
    event = (starts + ends) / 2 if event is None else event
    return Window(
        asked_from=NOON + round(starts * SECOND),
        asked_to=NOON + round(ends * SECOND),
        event_at=NOON + round(event * SECOND),
    )


def shown(path: Path) -> list[tuple[int, int]]:
    """When each picture of a file is shown (microseconds), and its number."""
    with av.open(str(path)) as container:
        frames = [frame for frame in container.decode(video=0) if frame.pts is not None]
        return [(round((frame.time or 0) * SECOND), number_in(frame)) for frame in frames]


def times(path: Path) -> list[int]:
    return [at for at, _ in shown(path)]


def numbers(path: Path) -> list[int]:
    return [number for _, number in shown(path)]


def lasts(path: Path) -> float:
    """Seconds that a player shows as the length of a file."""
    with av.open(str(path)) as container:
        return (container.duration or 0) / SECOND


def picture(number: int, size: tuple[int, int], pixel_format: str = "yuv420p") -> VideoFrame:
    """A frame with its number in bars, over a slope that moves."""
    width, height = size
    frame = VideoFrame(width, height, "yuv420p")
    bars = bytearray()
    for bit in range(_BITS):
        end = width * (bit + 1) // _BITS
        bars += bytes([_WHITE if number >> bit & 1 else _BLACK]) * (end - len(bars))
    slope = bytes((x * 128 // width + number * 4) % 160 + 40 for x in range(width))
    luma = frame.planes[0]
    rows = [bars if y < height // 2 else slope for y in range(height)]
    luma.update(b"".join(bytes(row).ljust(luma.line_size, b"\0") for row in rows))
    for plane, level in ((frame.planes[1], 110), (frame.planes[2], 150)):
        plane.update(bytes([level]) * plane.buffer_size)
    return frame if pixel_format == "yuv420p" else frame.reformat(format=pixel_format)


def number_in(frame: VideoFrame) -> int:
    """The number that a picture carries, at whatever size."""
    plane = frame.planes[0] if frame.format.name.startswith("yuv") and "10" not in frame.format.name else None
    if plane is None:
        frame = frame.reformat(format="yuv420p")
        plane = frame.planes[0]
    row = bytes(plane)[plane.line_size * (frame.height // 4) :][: frame.width]
    middle = (_WHITE + _BLACK) // 2
    return sum((row[frame.width * (2 * bit + 1) // (2 * _BITS)] > middle) << bit for bit in range(_BITS))


def _speed(wanted: Film) -> dict[str, str]:
    match wanted.codec:
        case "libx264":
            return {"preset": "ultrafast", "x264-params": f"bframes={wanted.b_frames}:scenecut=0"}
        case "libx265":
            keys = f"keyint={wanted.keyframe_every}:min-keyint={wanted.keyframe_every}"
            parameters = f"log-level=none:{keys}:scenecut=0:bframes={wanted.b_frames}:open-gop=0"
            return {"preset": "ultrafast", "x265-params": parameters}
    return {}


def _hum(container: OutputContainer, sound: AudioStream, wanted: Film) -> None:
    sound.codec_context.open(strict=False)
    length = sound.codec_context.frame_size or 160
    samples = round((wanted.times[-1] / SECOND + 1 / wanted.rate) * wanted.audio_rate)
    layout, kind = sound.codec_context.layout.name, sound.codec_context.format.name
    for position in range(0, samples - length, length):
        frame = AudioFrame(format=kind, layout=layout, samples=length)
        for plane in frame.planes:
            plane.update(bytes((position + index) * 7 % 64 for index in range(plane.buffer_size)))
        frame.sample_rate, frame.time_base = wanted.audio_rate, Fraction(1, wanted.audio_rate)
        frame.pts = position + wanted.first_pts * wanted.audio_rate // 90_000
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))
