"""Copies the video, the sound or both of a file into an MP4 file: the packets as they are, at the times they have."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import av
from av.stream import Stream

from media.errors import MediaError, Reason
from media.video.check import check_copy, check_sound
from media.video.copying import FINEST_TICK, Writer
from media.video.encoding import mp4_options, tool
from media.video.reading import opened, packets_until_break, time_base_of
from media.video.recording_values import Encoded, Separated
from media.video.scan import Scan, scan
from media.video.timing import time_zero
from media.video.values import DEFAULT_LIMITS, Limits

# What every player of MP4 files plays.
_PIXEL_FORMATS: Final = frozenset({"yuv420p", "yuvj420p"})


def is_within_policy(found: Scan) -> bool:
    """Whether a file holds what recordings hold once they are encoded, and may therefore stay as it is."""
    video, audio = found.probe.video, found.probe.audio
    return (
        "mp4" in found.probe.container.split(",")
        and video.codec == "h264"
        and video.pixel_format in _PIXEL_FORMATS
        and (audio is None or audio.codec == "aac")
        and not found.changes
        and not found.hidden
        and not found.probe.truncated
    )


def copy_recording(source: Path, target: Path, found: Scan, limits: Limits) -> Encoded | None:
    """Copy video and sound; None where the copy's times do not add up, as those of the source then do not."""
    copied = _copy(source, target, found, limits, video=True, audio=found.probe.audio is not None)
    try:
        remark = check_copy(target, copied.starts, copied.shown_until)
    except MediaError as error:
        if error.reason != Reason.DERIVATIVE_WRONG:
            raise
        return None
    return None if remark is not None else _encoded(target, found, copied, video=True, audio=copied.sounds > 0)


def separate(source: Path, directory: Path, *, limits: Limits = DEFAULT_LIMITS) -> Separated:
    """Copy the video of a recording into `video.mp4` and its AAC sound, if it has any, into `audio.m4a`.

    Raises MediaError: those of `probe`; UNSUPPORTED_CODEC for other sound; DERIVATIVE_WRONG.
    """
    found = scan(source, limits)
    path = directory / "video.mp4"
    copied = _copy(source, path, found, limits, video=True, audio=False)
    remark = check_copy(path, copied.starts, copied.shown_until)
    video = _encoded(path, found, copied, video=True, audio=False)
    video = replace(video, notes=() if remark is None else (remark,))
    if found.probe.audio is None:
        return Separated(video=video, audio=None)
    if found.probe.audio.codec != "aac":
        message = f"{source.name}: sound of the codec {found.probe.audio.codec} does not go into an M4A file"
        raise MediaError(Reason.UNSUPPORTED_CODEC, message)
    path = directory / "audio.m4a"
    copied = _copy(source, path, found, limits, video=False, audio=True)
    check_sound(path, copied.sounds, copied.heard_until)
    return Separated(video=video, audio=_encoded(path, found, copied, video=False, audio=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Copied:
    starts: tuple[int, ...]  # of the pictures, in microseconds after time zero
    shown_until: int
    heard_until: int
    sounds: int  # packets


def _copy(  # noqa: PLR0913 - one file into another, and what of it
    source: Path, target: Path, found: Scan, limits: Limits, *, video: bool, audio: bool
) -> _Copied:
    kind = "mp4" if video else "ipod"  # libav's name of M4A
    zero = time_zero(source, found.zero_us, limits)
    heard_until = sounds = 0
    with (
        opened(source, limits) as footage,
        av.open(str(target), "w", format=kind, container_options=mp4_options()) as container,
    ):
        streams: dict[bool, Stream] = {}
        if video:
            streams[True] = container.add_stream_from_template(footage.video, opaque=True)
        if audio and footage.audio is not None:
            streams[False] = container.add_stream_from_template(footage.audio, opaque=True)
        ticks = {is_video: max(FINEST_TICK, time_base_of(stream)) for is_video, stream in streams.items()}
        for is_video, stream in streams.items():
            stream.time_base = ticks[is_video]
        writer = Writer(container=container, streams=streams, ticks=ticks)
        for timed in packets_until_break(footage):
            if timed.is_video in streams:
                writer.write(timed.packet, timed, -zero)
                sounds += not timed.is_video
                if not timed.is_video:
                    heard_until = max(heard_until, timed.pts + timed.duration - zero)
    shown_until = found.zero_us - zero + found.probe.video.duration_us
    return _Copied(starts=tuple(sorted(writer.starts)), shown_until=shown_until, heard_until=heard_until, sounds=sounds)


def _encoded(path: Path, found: Scan, copied: _Copied, *, video: bool, audio: bool) -> Encoded:
    track = found.probe.video
    ends = [copied.shown_until] if video else []
    return Encoded(
        path=path,
        width=track.width if video else 0,
        height=track.height if video else 0,
        frames=len(copied.starts),
        duration_us=max([*ends, copied.heard_until]),
        video_codec=track.codec if video else None,
        audio_codec="aac" if audio else None,
        copied=True,
        tool=tool("stream copy", container=path.suffix[1:]),
        annotation_offset_us=None,
        strokes_painted=0,
        notes=(),
    )
