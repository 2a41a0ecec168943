"""What one viewer of the sandbox camera is sent: pictures, sound and sender reports, in real time."""

import random
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.camera.faults import FaultSwitch
from sandbox.camera.film import Film, tone
from sandbox.camera.rtp import (
    H264,
    PCMU_PAYLOAD_TYPE,
    PCMU_RATE,
    VIDEO_PAYLOAD_TYPE,
    VIDEO_RATE,
    RtpStream,
)

_MICROSECONDS = 1_000_000
_GARBAGE_BYTES = 4096
# Near the end of the 32 bits, so that everyone who looks for some seconds sees the timestamps wrap.
_FIRST_VIDEO_TIMESTAMP = 0xFFFFFFFF - 3 * VIDEO_RATE


@dataclass(frozen=True, kw_only=True, slots=True)
class Filming:
    """How the camera films and tells the time."""

    width: int = 320
    height: int = 180
    rate: int = 10
    gop_seconds: float = 1.0
    codec: str = H264
    b_frames: int = 0
    report_seconds: float = 1.0
    first_report_seconds: float = 0.0  # some cameras tell the time only after a while
    sound: bool = False
    user: str = ""  # with a password: who may look
    password: str = ""

    def new_film(self) -> Film:
        """An empty film."""
        return Film(
            width=self.width,
            height=self.height,
            rate=self.rate,
            gop_seconds=self.gop_seconds,
            codec=self.codec,
            b_frames=self.b_frames,
        )


class Show:
    """Films and sends to one viewer: pictures on the interleaved channel 0, their reports on 1, sound on 2 and 3."""

    def __init__(
        self, filming: Filming, faults: FaultSwitch, send: Callable[[bytes], None], *, with_sound: bool
    ) -> None:
        self._filming = filming
        self._faults = faults
        self._send = send
        self._film = filming.new_film()
        self._video = RtpStream(
            ssrc=random.getrandbits(32),
            payload_type=VIDEO_PAYLOAD_TYPE,
            rate=VIDEO_RATE,
            first_timestamp=_FIRST_VIDEO_TIMESTAMP,
        )
        self._sound = RtpStream(
            ssrc=random.getrandbits(32),
            payload_type=PCMU_PAYLOAD_TYPE,
            rate=PCMU_RATE,
            first_timestamp=random.getrandbits(31),
        )
        self._with_sound = with_sound
        self._samples = 0
        self._began_at = 0  # microseconds since 1970
        self._next_report = int(filming.first_report_seconds * _MICROSECONDS)

    def run(self, gone: threading.Event) -> None:
        """Send until the viewer is `gone`. Raises OSError when the connection breaks."""
        began = time.monotonic()
        self._began_at = time.time_ns() // 1000
        picture = 0
        while not gone.is_set():
            due = began + picture / self._filming.rate
            picture += 1
            if gone.wait(max(0.0, due - time.monotonic())):
                return
            faults = self._faults.now
            if faults.garbage:
                self._send(random.randbytes(_GARBAGE_BYTES))  # noqa: S311 - noise, not a secret
            elif not faults.stalled:
                self._show_picture(int((time.monotonic() - began) * _MICROSECONDS))

    def _show_picture(self, elapsed: int) -> None:
        faults = self._faults.now
        # Not read anew: a busy machine would let time pass between the two clocks.
        wall_clock = self._began_at + elapsed + faults.clock_step
        if elapsed >= self._next_report and not faults.silent_reports:
            self._next_report = elapsed + int(self._filming.report_seconds * _MICROSECONDS)
            self._send(_interleaved(1, self._video.sender_report(elapsed, wall_clock)))
            if self._with_sound:
                self._send(_interleaved(3, self._sound.sender_report(elapsed, wall_clock)))
        packets = [
            _interleaved(0, packet)
            for shot in self._film.shoot(wall_clock, elapsed)
            for packet in self._video.video_packets(self._filming.codec, shot.data, shot.elapsed)
        ]
        if self._with_sound:
            packets.append(_interleaved(2, self._sound_until(elapsed)))
        self._send(b"".join(packets))

    def _sound_until(self, elapsed: int) -> bytes:
        first = self._samples
        self._samples = max(first + 1, elapsed * PCMU_RATE // _MICROSECONDS)
        began = first * _MICROSECONDS // PCMU_RATE
        return self._sound.packet(tone(self._samples - first, first), began, marker=False)


def _interleaved(channel: int, packet: bytes) -> bytes:
    """RFC 2326 section 10.12."""
    return struct.pack("!cBH", b"$", channel, len(packet)) + packet
