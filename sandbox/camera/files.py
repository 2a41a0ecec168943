"""Recordings as a camera or its recorder leaves them: files one after the other, each beginning at PTS 0."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.stream import VideoStream

from sandbox.camera.pattern import draw_frame

NAMES = "%Y%m%dT%H%M%S.%fZ.mp4"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = 1_000_000
_VIDEO_TIME_BASE = Fraction(1, 90_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """What to record: from `starts_at` (µs since 1970) for `seconds`, in files of `segment_seconds`."""

    starts_at: int
    seconds: float
    segment_seconds: float = 10.0
    width: int = 320
    height: int = 180
    rate: int = 10
    gop_seconds: float = 1.0
    codec: str = "libx264"
    names: str = NAMES  # of each file, from its UTC time; its suffix chooses the container
    format: str | None = None  # of the container, where the suffix does not tell


def write_segments(directory: Path, recording: Recording) -> list[Path]:
    """Write the files, as fast as they can be encoded; every picture carries its own time."""
    return list(_segments(directory, recording))


def write_segment(path: Path, recording: Recording) -> Path:
    """Write all of the recording into one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", format=recording.format) as container:
        stream = cast(VideoStream, container.add_stream(recording.codec, rate=recording.rate))
        stream.width, stream.height = recording.width, recording.height
        stream.pix_fmt = "yuvj420p" if recording.codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = max(1, round(recording.gop_seconds * recording.rate))
        stream.time_base = _VIDEO_TIME_BASE
        if recording.codec == "libx264":
            stream.options = {"preset": "ultrafast"}
        elif recording.codec == "libx265":
            stream.options = {"preset": "ultrafast", "x265-params": "log-level=none"}
        for number in range(round(recording.seconds * recording.rate)):
            elapsed = Fraction(number, recording.rate)
            at = recording.starts_at + int(elapsed * _MICROSECONDS)
            frame = draw_frame(recording.width, recording.height, at)
            frame.time_base = Fraction(1, recording.rate)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _segments(directory: Path, recording: Recording) -> Iterator[Path]:
    done = 0.0
    while done < recording.seconds:
        seconds = min(recording.segment_seconds, recording.seconds - done)
        at = recording.starts_at + round(done * _MICROSECONDS)
        name = f"{_EPOCH + timedelta(microseconds=at):{recording.names}}"
        yield write_segment(
            directory / name,
            Recording(
                starts_at=at,
                seconds=seconds,
                width=recording.width,
                height=recording.height,
                rate=recording.rate,
                gop_seconds=recording.gop_seconds,
                codec=recording.codec,
                format=recording.format,
            ),
        )
        done += seconds
