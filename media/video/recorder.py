"""Records one RTSP camera into a ring of segments, for as long as it is told to.

1. The ring is this recorder's alone. What a killed one left unfinished is marked.
2. The camera is opened; its packets are copied as they come, nothing is decoded or encoded.
3. A segment begins with a keyframe, and ends before the first keyframe after its length.
4. When the camera is lost the segment is finished, and the camera is tried again, for ever, after pauses that double.
   The next segment says since when there was no picture, and why.
5. After every segment, and during every pause, the ring is pruned.
6. A full disk costs the oldest segments, as a ring does.

Whatever the camera sends is hostile: it may speak to us over RTSP only, not send us elsewhere, and its stamps, its
silence and its floods all have bounds. Its password is in no message and no log.
"""

import contextlib
import errno
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import structlog
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from media.video.recorder_address import CameraAddress
from media.video.recorder_clock import CameraClock, reference_time
from media.video.recorder_metrics import RecorderMetrics
from media.video.recorder_ring import Ring
from media.video.recorder_segment import SegmentWriter, sound_can_be_kept, suffix_for
from media.video.recorder_sidecar import Lost
from media.video.recorder_timeline import Beginning, Timeline, Times

OPEN_SECONDS = 15.0
SILENT_SECONDS = 10.0  # then the camera is lost
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
PRUNE_EVERY_SECONDS = 10.0
# Surveillance streams have keyframes every 20 s and more; without any for so long nothing could be shown.
LONGEST_GROUP_SECONDS = 300.0
# A segment of 10 s at 100 Mbit/s is an eighth of this.
MAX_SEGMENT_BYTES = 1 << 30
# What fragmented MP4 carries and cameras send.
_VIDEO = frozenset({"h264", "hevc", "mjpeg", "mpeg4", "av1"})
_DEFAULT_FRAME_US = 40_000
_MICROSECOND = Fraction(1, 1_000_000)
_ROOM_BYTES = 64 << 20  # made at least, on a full disk

_OPTIONS = {
    "rtsp_transport": "tcp",
    "protocol_whitelist": "rtsp,rtp,tcp,tls",
    "allowed_media_types": "video+audio",
    # Enough for one group of pictures; the stream's parameters usually stand in its description.
    "analyzeduration": "1000000",
    "probesize": "5000000",
    "user_agent": "Indelible",
}

_log = structlog.stdlib.get_logger("media.recorder")


