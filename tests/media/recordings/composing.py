"""Small participants' files whose pictures say whose they are and which, and composites looked into."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

from media.recordings.tiles import Join, placements, tile_layout
from media.video.composite import compose
from media.video.composite_values import Composite, CompositeSettings, ParticipantFile, Shows
from media.video.placing import Placement, Rect
from tests.media.video.filming import NOON, SECOND, Film, film

WIDTH, HEIGHT = 320, 180
SETTINGS = CompositeSettings(width=WIDTH, height=HEIGHT, preset="ultrafast")
# Pictures of tile t are numbered from t * OF_A_TILE on.
OF_A_TILE = 512
BACKGROUND = 16
SECOND_OF_FILM = Film(seconds=1, rate=20)
_BITS = 12


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One picture of a composite: the three planes, and when it is shown."""

    at_us: int
    planes: tuple[NDArray[np.uint8], ...]

    def part(self, rect: Rect, plane: int = 0) -> NDArray[np.uint8]:
        by = 1 if plane == 0 else 2
        x, y, width, height = (number // by for number in (rect.x, rect.y, rect.width, rect.height))
        return self.planes[plane][y : y + height, x : x + width]

    def number(self, rect: Rect) -> int:
        """The number in the picture that fills a rectangle, as `filming.number_in` reads it."""
        row = self.part(rect)[rect.height // 4]
        return sum(int(row[rect.width * (2 * bit + 1) // (2 * _BITS)] > 125) << bit for bit in range(_BITS))

    def is_empty(self, rect: Rect) -> bool:
        return bool((np.abs(self.part(rect).astype(int) - BACKGROUND) < 12).mean() > 0.98)


def participant(
    path: Path,
    tile: int,
    *,
    starts: float = 0,
    wanted: Film = SECOND_OF_FILM,
    ends: float | None = None,
    shows: Shows = Shows.CAMERA,
    first: int = 0,
) -> ParticipantFile:
    """A file of somebody, `starts` seconds after noon, its pictures numbered from `first` on."""
    film(path, replace(wanted, first_number=tile * OF_A_TILE + first))
    ends_at = None if ends is None else NOON + round(ends * SECOND)
    return ParticipantFile(path=path, tile=tile, starts_at=NOON + round(starts * SECOND), ends_at=ends_at, shows=shows)


def joined(files: Sequence[ParticipantFile]) -> tuple[Placement, ...]:
    return placements([Join(tile=one.tile, at_us=one.starts_at) for one in files], width=WIDTH, height=HEIGHT)


def composed(files: Sequence[ParticipantFile], target: Path, **more: Any) -> Composite:
    placing = more.pop("placing", None) or joined(files)
    return compose(files, target, placing=placing, settings=more.pop("settings", SETTINGS), **more)


def pictures(path: Path) -> list[Seen]:
    with av.open(str(path)) as container:
        return [
            Seen(at_us=round((frame.time or 0) * SECOND), planes=tuple(_plane(plane) for plane in frame.planes))
            for frame in container.decode(video=0)
        ]


def rect_of(tile: int, tiles: Sequence[int]) -> Rect:
    return tile_layout(tiles, WIDTH, HEIGHT)[tile]


@dataclass(frozen=True, kw_only=True)
class Beep:
    """A tone in otherwise silent sound."""

    at: float
    hertz: int
    seconds: float = 0.2
    level: float = 0.5


def sounding(
    path: Path,
    beep: Beep,
    *,
    codec: str = "aac",
    rate: int = 48_000,
    seconds: float = 1.0,
    layout: str = "mono",
    video: bool = True,
    late: float = 0,
) -> Path:
    """A film with a beep; its sound may begin later than its pictures."""
    samples = np.zeros(round(seconds * rate), np.float32)
    first, last = round(beep.at * rate), round((beep.at + beep.seconds) * rate)
    samples[first:last] = beep.level * np.sin(2 * np.pi * beep.hertz * np.arange(last - first) / rate)
    with ExitStack() as stack:
        container = stack.enter_context(av.open(str(path), "w"))
        if video:
            silent = film(path.with_name(f"silent-{path.name}"), Film(seconds=seconds, rate=10))
            source = stack.enter_context(av.open(str(silent)))
            copy = container.add_stream_from_template(source.streams.video[0])
        sound = cast(AudioStream, container.add_stream(codec, rate=rate, layout=layout))
        if video:
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = copy
                    container.mux(packet)
        write_sound(container, sound, samples, round(late * rate))
    return path


def write_sound(container: OutputContainer, sound: AudioStream, samples: NDArray[np.float32], first: int = 0) -> None:
    """Encode one channel of samples, from number `first` on, as every channel of a track."""
    context = sound.codec_context
    context.open(strict=False)
    size, kind, layout = context.frame_size or 400, context.format.name, context.layout
    for position in range(first, len(samples) - size + 1, size):
        part = np.tile(samples[position : position + size], (len(layout.channels), 1))
        shaped = part if kind.endswith("p") else part.T.reshape(1, -1)
        if not kind.startswith("flt"):
            shaped = (shaped * 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(shaped), format=kind, layout=layout.name)
        frame.sample_rate, frame.time_base, frame.pts = sound.rate, Fraction(1, sound.rate), position
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))


def heard(path: Path) -> tuple[NDArray[np.float32], int]:
    """The sound of a file from its time zero on, as one channel, and its rate."""
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        mix = np.zeros(round(60 * rate), np.float32)
        end = 0
        for frame in container.decode(audio=0):
            at = round((frame.time or 0) * rate)
            mix[at : at + frame.samples] = frame.to_ndarray().mean(axis=0)
            end = max(end, at + frame.samples)
    return mix[:end], rate


def onset(path: Path, hertz: int) -> float:
    """When a tone begins, in seconds: where its level first reaches half of what it becomes."""
    mix, rate = heard(path)
    tone = mix * np.exp(-2j * np.pi * hertz * np.arange(len(mix)) / rate)
    width = rate // 100
    level = np.abs(np.convolve(tone, np.ones(width) / width, "same"))
    return float(np.argmax(level > level.max() / 2)) / rate


def _plane(plane: Any) -> NDArray[np.uint8]:
    return np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
