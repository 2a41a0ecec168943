"""A camera on this machine: films a moving pattern that carries the time, serves RTSP, and misbehaves on command."""

from sandbox.camera.faults import CameraFaults
from sandbox.camera.files import Recording, write_segment, write_segments
from sandbox.camera.pattern import UnreadableClockError, draw_frame, read_clock
from sandbox.camera.rtp import H264, H265
from sandbox.camera.server import Camera
from sandbox.camera.show import Filming

__all__ = [
    "H264",
    "H265",
    "Camera",
    "CameraFaults",
    "Filming",
    "Recording",
    "UnreadableClockError",
    "draw_frame",
    "read_clock",
    "write_segment",
    "write_segments",
]