class CameraLostError(Exception):
    """The camera gives no picture; the text says why, without its address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecorderSettings:
    """What to record, and how much of it to keep."""

    address: CameraAddress
    directory: Path
    segment_us: int = 10_000_000
    keep_us: int = 72 * 3600 * 1_000_000
    keep_bytes: int = 50 << 30


def record(settings: RecorderSettings, stop: threading.Event, metrics: RecorderMetrics) -> None:
    """Record until `stop` is set; the segment at hand is then finished. Raises RingError."""
    ring = Ring(settings.directory, keep_us=settings.keep_us, keep_bytes=settings.keep_bytes)
    with contextlib.closing(ring):
        for path in ring.recover():
            _log.warning("segment_was_interrupted", segment=path.name)
        recorder = _Recorder(settings, ring, stop, metrics)
        recorder.run()


class _Recorder:
    """Connects, again and again."""

    def __init__(self, settings: RecorderSettings, ring: Ring, stop: threading.Event, metrics: RecorderMetrics) -> None:
        self._settings = settings
        self._ring = ring
        self._stop = stop
        self._metrics = metrics
        self._lost: Lost | None = None
        self._failures = 0

    def run(self) -> None:
        self._prune()
        while not self._stop.is_set():
            connection = _Connection(self._settings, self._ring, self._stop, self._metrics, self._prune)
            try:
                connection.run(self._lost)
            except CameraLostError as error:
                self._note_loss(str(error), connection)
            except OSError as error:
                self._note_loss(f"the disk failed: {error.strerror}", connection)
                # For no other trouble of a disk is footage given up.
                if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    self._prune(spare=max(_ROOM_BYTES, 2 * connection.largest_segment))
            except Exception as error:  # noqa: BLE001 - whatever a camera makes libav or us do, it is tried again
                _log.error("connection_defect", exc_info=error)
                self._note_loss(f"a defect in the recorder ({type(error).__name__})", connection)
            self._metrics.up.set(0)
            self._pause()

    def _note_loss(self, why: str, connection: "_Connection") -> None:
        if connection.segments:
            self._failures, self._lost = 0, None
        self._failures += 1
        if self._lost is None:
            self._lost = Lost(since=connection.seen_at or _now(), why=why)
        self._metrics.losses.inc()
        _log.warning("camera_lost", camera=str(self._settings.address), why=why, failures=self._failures)

    def _pause(self) -> None:
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE_SECONDS)
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - so that many recorders do not come back at once
        deadline = time.monotonic() + pause
        while (left := deadline - time.monotonic()) > 0 and not self._stop.wait(min(left, PRUNE_EVERY_SECONDS)):
            self._prune()

    def _prune(self, writing: Path | None = None, *, spare: int = 0) -> None:
        try:
            kept = self._ring.prune(_now(), writing=writing, spare=spare)
        except OSError as error:
            _log.warning("ring_not_pruned", error=error.strerror)
            return
        self._metrics.ring_bytes.set(kept.size)
        self._metrics.ring_segments.set(kept.segments)
        if kept.deleted or kept.in_use:
            _log.info("ring_pruned", deleted=kept.deleted, in_use=kept.in_use, segments=kept.segments, size=kept.size)


class _Connection:
    """One connection to the camera, from its opening to its loss."""

    def __init__(
        self,
        settings: RecorderSettings,
        ring: Ring,
        stop: threading.Event,
        metrics: RecorderMetrics,
        prune: Callable[[Path], None],
    ) -> None:
        self.segments = 0
        self.largest_segment = 0
        self.seen_at = 0  # when the last picture came
        self._settings = settings
        self._ring = ring
        self._stop = stop
        self._metrics = metrics
        self._prune = prune
        self._writer: SegmentWriter | None = None
        self._timelines: dict[int, Timeline] = {}
        self._clock = CameraClock(opening_us=0)
        self._keyframe_at = time.monotonic()

    def run(self, lost: Lost | None) -> None:
        """Record until told to stop. Raises CameraLostError, OSError when the disk fails."""
        try:
            began = _monotonic()
            with self._open() as container:
                self._clock = CameraClock(opening_us=_monotonic() - began)
                video, audio = _choose_streams(container)
                for stream in (video, audio):
                    if stream is not None:
                        unit = stream.time_base or _MICROSECOND
                        self._timelines[stream.index] = Timeline(unit, frame_us=_frame_us(stream))
                self._record(container, video, audio, lost)
        except FFmpegError as error:
            raise CameraLostError(_reason(error)) from error
        finally:
            self._end_segment()

    def _open(self) -> InputContainer:
        return av.open(self._settings.address.for_libav, "r", options=_OPTIONS, timeout=(OPEN_SECONDS, SILENT_SECONDS))

    def _record(
        self, container: InputContainer, video: VideoStream, audio: AudioStream | None, lost: Lost | None
    ) -> None:
        beginning: Beginning[Packet[Any]] = Beginning(self._timelines[video.index])
        for packet in container.demux([stream for stream in (video, audio) if stream is not None]):
            if self._stop.is_set():
                return
            if not packet.size:
                break  # libav's way to say that there is no more
            arrived_at = _monotonic()
            if packet.stream.index != video.index:
                self._write(packet, self._place(packet, arrived_at), arrived_at)
                continue
            self.seen_at = _now()
            self._metrics.saw_frame(packet.size)
            for known in beginning.add(packet):
                times = self._place(known, arrived_at)
                if known.is_keyframe:
                    self._keyframe_at = time.monotonic()
                    if self._is_time_to_turn(self._timelines[video.index].microseconds(times.dts)):
                        self._turn(video, audio, lost if not self.segments else None)
                self._write(known, times, arrived_at)
            if time.monotonic() - self._keyframe_at > LONGEST_GROUP_SECONDS:
                raise CameraLostError("it sends no keyframes")
        raise CameraLostError("it ended the stream")

    def _is_time_to_turn(self, decoded_us: int) -> bool:
        if self._writer is None or self._writer.began_us is None:
            return True
        return decoded_us - self._writer.began_us >= self._settings.segment_us - _DEFAULT_FRAME_US

    def _turn(self, video: VideoStream, audio: AudioStream | None, lost: Lost | None) -> None:
        """Begin a segment with the keyframe that has come."""
        self._end_segment()
        arrived_at = self.seen_at
        path = self._ring.new_segment(arrived_at, suffix_for(audio.codec_context.name if audio else None))
        self._writer = SegmentWriter(path, video, audio, self._clock, began_at=arrived_at, lost_before=lost)
        self.segments += 1
        self._metrics.up.set(1)
        self._prune(path)
        _log.info("segment_begun", segment=path.name)

    def _place(self, packet: "Packet[Any]", arrived_at: int) -> Times:
        return self._timelines[packet.stream.index].place(packet.pts, packet.dts, arrived_at)

    def _write(self, packet: "Packet[Any]", times: Times, arrived_at: int) -> None:
        if self._writer is None:
            return  # nothing before the first keyframe can be shown
        camera_at = None
        if packet.has_sidedata("prft"):
            camera_at = reference_time(bytes(packet.get_sidedata("prft")))
        timeline = self._timelines[packet.stream.index]
        self._writer.write(packet, times, timeline, arrived_at=arrived_at, camera_at=camera_at)
        if self._writer.size > MAX_SEGMENT_BYTES:
            raise CameraLostError("it sends more than can be kept")

    def _end_segment(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.finish()
        except OSError:
            writer.abandon()
            raise
        finally:
            self.largest_segment = max(self.largest_segment, writer.size)
        self._metrics.segments.inc()
        _log.info("segment_finished", segment=writer.path.name, frames=writer.frames, size=writer.size)


def _choose_streams(container: InputContainer) -> tuple[VideoStream, AudioStream | None]:
    video = next(iter(container.streams.video), None)
    if video is None:
        raise CameraLostError("it offers no video")
    if _codec_of(video) not in _VIDEO:
        raise CameraLostError(f"it sends {_codec_of(video)}, which is not recorded")
    audio = next((one for one in container.streams.audio if sound_can_be_kept(_codec_of(one))), None)
    return video, audio


def _codec_of(stream: VideoStream | AudioStream) -> str:
    # PyAV has no context for what libav cannot decode.
    context: CodecContext | None = stream.codec_context
    return _printable(context.name) if context else "an unknown codec"


def _frame_us(stream: VideoStream | AudioStream) -> int:
    rate = stream.average_rate if isinstance(stream, VideoStream) else None
    return int(1_000_000 / rate) if rate else _DEFAULT_FRAME_US


def _reason(error: FFmpegError) -> str:
    """What libav says, without the address: that holds the password."""
    if isinstance(error, av.error.ExitError):
        return f"it did not answer for {SILENT_SECONDS:g} seconds"
    return _printable(error.strerror or type(error).__name__)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:200]


def _now() -> int:
    return time.time_ns() // 1000


def _monotonic() -> int:
    return time.monotonic_ns() // 1000
