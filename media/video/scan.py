"""Reads a whole file without decoding it, and finds what headers only claim: frames, keyframes, length, breaks.

Everything that cuts works on this index. Positions are `media_us` (media/video/values.py).
"""

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import av
from av.packet import Packet
from av.stream import Stream

from media.errors import MediaError, Reason
from media.video.parameters import ParameterSets, annex_b, beside, has_parameter_sets, inside, length_size
from media.video.reading import SECOND, Opened, Timed, codec_name, opened, time_base_of, timed_packets, to_us
from media.video.values import AudioTrack, Limits, Probe, VideoTrack

# A lone frame lasts as long as one of 25 a second.
_LONE_FRAME_US: Final = 40_000
# A last frame that claims to last longer than so many others does not.
_LONGEST_LAST_FRAME: Final = 10
# Whoever changes more often is not a camera.
_MOST_PARAMETER_CHANGES: Final = 64
# How much of what the header declares may be missing without anything being cut off.
_DECLARED_SLACK_US: Final = SECOND


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterChange:
    """From this packet on the video needs other parameter sets than before."""

    index: int
    sets: ParameterSets
    extradata: bytes
    reframe: bool  # the units of the packets must be put behind start codes, as in `extradata`


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """The packets of a file's video in the order of the file."""

    probe: Probe
    zero_us: int  # the first frame on the file's clock, as `Timed` tells it
    pts: "array[int]"
    dts: "array[int]"
    keys: "array[int]"  # indices of packets
    hidden: frozenset[int]  # indices of packets which only help to decode others (edit lists)
    shown: "array[int]"  # positions of all shown frames, sorted
    nominal_us: int  # how long a frame usually lasts
    extradata: bytes | None
    sets: ParameterSets
    unit_length: int | None
    changes: tuple[ParameterChange, ...]
    audio_extradata: bytes | None

    def frame_end(self, position: int) -> int:
        """Where the frame shown at this position ends."""
        after = bisect_right(self.shown, position)
        return self.shown[after] if after < len(self.shown) else self.probe.video.duration_us


def scan(path: Path, limits: Limits) -> Scan:
    """Read all of a file. Raises MediaError when it holds no frame of video, or is refused by `opened`."""
    with opened(path, limits) as source:
        index = _Index(source, limits)
        broken = False
        try:
            for timed in timed_packets(source):
                if timed.is_video:
                    index.add(timed)
        except MemoryError:
            raise
        except av.FFmpegError:
            # What came before the break is footage all the same.
            broken = True
        if not index.shown:
            raise MediaError(Reason.FOOTAGE_EMPTY, f"{path.name} holds no frame of video")
        if not index.keys:
            raise MediaError(Reason.FOOTAGE_TRUNCATED, f"{path.name} holds no keyframe, so nothing of it can be shown")
        return index.finished(path, broken=broken)


