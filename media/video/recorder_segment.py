"""Writes one segment: the camera's packets as they came, in a fragmented file that a kill costs at most a fragment of.

Durability boundaries:
1. The sidecar is there before the segment's first byte, so a segment without one was never ours to place.
2. Fragments reach the file every second. What a killed recorder had not written is lost, and no more.
3. `finish` syncs segment and sidecar before it says `finished`, digest and all: from then on a power cut changes
   nothing. Without it the next recorder says `interrupted`.
"""

import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from media.video.recorder_clock import CameraClock
from media.video.recorder_ring import MP4, QUICKTIME
from media.video.recorder_sidecar import Lost, SegmentState, Sidecar, sidecar_of, write_sidecar
from media.video.recorder_timeline import Timeline, Times
from media.video.values import ClockMap, ClockSource

FRAGMENT_US = 1_000_000
SIDECAR_EVERY_US = 1_000_000

# What MP4 can carry; QuickTime, its elder, carries the telephone codecs of cameras as well.
_MP4_SOUND = frozenset({"aac", "mp3", "opus", "ac3", "eac3"})
_QUICKTIME_SOUND = frozenset({"pcm_alaw", "pcm_mulaw"})
_OPTIONS = {
    # Nothing is written twice, so the file can be hashed as it grows and read while it does.
    "movflags": "empty_moov+default_base_moof+frag_keyframe",
    "frag_duration": str(FRAGMENT_US),
    "use_editlist": "0",
    "flush_packets": "1",
}


def sound_can_be_kept(codec: str) -> bool:
    """Whether a segment can carry this sound as it is."""
    return codec in _MP4_SOUND | _QUICKTIME_SOUND


def suffix_for(sound: str | None) -> str:
    """The container for the sound's codec."""
    return QUICKTIME if sound in _QUICKTIME_SOUND else MP4


class SegmentWriter:
    """One segment, from its first picture to `finish`. All methods raise OSError when the disk does."""

    def __init__(  # noqa: PLR0913 - each says one thing about the segment
        self,
        path: Path,
        video: VideoStream,
        audio: AudioStream | None,
        clock: CameraClock,
        *,
        began_at: int,
        lost_before: Lost | None,
    ) -> None:
        self.path = path
        self.frames = 0
        self._lost_before = lost_before
        self._clock = clock
        clock.begin_segment()
        # Stands until the first packet has told better.
        self._assumed = ClockMap(anchors=((0, began_at),), error_us=0, source=ClockSource.ARRIVAL)
        self.began_us: int | None = None  # on the timeline of the video
        self._first_shown_us = 0
        self._media_us = 0
        self._noted_us = 0
        self._note(SegmentState.RECORDING, size=0)
        self._file = _HashedFile(path)
        container_format = "mov" if path.suffix == QUICKTIME else "mp4"
        self._container = av.open(self._file, "w", format=container_format, options=_OPTIONS)
        self._outputs: dict[int, Stream] = {video.index: self._container.add_stream_from_template(video)}
        if audio is not None:
            self._outputs[audio.index] = self._container.add_stream_from_template(audio)
        self._video_index = video.index

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.size

    def write(
        self, packet: "Packet[Any]", times: Times, timeline: Timeline, *, arrived_at: int, camera_at: int | None
    ) -> None:
        """Add a packet of one of the streams. `arrived_at` is on the monotonic clock, `camera_at` the camera's UTC."""
        is_video = packet.stream.index == self._video_index
        at = timeline.microseconds(times.dts)
        if self.began_us is None:
            if not is_video:
                return
            self.began_us = at
        origin = timeline.units(self.began_us)
        if times.dts < origin:
            return  # sound from before the first picture
        packet.dts, packet.pts = times.dts - origin, times.pts - origin
        if is_video:
            self._observe(timeline.microseconds(times.pts), arrived_at, camera_at)
        packet.stream = self._outputs[packet.stream.index]
        self._container.mux_one(packet)
        if self._media_us - self._noted_us >= SIDECAR_EVERY_US:
            self._noted_us = self._media_us
            self._note(SegmentState.RECORDING, size=self.size)

    def _observe(self, shown_us: int, arrived_at: int, camera_at: int | None) -> None:
        if self.frames == 0:
            self._first_shown_us = shown_us
        self.frames += 1
        # Pictures of an open group are shown before the keyframe they come after.
        self._first_shown_us = min(self._first_shown_us, shown_us)
        self._media_us = max(self._media_us, shown_us - self._first_shown_us)
        self._clock.observe(shown_us, arrived_at=arrived_at, camera_at=camera_at)

    def finish(self) -> None:
        """End the file, make it durable, and only then say that it is finished."""
        with contextlib.closing(self._file):
            self._container.close()
            self._file.sync()
        self._note(SegmentState.FINISHED, size=self.size, sha256=self._file.sha256)
        _sync_directory(self.path.parent)

    def abandon(self) -> None:
        """Leave the file as it is, after the disk failed."""
        self._file.close()
        with contextlib.suppress(OSError):
            self._note(SegmentState.INTERRUPTED, size=self.size)

    def _note(self, state: SegmentState, *, size: int, sha256: str | None = None) -> None:
        reading = self._clock.read(self._first_shown_us, epoch=(time.time_ns() - time.monotonic_ns()) // 1000)
        sidecar = Sidecar(
            state=state,
            clock=self._assumed if reading is None else reading.clock,
            camera_offset_us=None if reading is None else reading.camera_offset_us,
            frames=self.frames,
            size=size,
            sha256=sha256,
            lost_before=self._lost_before,
        )
        write_sidecar(sidecar_of(self.path), sidecar, durably=sha256 is not None)


class _HashedFile:
    """A new file that is only ever appended to, hashed on the way. Without `seek`, libav does not try to."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.size = 0
        self._file = path.open("xb", buffering=0)
        self._digest = hashlib.sha256()
        self._failure: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            self._append(data)
        except OSError as error:
            self._failure = error
            raise
        return len(data)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._digest.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def sync(self) -> None:
        # libav may end a file in good order although a write in its middle failed.
        if self._failure is not None:
            raise self._failure
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
