"""How fast a window of footage becomes clip, native copy, thumbnail and preview, against doing the clip alone, bare.

`python -m benchmarks.clip_preserve --seconds 90` prints the lines by itself; `make bench` prints them with the others.
"""

import argparse
import asyncio
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av

from benchmarks.figures import compared, figure, show
from media.video.apart import write_artefacts_apart
from media.video.clip import encoder_options
from media.video.copying import copy_packets
from media.video.plan import plan, stretches
from media.video.probe import probe
from media.video.scan import scan
from media.video.values import DEFAULT_LIMITS, ClockMap, ClockSource, Segment, VideoSettings, Window

SECONDS = 30
RATE = 25
MEMORY_SECONDS = 12
AT_MOST_MB = 500
SETTINGS = VideoSettings()


def clip_preserve(rounds: int, seconds: int = SECONDS) -> None:
    """Show frames a second of all the work on a window, bytes a second of the native copy, and memory at 1080p."""
    with tempfile.TemporaryDirectory(prefix="indelible-bench-") as name:
        directory = Path(name)
        source = film(directory / "720p.mp4", "1280x720", seconds)
        frames = seconds * RATE
        turns = [(_seconds(_bare, source), _seconds(_preserve, source)) for _ in range(rounds)]
        bare, preserved = (statistics.median(turn) for turn in zip(*turns, strict=True))
        line = figure("bare_h265_transcode", frames / bare, "frames/s", seconds_of_footage=seconds)
        show(line)
        more = {"seconds_of_footage": seconds, "seconds": round(preserved, 1)}
        show(compared(figure("clip_preserve", frames / preserved, "frames/s", **more), line, at_least=0.8))
        native_copy = partial(_native_copy, *_whole(source))
        turns = [(_seconds(_file_copy, source), _seconds(native_copy, source)) for _ in range(rounds)]
        copied, native = (statistics.median(turn) for turn in zip(*turns, strict=True))
        megabytes = source.stat().st_size / 1e6
        line = figure("file_copy", megabytes / copied, "MB/s")
        show(line)
        ratio = {"floor": "file_copy", "floor_value": line["value"], "ratio": round(copied / native, 3)}
        show(figure("native_copy", megabytes / native, "MB/s", megabytes=round(megabytes, 1), **ratio))
        large = film(directory / "1080p.mp4", "1920x1080", MEMORY_SECONDS)
        peak = _peak_megabytes(large)
        if peak > AT_MOST_MB:
            raise RuntimeError(f"preserving 1080p took {peak:.0f} MB; at most {AT_MOST_MB} are allowed")
        show(figure("clip_preserve_1080p_peak", peak, "MB", at_most=AT_MOST_MB, reached=True))


def film(path: Path, size: str, seconds: int) -> Path:
    """Moving shapes with noise, so that the encoder has work as with a real camera; a keyframe every 2 s."""
    graph = f"testsrc2=size={size}:rate={RATE}:duration={seconds},noise=alls=6:allf=t,format=yuv420p"
    with av.open(graph, format="lavfi") as pictures, av.open(str(path), "w") as film:
        width, _, height = size.partition("x")
        stream = film.add_stream("libx264", rate=RATE, width=int(width), height=int(height))
        stream.options = {"preset": "veryfast", "crf": "23", "x264-params": f"keyint={2 * RATE}"}
        for frame in pictures.decode(video=0):
            frame.pict_type = 0
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return path


def _bare(source: Path, directory: Path) -> None:
    """What anybody would write who wants the clip alone: the same encoder with the same settings."""
    with av.open(str(source)) as pictures, av.open(str(directory / "bare.mp4"), "w") as clip:
        template = pictures.streams.video[0]
        stream = clip.add_stream("libx265", rate=RATE, width=template.width, height=template.height)
        stream.codec_context.codec_tag = "hvc1"
        stream.codec_context.gop_size = 4 * RATE
        stream.codec_context.time_base = Fraction(1, 90_000)
        stream.codec_context.options = encoder_options(SETTINGS)
        for frame in pictures.decode(video=0):
            frame.pict_type = 0
            clip.mux(stream.encode(frame))
        clip.mux(stream.encode(None))


def _preserve(source: Path, directory: Path) -> None:
    segment, window = _whole(source)
    asyncio.run(write_artefacts_apart([segment], window, directory, settings=SETTINGS))


def _file_copy(source: Path, directory: Path) -> None:
    shutil.copyfile(source, directory / "copy.mp4")


def _native_copy(segment: Segment, window: Window, source: Path, directory: Path) -> None:
    (part,) = stretches(plan([(segment, scan(source, DEFAULT_LIMITS))], window))
    copy_packets(part, directory / "native.mp4", DEFAULT_LIMITS)


def _whole(source: Path) -> tuple[Segment, Window]:
    length = probe(source).video.duration_us
    clock = ClockMap(anchors=((0, 0),), error_us=0, source=ClockSource.GIVEN)
    segment = Segment(path=source, clock=clock, starts_at=0, ends_at=length, source_name=source.name, sha256=None)
    return segment, Window(asked_from=0, asked_to=length, event_at=length // 3)


def _seconds(work: Callable[[Path, Path], None], source: Path) -> float:
    with tempfile.TemporaryDirectory(dir=source.parent) as directory:
        started = time.perf_counter()
        work(source, Path(directory))
        return time.perf_counter() - started


def _peak_megabytes(source: Path) -> float:
    """The most memory that the process which cuts and encodes held, seen from one that starts no other process."""
    watcher = [sys.executable, "-m", "benchmarks.clip_preserve", "--peak", str(source)]
    finished = subprocess.run(watcher, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[1])
    return float(json.loads(finished.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"of footage (default {SECONDS})")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak is None:
        clip_preserve(options.rounds, options.seconds)
        return
    _seconds(_preserve, options.peak)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    main()
