"""Footage is opened and read here and nowhere else: which demuxers may see it, its limits, its clock, its errors.

libav names a format by looking at the bytes. Left alone it would also accept play lists, which make it open other
files and network addresses, so both the formats and the protocols are a closed list.
"""

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from media.errors import MediaError, Reason
from media.video.cut_off import is_cut_off
from media.video.values import Limits

SECOND: Final = 1_000_000

# The demuxers of MP4 and MOV (fragmented or not), Matroska, MPEG-TS, MPEG-PS and AVI.
_FORMATS: Final = "mov,matroska,mpegts,mpeg,avi"
# Codecs of cameras, recorders and telephones. The decoders of other codecs see no hostile bytes.
_VIDEO_CODECS: Final = frozenset(
    {
        "h264",
        "hevc",
        "mjpeg",
        "mpeg4",
        "mpeg1video",
        "mpeg2video",
        "msmpeg4v1",
        "msmpeg4v2",
        "msmpeg4v3",
        "h263",
        "vp8",
        "vp9",
        "av1",
    }
)
# libav reads this much to learn what a file holds. A camera's first keyframe may come 20 s after its first byte.
_PROBE_BYTES: Final = 32 << 20
_PROBE_US: Final = 30 * SECOND
# Not the fault of the footage: another attempt may go well. (EIO is also what libav says of damaged files.)
_DISK_TROUBLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EMFILE})
# Smaller pictures than one coding unit are not of a camera, and libx265 refuses them.
_LEAST_SIDE: Final = 16
# A clock this far off is no clock: 300 years. It also keeps every sum within 64 bits.
_CLOCK_LIMIT_US: Final = 10**16
# Steps back of decoding time by less are a careless muxer; by more, the camera's clock has started anew.
_RESTART_US: Final = SECOND
# In MPEG streams a new start may also look like a leap ahead, as their clocks go round. A shorter one is a hole.
_ROUND_FORMATS: Final = frozenset({"mpegts", "mpeg"})
_LONGEST_HOLE_US: Final = 3_600 * SECOND
# A picture is shown after at most 16 others that follow it; sound may lie between them.
_MOST_HELD: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A file being read: its video, and its first audio if it has any."""

    container: InputContainer
    video: VideoStream
    audio: AudioStream | None

    @property
    def video_codec(self) -> str:
        """The name of the codec, whatever decodes it."""
        return codec_name(self.video)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedSound:
    """A file being read for its first audio alone."""

    container: InputContainer
    audio: AudioStream


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """One packet on the clock of its file, in microseconds. `pts` and `dts` go on where the file's own start anew."""

    packet: "Packet[Stream]"
    is_video: bool
    pts: int
    dts: int
    duration: int  # 0 when the file does not tell


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[Opened]:
    """Open a file of footage. Raises MediaError, also for what goes wrong with libav while it is being read."""
    with _opened(path, limits) as container:
        yield Opened(container=container, video=_video_of(container, path, limits), audio=_audio_of(container))


@contextmanager
def opened_sound(path: Path, limits: Limits) -> Iterator[OpenedSound]:
    """Open a file for its sound alone; video it need not hold. Raises MediaError as `opened`, or FOOTAGE_EMPTY."""
    with _opened(path, limits) as container:
        audio = _audio_of(container)
        if audio is None:
            raise MediaError(Reason.FOOTAGE_EMPTY, f"{path.name} holds no sound")
        yield OpenedSound(container=container, audio=audio)


@contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[InputContainer]:
    _check_file(path, limits)
    options = {
        "format_whitelist": _FORMATS,
        "protocol_whitelist": "file",
        "max_streams": str(limits.streams),
        "probesize": str(_PROBE_BYTES),
        "analyzeduration": str(_PROBE_US),
        "max_pixels": str(limits.pixels),
    }
    with readable(path), _open(path, options) as container:
        if len(container.streams) > limits.streams:
            raise MediaError(Reason.TOO_LARGE, f"{path.name} has more than {limits.streams} streams")
        yield container


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Name the file in what libav says of it, and make that a `MediaError`; trouble of the disk stays an OSError."""
    try:
        yield
    except MemoryError as error:  # before the next line: libav's own is both
        raise MediaError(Reason.TOO_LARGE, f"{path.name} needs more memory than is allowed") from error
    except av.error.FFmpegError as error:
        if error.errno in _DISK_TROUBLE:
            raise
        raise MediaError(Reason.FOOTAGE_UNREADABLE, f"{path.name} cannot be read as video: {error.strerror}") from error


def timed_packets(source: Opened) -> Iterator[Timed]:
    """Every packet of the video, and of the audio, in the order of the file; raises `av.FFmpegError` where it breaks.

    Time stamps that are missing are made from their neighbours.
    """
    streams = [source.video] if source.audio is None else [source.video, source.audio]
    clocks = {stream.index: _StreamClock(time_base_of(stream), _leap(source.container)) for stream in streams}
    # libav ends a stream with an empty packet; files may hold others, which carry nothing.
    packets = (packet for packet in source.container.demux(*streams) if packet.size > 0)
    for packet in _with_first_dts(packets, source.video.index):
        is_video = packet.stream_index == source.video.index
        yield clocks[packet.stream_index].timed(packet, is_video=is_video)


def timed_sound(source: OpenedSound) -> Iterator[Timed]:
    """As `timed_packets`, the packets of the audio alone, up to where the file breaks."""
    clock = _StreamClock(time_base_of(source.audio), _leap(source.container))
    try:
        for packet in source.container.demux([source.audio]):
            if packet.size > 0:
                yield clock.timed(packet, is_video=False)
    except MemoryError:
        raise
    except av.error.FFmpegError as error:
        if error.errno in _DISK_TROUBLE:
            raise


def _leap(container: InputContainer) -> int:
    return _LONGEST_HOLE_US if container.format.name in _ROUND_FORMATS else _CLOCK_LIMIT_US


def _with_first_dts(packets: "Iterator[Packet[Stream]]", video: int) -> "Iterator[Packet[Stream]]":
    """The same packets, where the first pictures have no decoding time given one before that of the next that has.

    Matroska has none: libav makes them out of the order of the pictures, but for the first few. Their own time, which
    may be after that of many that follow, would push these aside.
    """
    held: list[Packet[Stream]] = []
    try:
        for packet in packets:
            held.append(packet)
            if packet.stream_index == video and packet.dts is not None:
                _count_down([one for one in held if one.stream_index == video], packet.dts)
                break
            if len(held) >= _MOST_HELD:
                break
    except av.error.FFmpegError:
        yield from held
        raise
    yield from held
    yield from packets


def _count_down(pictures: "list[Packet[Stream]]", dts: int) -> None:
    for picture in reversed(pictures[:-1]):
        dts -= max(1, picture.duration or 0)
        picture.dts = dts


def packets_until_break(source: Opened) -> Iterator[Timed]:
    """As `timed_packets`, up to where the file breaks: what comes before is footage all the same."""
    try:
        yield from timed_packets(source)
    except MemoryError:
        raise
    except av.error.FFmpegError as error:
        if error.errno in _DISK_TROUBLE:
            raise


def to_us(ticks: int, time_base: Fraction) -> int:
    """Microseconds, rounded; exact when turned back, for ticks of two microseconds and more."""
    return (ticks * time_base.numerator * SECOND + time_base.denominator // 2) // time_base.denominator


def to_ticks(us: int, time_base: Fraction) -> int:
    """The nearest tick."""
    scale = time_base.numerator * SECOND
    return (us * time_base.denominator + scale // 2) // scale


def time_base_of(stream: Stream) -> Fraction:
    """The length of a tick, in seconds."""
    return stream.time_base or Fraction(1, SECOND)


def codec_name(stream: VideoStream | AudioStream) -> str:
    """The name of the codec, whatever decodes it: `h264`, `mp3`."""
    return stream.codec_context.codec.canonical_name


@dataclass(slots=True)
class _StreamClock:
    """Fills in missing time stamps of one stream, and lets its time go on where the file starts it anew."""

    time_base: Fraction
    leap_us: int
    _last: int | None = field(default=None, init=False)
    _last_duration: int = field(default=0, init=False)
    _shift: int = field(default=0, init=False)

    def timed(self, packet: "Packet[Stream]", *, is_video: bool) -> Timed:
        duration = max(0, to_us(packet.duration or 0, self.time_base))
        stamp = packet.dts if packet.dts is not None else packet.pts
        dts = to_us(stamp, self.time_base) + self._shift if stamp is not None else self._expected()
        if self._last is not None and not -_RESTART_US <= dts - self._last <= self.leap_us:
            self._shift += self._expected() - dts
            dts = self._expected()
        pts = to_us(packet.pts, self.time_base) + self._shift if packet.pts is not None else dts
        if max(abs(pts), abs(dts), duration) > _CLOCK_LIMIT_US:
            raise MediaError(Reason.FOOTAGE_UNREADABLE, "the file has time stamps that no recording can have")
        step = 0 if self._last is None else dts - self._last
        self._last, self._last_duration = dts, duration or max(0, step)
        return Timed(packet=packet, is_video=is_video, pts=pts, dts=dts, duration=duration)

    def _expected(self) -> int:
        # Without a duration the time of a packet stands still; whoever writes it elsewhere makes it rise.
        return 0 if self._last is None else self._last + self._last_duration


def _open(path: Path, options: dict[str, str]) -> InputContainer:
    try:
        return av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.error.InvalidDataError, av.error.EOFError) as error:
        if is_cut_off(path):
            message = f"{path.name} is cut off before anything in it can be shown"
            raise MediaError(Reason.FOOTAGE_TRUNCATED, message) from error
        raise
    except av.error.ArgumentError as error:  # a format that is not among those allowed
        message = f"{path.name} is no MP4, QuickTime, Matroska, WebM, MPEG or AVI file that can be read"
        raise MediaError(Reason.FOOTAGE_UNREADABLE, message) from error


def _check_file(path: Path, limits: Limits) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise MediaError(Reason.FOOTAGE_UNREADABLE, f"{path.name} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(Reason.FOOTAGE_UNREADABLE, f"{path.name} is not a file")
    if status.st_size == 0:
        raise MediaError(Reason.FOOTAGE_EMPTY, f"{path.name} is empty")
    if status.st_size > limits.file_bytes:
        raise MediaError(Reason.TOO_LARGE, f"{path.name} is larger than {limits.file_bytes} bytes")


def _audio_of(container: InputContainer) -> AudioStream | None:
    audio = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
    if audio is None or not (audio.codec_context.sample_rate > 0 and audio.codec_context.channels > 0):
        return None
    return audio


def _video_of(container: InputContainer, path: Path, limits: Limits) -> VideoStream:
    pictures = (Disposition.attached_pic, Disposition.timed_thumbnails)
    video = next((s for s in container.streams.video if not any(s.disposition & picture for picture in pictures)), None)
    if video is None:
        raise MediaError(Reason.NO_VIDEO, f"{path.name} holds no video")
    context = video.codec_context
    if context is None or context.codec.canonical_name not in _VIDEO_CODECS:
        name = "an unknown codec" if context is None else context.codec.canonical_name
        raise MediaError(Reason.UNSUPPORTED_CODEC, f"{path.name}: video of the codec {name} is not supported")
    if min(context.width, context.height) < _LEAST_SIDE:
        message = f"{path.name}: pictures of {context.width}x{context.height} are too small to be of a camera"
        raise MediaError(Reason.FOOTAGE_UNREADABLE, message)
    if context.width * context.height > limits.pixels:
        raise MediaError(Reason.TOO_LARGE, f"{path.name}: pictures of {context.width}x{context.height} are too large")
    return video
