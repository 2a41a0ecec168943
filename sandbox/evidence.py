"""The evidence service and its worker in the sandbox, and a camera whose footage clips are cut from.

Their directory holds `sources.toml` (one camera of one organisation), `footage/` (where that camera leaves its
recordings), `tokens/` (what the service shows to the ledger) and `work/` (clips in the making).
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.objects import Objects
from sandbox.processes import LOOPBACK, Process, StartError, find_program
from sandbox.services import READY_SECONDS, Ports, answers, is_healthy

if TYPE_CHECKING:
    from sandbox.livekit import LiveKitSandbox

CAMERA = "pump-7"
"""The one camera; its source has the same name."""

BUCKET = "indelible-evidence"
# Whatever is written here is written in one go.
SETTLE_SECONDS = 1
WAIT_SECONDS = 15
# As long as a sandbox may run without anybody minting another.
TOKEN_SECONDS = 30 * 24 * 3600
_SCOPES = ("ledger:append", "ledger:evidence", "ledger:export", "ledger:read")
_STOP_SECONDS = 30.0
_ENCODERS = ("libx264", "libx265", "libvpx-vp9", "mjpeg", "aac")
_MICROSECONDS = 1_000_000

# The picture is small, so that a clip takes a second to encode on any machine.
_WIDTH, _HEIGHT, _RATE = 320, 180, 10
_COMPOSITE_WIDTH, _COMPOSITE_HEIGHT = 640, 360


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """Whom the evidence service works with."""

    database: Database
    objects: Objects
    issuer: Issuer
    ledger_address: str
    nats_url: str
    # The settings that make a gateway believed.
    trust: Mapping[str, str]
    livekit: "LiveKitSandbox | None" = None


def why_no_clips() -> str:
    """What this machine lacks for making clips, in one line; empty when it lacks nothing."""
    try:
        import av  # noqa: PLC0415 - optional here, and slow to import
    except ImportError as error:
        return f"clips need PyAV, which cannot be loaded here ({' '.join(str(error).split())})"
    lacking = [name for name in _ENCODERS if name not in av.codecs_available]
    if lacking:
        return f"clips need a PyAV that can encode; this one lacks {', '.join(lacking)}"
    return ""


class Evidence:
    """The evidence service and its worker, each a process, in one directory."""

    def __init__(self, directory: Path, organisation_id: str, ports: Ports) -> None:
        """Choose places; `start` makes them. `organisation_id` is whose camera it is."""
        self.directory = directory
        self.footage = directory / "footage" / CAMERA
        self.address = f"{LOOPBACK}:{ports.evidence}"
        self.worker_metrics_url = f"http://{LOOPBACK}:{ports.worker_metrics}/metrics"
        self._organisation_id = organisation_id
        self._ports = ports
        self._tokens = directory / "tokens"
        self._service: Process | None = None
        self._worker: Process | None = None

    def admit(self, organisation_id: str, issuer: Issuer) -> None:
        """Give the service a token of the ledger for an organisation, as an operator's identity provider does."""
        self._tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
        token = issuer.mint(organisation_id, scopes=_SCOPES, subject="evidence-service", seconds=TOKEN_SECONDS)
        file = self._tokens / f"{organisation_id}.token"
        file.touch(mode=0o600)
        file.write_text(token)

    def start(self, neighbours: Neighbours) -> Process:
        """Run `indelible evidence serve` and `worker`, and wait until the former is healthy. Raises StartError."""
        for needed in (self.footage, self._tokens, self.directory / "work"):
            needed.mkdir(parents=True, exist_ok=True)
        (self.directory / "sources.toml").write_text(self._sources())
        _make_bucket(neighbours.objects)
        environment = self._environment(neighbours)
        self._service = self._run("serve", "the evidence service", environment, self._ports.evidence_metrics)
        self._worker = self._run("worker", "the evidence worker", environment, self._ports.worker_metrics)
        self._service.wait_ready(lambda: is_healthy(self.address), seconds=READY_SECONDS)
        return self._service

    def wait_for_worker(self) -> Process:
        """Wait until the worker tells how it is. Raises StartError."""
        if self._worker is None:
            raise StartError("the evidence worker has not been started")
        self._worker.wait_ready(lambda: answers(self._ports.worker_metrics, "/metrics"), seconds=READY_SECONDS)
        return self._worker

    def stop(self) -> None:
        """Stop both."""
        for process in (self._worker, self._service):
            if process is not None:
                process.stop()

    def film(self, seconds: int) -> int:
        """Leave a recording of so many seconds that ends now; when it began, in microseconds since 1970."""
        from sandbox.camera import Recording, write_segments  # noqa: PLC0415 - PyAV may be missing

        starts_at = time.time_ns() // 1000 - seconds * _MICROSECONDS
        recording = Recording(starts_at=starts_at, seconds=seconds, width=_WIDTH, height=_HEIGHT, rate=_RATE)
        write_segments(self.footage, recording)
        return starts_at

    def _run(self, part: str, name: str, environment: dict[str, str], metrics_port: int) -> Process:
        return Process(
            name,
            [find_program("indelible"), "evidence", part],
            log=self.directory.parent / "logs" / f"evidence-{part}.log",
            env={**environment, "INDELIBLE_EVIDENCE_METRICS_LISTEN": f"{LOOPBACK}:{metrics_port}"},
            stop_seconds=_STOP_SECONDS,
        )

    def _environment(self, neighbours: Neighbours) -> dict[str, str]:
        livekit = neighbours.livekit
        return {
            **({} if livekit is None else _reaching(livekit, neighbours.objects)),
            **neighbours.trust,
            "INDELIBLE_EVIDENCE_DSN": neighbours.database.evidence_dsn,
            "INDELIBLE_EVIDENCE_WORKER_DSN": neighbours.database.evidence_worker_dsn,
            "INDELIBLE_EVIDENCE_LISTEN": self.address,
            "INDELIBLE_EVIDENCE_SOURCES": str(self.directory / "sources.toml"),
            "INDELIBLE_EVIDENCE_BUCKET": BUCKET,
            "INDELIBLE_EVIDENCE_S3_PROFILE": "seaweedfs",
            "INDELIBLE_EVIDENCE_S3_ENDPOINT": neighbours.objects.url,
            "INDELIBLE_EVIDENCE_S3_ACCESS_KEY": neighbours.objects.access_key,
            "INDELIBLE_EVIDENCE_S3_SECRET_KEY": neighbours.objects.secret_key,
            "INDELIBLE_EVIDENCE_LEDGER_TOKENS": str(self._tokens),
            "INDELIBLE_EVIDENCE_WORK_DIRECTORY": str(self.directory / "work"),
            "INDELIBLE_LEDGER": neighbours.ledger_address,
            "INDELIBLE_NATS_URL": neighbours.nats_url,
            "INDELIBLE_TOKEN_ISSUER": neighbours.issuer.issuer,
            "INDELIBLE_TOKEN_AUDIENCE": neighbours.issuer.audience,
            "INDELIBLE_TOKEN_JWKS": str(neighbours.issuer.jwks_file),
        }

    def _sources(self) -> str:
        return (
            f'[organisations.{self._organisation_id}.sources.{CAMERA}]\nkind = "directory"\ncamera = "{CAMERA}"\n'
            f'path = "footage/{CAMERA}"\nnames = "%Y%m%dT%H%M%S.%fZ.mp4"\ntime_zone = "UTC"\n'
            f"settle_seconds = {SETTLE_SECONDS}\nwait_seconds = {WAIT_SECONDS}\n"
        )