class _Index:
    def __init__(self, source: Opened, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._codec = source.video_codec
        self._stamps = array("q")
        self._decoded_at = array("q")
        self.keys = array("q")
        self._hidden: set[int] = set()
        self.shown: list[int] = []
        self._last: Timed | None = None
        context = source.video.codec_context
        self._extradata = context.extradata
        self._parameters = _Parameters(self._codec, context.extradata)

    def add(self, timed: Timed) -> None:
        index = len(self._stamps)
        if index >= self._limits.packets:
            raise MediaError(Reason.TOO_LARGE, f"a file has more than {self._limits.packets} packets of video")
        self._stamps.append(timed.pts)
        self._decoded_at.append(timed.dts)
        if timed.packet.is_keyframe:
            self.keys.append(index)
        if timed.packet.is_keyframe or timed.packet.has_sidedata("new_extradata"):
            self._parameters.see(index, timed.packet)
        if timed.packet.is_discard:
            self._hidden.add(index)
        else:
            self.shown.append(timed.pts)
            if self._last is None or timed.pts >= self._last.pts:
                self._last = timed

    def finished(self, path: Path, *, broken: bool) -> Scan:
        zero = min(self.shown)
        shown = array("q", sorted(stamp - zero for stamp in set(self.shown)))
        nominal = _nominal(shown, 0 if self._last is None else self._last.duration)
        last = 0 if self._last is None else self._last.duration
        duration = shown[-1] + (last if 0 < last <= _LONGEST_LAST_FRAME * nominal else nominal)
        for stamps in (self._stamps, self._decoded_at):
            for index, stamp in enumerate(stamps):
                stamps[index] = stamp - zero
        video = self._source.video
        return Scan(
            probe=Probe(
                container=self._source.container.format.name,
                size=path.stat().st_size,
                video=VideoTrack(
                    codec=self._codec,
                    width=video.codec_context.width,
                    height=video.codec_context.height,
                    pixel_format=video.codec_context.pix_fmt,
                    frames=len(self.shown),
                    keyframes=tuple(self._stamps[index] for index in self.keys if index not in self._hidden),
                    duration_us=duration,
                    container_start_us=zero,
                ),
                audio=_audio_track(self._source),
                truncated=broken or self._less_than_declared(shown),
                created_at=_created_at(self._source.container.metadata),
            ),
            zero_us=zero,
            pts=self._stamps,
            dts=self._decoded_at,
            keys=self.keys,
            hidden=frozenset(self._hidden),
            shown=shown,
            nominal_us=nominal,
            extradata=self._extradata,
            sets=self._parameters.first,
            unit_length=self._parameters.unit_length,
            changes=tuple(self._parameters.changes),
            audio_extradata=None if self._source.audio is None else self._source.audio.codec_context.extradata,
        )

    def _less_than_declared(self, shown: "array[int]") -> bool:
        # Of the formats read here only MP4, MOV and AVI count their frames. A count alone is not believed: an edit
        # list may hide frames, so the last declared moment must be missing too.
        video = self._source.video
        declared = to_us(video.duration or 0, time_base_of(video))
        return video.frames > len(self._stamps) and declared > shown[-1] - shown[0] + _DECLARED_SLACK_US


@dataclass(slots=True)
class _Parameters:
    codec: str
    extradata: bytes | None
    first: ParameterSets = field(init=False)
    unit_length: int | None = field(init=False)
    changes: list[ParameterChange] = field(default_factory=list, init=False)
    _current: ParameterSets = field(init=False)

    def __post_init__(self) -> None:
        relevant = has_parameter_sets(self.codec)
        self.unit_length = length_size(self.codec, self.extradata) if relevant else None
        self.first = beside(self.codec, self.extradata) if relevant else frozenset()
        self._current = self.first

    def see(self, index: int, packet: "Packet[Stream]") -> None:
        if not has_parameter_sets(self.codec):
            return
        if packet.has_sidedata("new_extradata"):
            extradata = bytes(packet.get_sidedata("new_extradata"))
            self._change(index, beside(self.codec, extradata), extradata, reframe=False)
        found = inside(self.codec, bytes(packet), self.unit_length)
        if not found <= self._current:
            self._change(index, found, annex_b(found), reframe=self.unit_length is not None)

    def _change(self, index: int, sets: ParameterSets, extradata: bytes, *, reframe: bool) -> None:
        if sets == self._current:
            return
        if not self._current and not self.changes:
            # A transport stream whose first keyframe libav had not met when it was opened.
            self.first = sets
        elif len(self.changes) >= _MOST_PARAMETER_CHANGES:
            raise MediaError(Reason.TOO_LARGE, "the video changes its codec parameters without end")
        else:
            self.changes.append(ParameterChange(index=index, sets=sets, extradata=extradata, reframe=reframe))
        self._current = sets


def _nominal(shown: "array[int]", last_duration: int) -> int:
    steps = sorted(after - before for before, after in pairwise(shown))
    if steps:
        return steps[len(steps) // 2]
    return last_duration if 0 < last_duration <= SECOND else _LONE_FRAME_US


def _audio_track(source: Opened) -> AudioTrack | None:
    if source.audio is None:
        return None
    context = source.audio.codec_context
    return AudioTrack(codec=codec_name(source.audio), sample_rate=context.sample_rate, channels=context.channels)


def _created_at(metadata: dict[str, str]) -> int | None:
    try:
        created = datetime.fromisoformat(metadata["creation_time"])
    except (KeyError, ValueError):
        return None
    # Recorders without a clock write zero, which QuickTime counts from 1904; before 1990 nobody recorded such files.
    if created.tzinfo is None or created < datetime(1990, 1, 1, tzinfo=UTC):
        return None
    return (created - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
