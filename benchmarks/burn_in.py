"""How fast strokes are burned into a recording, against the same encode without them and against the ffmpeg command.

`python -m benchmarks.burn_in --seconds 60` prints the lines by itself; `make bench` prints them with the others.
`python -m benchmarks.burn_in --composite-minutes 30` makes one composite of two participants, and tells size and time.
"""

import argparse
import asyncio
import json
import math
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import av

from benchmarks.clip_preserve import RATE, film
from benchmarks.figures import compared, figure, show
from media.recordings.tiles import Join, placements
from media.video.apart_recordings import burn_in_apart, compose_apart, limits_for
from media.video.composite_values import ParticipantFile
from media.video.encoding import KEYFRAME_SECONDS, recording_encoder
from media.video.recording_values import EncodingSettings

SECONDS = 30
SETTINGS = EncodingSettings()
TILES = 2
# 2026-03-01T12:00:00Z
STARTED_AT = 1_772_366_400_000_000
# Pointers tell where they are about so often.
_POINTS_A_SECOND = 60
# Somebody draws for a second in every two; what is drawn stays for ten.
_EVERY_MS, _STAYS_MS = 2_000, 10_000
_COLOURS = ("#ff2010", "#00a0ff", "#20c040")
_TOOLS = ("pen", "pen", "highlighter", "arrow", "rectangle", "ellipse")


def burn_in(rounds: int, seconds: int = SECONDS) -> None:
    """Show pictures a second with and without strokes, and of the ffmpeg command, where it is installed."""
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as name:
        source = film(Path(name) / "720p.mp4", "1280x720", seconds)
        ways: dict[str, Callable[[Path], None]] = {
            "encode_without_strokes": partial(_ours, source, None),
            "burn_in": partial(_ours, source, drawn(seconds, tiles=1)),
        }
        if shutil.which("ffmpeg") is not None:
            ways["ffmpeg_command"] = partial(_ffmpeg, source)
        turns = [{way: _seconds(work, Path(name)) for way, work in ways.items()} for _ in range(rounds)]
    lines = {way: _line(way, [turn[way] for turn in turns], seconds) for way in ways}
    show(lines["encode_without_strokes"])
    show(compared(lines["burn_in"], lines["encode_without_strokes"], at_least=0.9))
    if "ffmpeg_command" in lines:
        show(lines["ffmpeg_command"])
        against = {**lines["burn_in"], "name": "burn_in_against_ffmpeg"}
        show(compared(against, lines["ffmpeg_command"], at_least=0.9))


def composite(minutes: float) -> None:
    """Show size and time of one composite of two participants at 720p, with strokes, made of their files."""
    seconds = round(minutes * 60)
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as name:
        directory = Path(name)
        part = _talk(directory / "part.mp4")
        files = [
            ParticipantFile(path=_repeated(part, directory / f"{tile}.mp4", seconds), tile=tile, starts_at=STARTED_AT)
            for tile in range(TILES)
        ]
        joins = [Join(tile=tile, at_us=STARTED_AT) for tile in range(TILES)]
        composing = compose_apart(
            files,
            directory / "composite.mp4",
            placing=placements(joins, width=1280, height=720),
            annotations=drawn(seconds, tiles=TILES),
            limits=limits_for(seconds),
        )
        started = _spent()
        made = asyncio.run(composing)
        took, processor = (now - then for now, then in zip(_spent(), started, strict=True))
        size = made.path.stat().st_size / 1e6
    more = {"minutes": minutes, "participants": TILES, "strokes": made.strokes_painted, "frames": made.frames}
    times = {"cpu_seconds": round(processor, 1), "times_real": round(seconds / took, 2)}
    show(figure("composite_720p_time", took, "s", **more, **times))
    show(figure("composite_720p_size", size, "MB", **more, megabits_a_second=round(size * 8 / seconds, 2)))


