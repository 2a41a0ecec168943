"""Copies packets out of files into one new file, encoding nothing.

Inside a file the distances between time stamps stay those of the camera, to the tick. Between files they are those of
the wall clock, so that a gap stays a gap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.codec import Codec
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from media.errors import MediaError, Reason
from media.video.parameters import annex_b, units
from media.video.plan import Stretch
from media.video.reading import Opened, Timed, opened, packets_until_break, time_base_of, to_ticks, to_us
from media.video.values import Limits

# Open formats first: by extension, libav's name.
_CONTAINERS: Final = {"mp4": "mp4", "mkv": "matroska", "mov": "mov"}
# MP4 counts ticks of its tracks in 32 bits per second; finer clocks than this one are of no use to video.
FINEST_TICK: Final = Fraction(1, 90_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What was written: start and end of every frame in wall time, and its start in the file, in order."""

    frames: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]
    has_audio: bool

    @property
    def ends(self) -> int:
        """Where the last frame ends in the file."""
        return max(start + end - shown for start, (shown, end) in zip(self.starts, self.frames, strict=True))


@dataclass(slots=True)
class Writer:
    """One packet at a time into a file, at rising times."""

    container: OutputContainer
    streams: dict[bool, Stream]  # by whether it is the video
    ticks: dict[bool, Fraction]
    starts: list[int] = field(default_factory=list, init=False)  # of the frames, in microseconds
    _last: dict[bool, int] = field(default_factory=dict, init=False)

    def next_free_us(self) -> int | None:
        """The least decoding time of the next packet of video; None for any."""
        last = self._last.get(True)
        return None if last is None else to_us(last + 1, self.ticks[True])

    def write(self, packet: "Packet[Stream]", timed: Timed, shift_us: int) -> None:
        """Write it at the time it has on the clock of its file, moved by so much."""
        tick = self.ticks[timed.is_video]
        shift = to_ticks(shift_us, tick)
        dts = to_ticks(timed.dts, tick) + shift
        last = self._last.get(timed.is_video)
        if last is not None and dts <= last:
            dts = last + 1
        packet.stream = self.streams[timed.is_video]
        packet.time_base = tick
        packet.dts = self._last[timed.is_video] = dts
        pts = packet.pts = max(dts, to_ticks(timed.pts, tick) + shift)
        if timed.is_video:
            self.starts.append(to_us(pts, tick))
        packet.duration = to_ticks(timed.duration, tick)
        self.container.mux(packet)


def container_for(stretches: Sequence[Stretch]) -> tuple[str, bool]:
    """The file name extension of a container that holds the video as it is, and whether it holds the audio too."""
    probe = stretches[0].piece.scan.probe
    # Containers list their codecs under the names of the decoders.
    video = {Codec(probe.video.codec, "r").name}
    both = video if probe.audio is None else {*video, Codec(probe.audio.codec, "r").name}
    for wanted in (both, video):
        for extension, name in _CONTAINERS.items():
            with av.open("/dev/null", "w", format=name) as container:
                if wanted <= container.supported_codecs:
                    return extension, wanted == both
    raise MediaError(Reason.UNSUPPORTED_CODEC, f"no container holds video of the codec {probe.video.codec}")


def copy_packets(
    stretches: Sequence[Stretch],
    path: Path,
    limits: Limits,
    *,
    audio: bool = True,
    tag: str | None = None,
) -> Copied:
    """Write the stretches, which share their codec parameters, into one file; audio of the same time goes with them.

    `tag` is the four letters that name the codec in MP4; by default the source's own. Raises MediaError.
    """
    origin = stretches[0].piece.utc(stretches[0].first)
    frames: list[tuple[int, int]] = []
    writer: Writer | None = None
    options = {} if path.suffix == ".mkv" else {"movflags": "+faststart"}
    with av.open(str(path), "w", format=_CONTAINERS[path.suffix[1:]], container_options=options) as container:
        for stretch in stretches:
            with opened(stretch.piece.segment.path, limits) as source:
                if writer is None:
                    writer = _writer(container, source, stretch, tag, audio=audio)
                frames += _copy_stretch(writer, source, stretch, origin)
    starts = () if writer is None else tuple(sorted(writer.starts))
    has_audio = writer is not None and False in writer.streams
    if not starts or len(starts) != len(frames):
        raise MediaError(Reason.FOOTAGE_UNREADABLE, "the footage reads differently each time it is read")
    return Copied(frames=tuple(sorted(frames)), starts=starts, has_audio=has_audio)


def _writer(container: OutputContainer, source: Opened, stretch: Stretch, tag: str | None, *, audio: bool) -> Writer:
    video = container.add_stream_from_template(source.video, opaque=True)
    extradata = stretch.extradata
    if extradata is None and not source.video.codec_context.extradata and stretch.sets:
        extradata = annex_b(stretch.sets)
    if extradata is not None:
        video.codec_context.extradata = extradata
    if source.video_codec == "hevc" and container.format.name != "matroska":
        video.codec_context.codec_tag = tag or ("hvc1" if source.video.codec_context.codec_tag == "hvc1" else "hev1")
    streams: dict[bool, Stream] = {True: video}
    ticks = {True: max(FINEST_TICK, time_base_of(source.video))}
    if audio and source.audio is not None:
        streams[False] = container.add_stream_from_template(source.audio, opaque=True)
        ticks[False] = Fraction(1, source.audio.codec_context.sample_rate)
    for is_video, stream in streams.items():
        stream.time_base = ticks[is_video]
    return Writer(container=container, streams=streams, ticks=ticks)


def _copy_stretch(writer: Writer, source: Opened, stretch: Stretch, origin: int) -> list[tuple[int, int]]:
    piece = stretch.piece
    scan, clock = piece.scan, piece.segment.clock
    start = scan.pts[stretch.first]
    # From the clock of the file to that of the new one. The clocks of two files may disagree by a little: then the
    # second one begins just after the first.
    shift = clock.utc_of(start) - origin - start - scan.zero_us
    free = writer.next_free_us()
    if free is not None:
        shift = max(shift, free - scan.dts[stretch.first] - scan.zero_us)
    # Frames that an edit list hides are copied and seen: without them those after could not be decoded.
    frames = [
        (clock.utc_of(scan.pts[index]), piece.end_of(scan.pts[index]))
        for index in range(stretch.first, stretch.stop)
        if scan.pts[index] >= start
    ]
    audio_from, audio_to = frames[0][0], max(end for _, end in frames)
    index = -1
    for timed in packets_until_break(source):
        if timed.is_video:
            index += 1
            if index >= stretch.stop:
                break
            # Pictures after the first keyframe that are shown before it need frames that are not copied.
            if index >= stretch.first and scan.pts[index] >= start:
                writer.write(_reframed(timed.packet, stretch), timed, shift)
        elif False in writer.streams and audio_from <= clock.utc_of(timed.pts - scan.zero_us) < audio_to:
            writer.write(timed.packet, timed, shift)
    return frames


def _reframed(packet: "Packet[Stream]", stretch: Stretch) -> "Packet[Stream]":
    if not stretch.reframe:
        return packet
    changed: Packet[Stream] = Packet(annex_b(units(bytes(packet), stretch.piece.scan.unit_length)))
    changed.is_keyframe = packet.is_keyframe
    return changed