def _reaching(livekit: "LiveKitSandbox", objects: Objects) -> dict[str, str]:
    return {
        "INDELIBLE_LIVEKIT_S3_ACCESS_KEY": objects.access_key,
        "INDELIBLE_LIVEKIT_S3_SECRET_KEY": objects.secret_key,
        "INDELIBLE_LIVEKIT_URL": livekit.url,
        "INDELIBLE_LIVEKIT_API_KEY": livekit.api_key,
        "INDELIBLE_LIVEKIT_API_SECRET": livekit.api_secret,
        # Small, so that a composite takes seconds to encode on any machine.
        "INDELIBLE_RECORDINGS_WIDTH": str(_COMPOSITE_WIDTH),
        "INDELIBLE_RECORDINGS_HEIGHT": str(_COMPOSITE_HEIGHT),
    }


def _make_bucket(objects: Objects) -> None:
    """A bucket whose objects can be locked, unless it is there. Raises StartError."""
    import boto3  # noqa: PLC0415 - takes half a second, which commands that start nothing should not
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    client = boto3.client(
        "s3",
        endpoint_url=objects.url,
        aws_access_key_id=objects.access_key,
        aws_secret_access_key=objects.secret_key,
        region_name="us-east-1",
    )
    try:
        with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    except (ClientError, BotoCoreError) as error:
        raise StartError(f"the bucket for clips could not be made: {error}") from error