def drawn(seconds: int, *, tiles: int) -> bytes:
    """A session in which somebody draws half of the time, and erases what is ten seconds old."""
    strokes = list(_strokes(seconds, tiles))
    ends = ((stroke["points"][-1][2] + _STAYS_MS, stroke["id"]) for stroke in strokes)
    actions = [{"action": "erase", "at": at, "author": "ann", "strokes": [name]} for at, name in ends]
    document = {
        "format": "indelible-annotations/1",
        "started_at": "2026-03-01T12:00:00.000000Z",
        "strokes": strokes,
        "actions": actions,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _strokes(seconds: int, tiles: int) -> Iterator[dict[str, Any]]:
    for number in range(seconds * 1000 // _EVERY_MS):
        x, y = 0.3 + 0.4 * math.sin(number) ** 2, 0.3 + 0.4 * math.cos(2 * number) ** 2
        points = [
            [
                round(x + 0.2 * math.cos(n / 9), 4),
                round(y + 0.2 * math.sin(n / 7), 4),
                number * _EVERY_MS + n * 1000 // _POINTS_A_SECOND,
            ]
            for n in range(_POINTS_A_SECOND)
        ]
        yield {
            "id": f"s{number}",
            "tile": number % tiles,
            "author": "ann",
            "tool": _TOOLS[number % len(_TOOLS)],
            "colour": _COLOURS[number % len(_COLOURS)],
            "opacity": 1,
            "width": 0.008,
            "points": points,
        }


def _ours(source: Path, annotations: bytes | None, directory: Path) -> None:
    work = burn_in_apart(
        source, directory / "ours.mp4", annotations=annotations, placing=0, offset_us=0, settings=SETTINGS
    )
    asyncio.run(work)


def _ffmpeg(source: Path, directory: Path) -> None:
    """The same encode as anybody would ask for it."""
    options = [word for name, value in recording_encoder(SETTINGS).options.items() for word in (f"-{name}", value)]
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), "-c:v", "libx264", *options, "-c:a", "copy"]
    command += ["-g", str(KEYFRAME_SECONDS * RATE), "-movflags", "+faststart", str(directory / "ffmpeg.mp4")]
    subprocess.run(command, check=True)


def _talk(path: Path) -> Path:
    """A minute of something like a person before a camera: little moves, the sensor is noisy; with sound."""
    pictures = "testsrc2=size=1280x720:rate=30:duration=60,gblur=sigma=4,noise=alls=2:allf=t,format=yuv420p"
    noise = "anoisesrc=duration=60:amplitude=0.05:color=brown:sample_rate=48000"
    with (
        av.open(pictures, format="lavfi") as camera,
        av.open(noise, format="lavfi") as microphone,
        av.open(str(path), "w") as made,
    ):
        video = made.add_stream("libx264", rate=30, width=1280, height=720)
        video.options = {"preset": "veryfast", "crf": "23", "x264-params": "keyint=60"}
        sound = made.add_stream("aac", rate=48_000)
        sound.codec_context.layout = "mono"
        heard = microphone.decode(audio=0)
        for frame in camera.decode(video=0):
            frame.pict_type = 0
            made.mux(video.encode(frame))
            for samples in heard:
                made.mux(sound.encode(samples))
                if samples.time is not None and frame.time is not None and samples.time >= frame.time:
                    break
        made.mux(video.encode(None))
        made.mux(sound.encode(None))
    return path


def _repeated(part: Path, target: Path, seconds: int) -> Path:
    """The same minute again and again, copied."""
    with av.open(str(target), "w") as made:
        streams: dict[int, Any] = {}
        for turn in range(-(-seconds // 60)):
            with av.open(str(part)) as source:
                for stream in source.streams:
                    if stream.index not in streams:
                        streams[stream.index] = made.add_stream_from_template(stream)
                for packet in source.demux():
                    base = packet.time_base
                    if packet.dts is None or packet.pts is None or base is None or packet.dts * base >= seconds:
                        continue
                    shift = round(turn * 60 / base)
                    packet.stream = streams[packet.stream_index]
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    made.mux(packet)
    return target


def _line(way: str, turns: Sequence[tuple[float, float]], seconds: int) -> dict[str, Any]:
    took, processor = (statistics.median(turn) for turn in zip(*turns, strict=True))
    more = {"seconds_of_footage": seconds, "cpu_seconds": round(processor, 1)}
    return figure(way, seconds * RATE / took, "frames/s", **more)


def _seconds(work: Callable[[Path], None], directory: Path) -> tuple[float, float]:
    """How long it takes, and how much of the processors."""
    started = _spent()
    work(directory)
    took, processor = (now - then for now, then in zip(_spent(), started, strict=True))
    return took, processor


def _spent() -> tuple[float, float]:
    """The time, and the processor time of this process and of those it has seen end."""
    used = os.times()
    return time.perf_counter(), used.user + used.system + used.children_user + used.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"of footage (default {SECONDS})")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--composite-minutes", type=float, help="make one composite this long instead")
    options = parser.parse_args()
    if options.composite_minutes is not None:
        composite(options.composite_minutes)
    else:
        burn_in(options.rounds, options.seconds)


if __name__ == "__main__":
    main()
