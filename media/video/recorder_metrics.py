"""What a recorder tells Prometheus."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge


class RecorderMetrics:
    """The metrics of one recorder, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.up = Gauge("indelible_camera_up", "1 while the camera gives pictures, else 0.", registry=self.registry)
        self.losses = Counter(
            "indelible_camera_losses",
            "Attempts to reach the camera, or connections to it, that failed.",
            registry=self.registry,
        )
        self.segments = Counter("indelible_camera_segments", "Segments finished.", registry=self.registry)
        self.ring_segments = Gauge("indelible_camera_ring_segments", "Segments in the ring.", registry=self.registry)
        self.ring_bytes = Gauge("indelible_camera_ring_bytes", "Bytes of the ring.", registry=self.registry)
        self._frames = Counter("indelible_camera_frames", "Pictures received.", registry=self.registry)
        self._bytes = Counter("indelible_camera_video_bytes", "Bytes of pictures received.", registry=self.registry)
        self._last_frame = Gauge(
            "indelible_camera_last_frame_seconds", "Unix time of the newest picture.", registry=self.registry
        )

    def saw_frame(self, size: int) -> None:
        """A picture of so many bytes came."""
        self._frames.inc()
        self._bytes.inc(size)
        self._last_frame.set(time.time())
