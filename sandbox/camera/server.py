"""A camera on the loopback interface that any RTSP player can watch."""

import contextlib
import socket
import threading

from sandbox.camera.faults import CameraFaults, FaultSwitch
from sandbox.camera.rtsp import Viewer
from sandbox.camera.show import Filming
from sandbox.processes import LOOPBACK, free_port

_ACCEPT_SECONDS = 0.1  # how late a stop is noticed


class Camera:
    """Serves in threads of this process, from construction until `stop`."""

    def __init__(self, filming: Filming | None = None, *, port: int | None = None) -> None:
        """Listen on `port`, or on any that is free."""
        self._filming = filming or Filming()
        self._faults = FaultSwitch()
        self._viewers: list[Viewer] = []
        self._stopped = threading.Event()
        self.port = port or free_port()
        self._listener = socket.create_server((LOOPBACK, self.port))
        self._listener.settimeout(_ACCEPT_SECONDS)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to watch, with the name and password if it asks for them."""
        login = f"{self._filming.user}:{self._filming.password}@" if self._filming.password else ""
        return f"rtsp://{login}{LOOPBACK}:{self.port}/live"

    @property
    def faults(self) -> CameraFaults:
        """What is wrong with it now; may be set."""
        return self._faults.now

    @faults.setter
    def faults(self, faults: CameraFaults) -> None:
        self._faults.now = faults
        if faults.unreachable:
            self.drop_viewers()

    def drop_viewers(self) -> None:
        """Break off every connection; new ones are welcome."""
        for viewer in self._viewers:
            viewer.hang_up()
        self._viewers = []

    def stop(self) -> None:
        """Break off every connection and listen no more."""
        self._stopped.set()
        self._thread.join()
        self._listener.close()
        self.drop_viewers()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                if self._faults.now.unreachable:
                    connection.close()
                    continue
                connection.settimeout(None)
                viewer = Viewer(connection, self._filming, self._faults)
                self._viewers.append(viewer)
                threading.Thread(target=viewer.serve, daemon=True).start()
