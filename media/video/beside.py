"""An encoder in a thread of its own: while it works, the next pictures are decoded and painted."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


@dataclass(slots=True)
class EncoderThread:
    """Encodes pictures in their order. At most `ahead` of them wait; whoever brings more waits as well.

    What becomes of a picture is told, and what goes wrong with it is raised, exactly `ahead` pictures later: so a file
    does not depend on which thread was the faster one. `close` it before the file is closed.
    """

    stream: VideoStream
    ahead: int
    _thread: ThreadPoolExecutor = field(init=False)
    _coming: "deque[Future[list[Packet[VideoStream]]]]" = field(default_factory=deque, init=False)

    def __post_init__(self) -> None:
        """Open the encoder, so that nobody else does while the thread is at work."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        try:
            self._thread.submit(self.stream.codec_context.open, strict=False).result()
        except BaseException:
            self.close()
            raise

    def encode(self, frame: VideoFrame) -> "list[Packet[VideoStream]]":
        """Take a picture, which nobody may touch any more; returns packets of earlier ones. Raises as libav does."""
        self._coming.append(self._thread.submit(self.stream.encode, frame))
        return self._coming.popleft().result() if len(self._coming) > self.ahead else []

    def finish(self) -> "list[Packet[VideoStream]]":
        """All packets that are still to come."""
        self._coming.append(self._thread.submit(self.stream.encode, None))
        return [packet for coming in self._coming for packet in coming.result()]

    def close(self) -> None:
        """End the thread, whatever still waits."""
        self._thread.shutdown(cancel_futures=True)
