"""A camera on this machine: films a moving pattern that carries the time, serves RTSP, and misbehaves on command."""

from sandbox.camera.faults import CameraFaults
from sandbox.camera.pattern import UnreadableClockError, draw_frame, read_clock
from sandbox.camera.server import Camera
from sandbox.camera.show import Filming

__all__ = ["Camera", "CameraFaults", "Filming", "UnreadableClockError", "draw_frame", "read_clock"]
