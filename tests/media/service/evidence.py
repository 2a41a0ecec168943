"""The evidence service and its workers as real processes: a real ledger, PostgreSQL, S3 and NATS around them."""

import contextlib
import os
import secrets
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import grpc
import psycopg
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from indelible.evidence.v1 import evidence_pb2, evidence_pb2_grpc

from ledger.client import ClientError
from media.storage.client import StoreSettings
from media.storage.store import EvidenceStore
from sandbox.camera import Recording, write_segments
from sandbox.database import Database
from sandbox.issuer import EVERY_SCOPE, Issuer
from sandbox.objects import Objects
from sandbox.processes import Process, find_program, free_port
from sandbox.services import is_healthy
from tests.service.serving import FOREIGN_ORGANISATION, ORGANISATION, Service

SOURCE = "gate-1"
FOREIGN_SOURCE = "yard-1"
START_SECONDS = 120.0
# Longer than any pause, lease or turn of the product, on a machine that is busy with other things.
PATIENCE_SECONDS = 240.0
# For a test that waits for more than one thing.
TEST_SECONDS = 900
# For a worker that is to sweep the store all the time, with hardly any grace.
SWEEPING = {"INDELIBLE_EVIDENCE_SWEEP_AFTER_SECONDS": "1"}
# For a test that kills workers: a lease that is soon over, though it may be lost to a worker that is merely slow.
SHORT_LEASE = {"INDELIBLE_EVIDENCE_LEASE_SECONDS": "5"}
# A quiet afternoon that is over: nothing of it is waited for.
FILMED_FROM = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
FILMED_SECONDS = 20


class Evidence:
    """One evidence service, and any number of workers, that a test may stop, kill and start again."""

    def __init__(
        self,
        directory: Path,
        ledger: Service,
        objects: Objects,
        *,
        store_url: str | None = None,
        locks: bool = True,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.ledger = ledger
        self.issuer: Issuer = ledger.issuer
        self.address = f"127.0.0.1:{free_port()}"
        self.metrics_port = free_port()
        self.process: Process | None = None
        self.workers: list[Process] = []
        bucket = f"evidence-{secrets.token_hex(6)}"
        self.store = EvidenceStore(_store_settings(objects, bucket, objects.url))
        self.store.bucket.writer.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=locks)
        database: Database = ledger.database
        self.tokens = directory / "tokens"
        self.tokens.mkdir()
        for organisation_id in (ORGANISATION, FOREIGN_ORGANISATION):
            token = self.issuer.mint(organisation_id, scopes=EVERY_SCOPE, subject="evidence-service", seconds=7200)
            (self.tokens / f"{organisation_id}.token").write_text(token)
        (directory / "sources.toml").write_text(_sources(directory))
        (directory / "work").mkdir()
        self.environment = {
            "INDELIBLE_EVIDENCE_DSN": database.evidence_dsn,
            "INDELIBLE_EVIDENCE_WORKER_DSN": database.evidence_worker_dsn,
            "INDELIBLE_EVIDENCE_LISTEN": self.address,
            "INDELIBLE_EVIDENCE_SOURCES": str(directory / "sources.toml"),
            "INDELIBLE_EVIDENCE_BUCKET": bucket,
            "INDELIBLE_EVIDENCE_S3_PROFILE": "seaweedfs",
            "INDELIBLE_EVIDENCE_S3_ENDPOINT": store_url or objects.url,
            "INDELIBLE_EVIDENCE_S3_ACCESS_KEY": objects.access_key,
            "INDELIBLE_EVIDENCE_S3_SECRET_KEY": objects.secret_key,
            "INDELIBLE_EVIDENCE_LEDGER_TOKENS": str(self.tokens),
            "INDELIBLE_EVIDENCE_WORK_DIRECTORY": str(directory / "work"),
            "INDELIBLE_LEDGER": ledger.address,
            "INDELIBLE_TOKEN_ISSUER": self.issuer.issuer,
            "INDELIBLE_TOKEN_AUDIENCE": self.issuer.audience,
            "INDELIBLE_TOKEN_JWKS": str(self.issuer.jwks_file),
            **(extra or {}),
        }

    def film(self, source: str = SOURCE, seconds: float = FILMED_SECONDS) -> None:
        """Leave footage of the quiet afternoon where the source looks for it, long ago."""
        recording = Recording(starts_at=FILMED_FROM, seconds=seconds, width=160, height=96, rate=5)
        for path in write_segments(self.directory / "footage" / source, recording):
            os.utime(path, (FILMED_FROM / 1e6 + seconds + 5,) * 2)

    def serve(self) -> "Evidence":
        environment = self.environment | {"INDELIBLE_EVIDENCE_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}"}
        self.process = self._start("serve", [find_program("indelible"), "evidence", "serve"], environment)
        self.process.wait_ready(self.is_healthy, seconds=START_SECONDS)
        return self

    def work(self, **extra: str) -> Process:
        """One more worker."""
        return self._work([find_program("indelible"), "evidence", "worker"], extra)

    def work_impatiently(self) -> Process:
        """One more worker, for tests that wait for something to be disposed of."""
        return self._work([sys.executable, Path(__file__).with_name("impatient_worker.py")], {})

    def stop(self) -> None:
        for process in (*self.workers, self.process):
            if process is not None:
                process.stop()

    def is_healthy(self) -> bool:
        return is_healthy(self.address)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def headers(self, organisation_id: str = ORGANISATION, scopes: Any = EVERY_SCOPE) -> tuple[tuple[str, str], ...]:
        token = self.issuer.mint(organisation_id, scopes=scopes, subject="ann")
        return (("authorization", f"Bearer {token}"),)

    def call(self, method: str, request: Any, *, organisation_id: str = ORGANISATION, scopes: Any = EVERY_SCOPE) -> Any:
        """The answer of a unary method; raises grpc.RpcError."""
        with grpc.insecure_channel(self.address) as channel:
            stub = evidence_pb2_grpc.EvidenceServiceStub(channel)
            return getattr(stub, method)(request, timeout=60, metadata=self.headers(organisation_id, scopes))

    def request(self, incident: str, *, source: str = SOURCE, at: float = 10.0, **more: Any) -> Any:
        return self.call("RequestExtraction", extraction(incident, source=source, at=at, **more))

    def preserved(self, incident: str, **more: Any) -> evidence_pb2.Clip:
        """A clip that was asked for and has been made."""
        return self.ended(self.request(incident, **more).clip.clip_id)

    def ended(self, clip_id: str, *, seconds: float = PATIENCE_SECONDS) -> evidence_pb2.Clip:
        """The clip once it is preserved or has failed."""
        until = time.monotonic() + seconds
        request, headers = evidence_pb2.GetClipRequest(clip_id=clip_id), self.headers()
        with grpc.insecure_channel(self.address) as channel:
            stub = evidence_pb2_grpc.EvidenceServiceStub(channel)
            while True:
                clip: evidence_pb2.Clip = stub.GetClip(request, timeout=60, metadata=headers).clip
                if clip.state in {evidence_pb2.CLIP_STATE_PRESERVED, evidence_pb2.CLIP_STATE_FAILED}:
                    return clip
                assert time.monotonic() < until, f"still {evidence_pb2.ClipState.Name(clip.state)}{self.log_tail()}"
                time.sleep(0.2)

    def settled(self, subject_id: str, kept: str = "clip") -> None:
        """Wait until a worker has made the store's locks and holds of a clip, or a recording, as they are on record.

        Until then it may still be at making them as they were a moment ago.
        """
        query = f"SELECT protection_done >= protection_wanted FROM evidence.{kept}s WHERE {kept}_id = %s"
        until = time.monotonic() + PATIENCE_SECONDS
        with psycopg.connect(self.ledger.database.admin_dsn, autocommit=True) as connection:
            while connection.execute(query.encode(), [subject_id]).fetchone() != (True,):
                assert time.monotonic() < until, self.log_tail()
                time.sleep(0.1)

    def events(self, kind: str, *, organisation_id: str = ORGANISATION, chain_id: str = "operations") -> list[Any]:
        with self.ledger.blocking_client(organisation_id) as client:
            try:
                return [event.content for event in client.list_events(chain_id, kinds=[kind])]
            except ClientError as error:
                # The first event of an organisation makes its operations chain.
                if error.reason != "CHAIN_NOT_FOUND":
                    raise
                return []

    def export(self, clip_id: str, path: Path, chain_id: str = "") -> Path:
        with grpc.insecure_channel(self.address) as channel:
            stub = evidence_pb2_grpc.EvidenceServiceStub(channel)
            request = evidence_pb2.ExportClipRequest(clip_id=clip_id, chain_id=chain_id)
            with path.open("wb") as file:
                for message in stub.ExportClip(request, timeout=120, metadata=self.headers()):
                    file.write(message.data)
        return path

    def log_tail(self) -> str:
        return "".join(
            f"\n{log.name}: {log.read_text()[-2500:]}" for log in sorted(self.directory.glob("*.log")) if log.exists()
        )

    def _work(self, command: Sequence[str | Path], extra: Mapping[str, str]) -> Process:
        worker = self._start("worker", command, {**self.environment, **extra})
        self.workers.append(worker)
        return worker

    def _start(self, part: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> Process:
        return Process(
            f"evidence {part}",
            command,
            log=self.directory / f"{part}-{len(self.workers)}.log",
            env=environment,
            stop_seconds=30,
        )


def extraction(
    incident: str, *, source: str = SOURCE, at: float = 10.0, session: str = "", seconds: int = 2
) -> evidence_pb2.RequestExtractionRequest:
    """A request for `seconds` before and after an incident, which was `at` seconds into the quiet afternoon."""
    event_at = Timestamp()
    event_at.FromMicroseconds(FILMED_FROM + round(at * 1_000_000))
    return evidence_pb2.RequestExtractionRequest(
        extraction=evidence_pb2.ClipExtractionRequest(
            source=source,
            incident=incident,
            event_at=event_at,
            before=Duration(seconds=seconds),
            after=Duration(seconds=seconds),
            session_chain_id=session,
        )
    )


@contextlib.contextmanager
def running_evidence(directory: Path, ledger: Service, objects: Objects, **options: Any) -> Iterator[Evidence]:
    """A service with footage and no worker yet."""
    evidence = Evidence(directory, ledger, objects, **options)
    try:
        evidence.film()
        evidence.film(FOREIGN_SOURCE)
        yield evidence.serve()
    finally:
        evidence.stop()


def s3(evidence: Evidence) -> Any:
    """The bare store, for whoever wants to go behind the service's back."""
    environment = evidence.environment
    return boto3.client(
        "s3",
        endpoint_url=environment["INDELIBLE_EVIDENCE_S3_ENDPOINT"],
        aws_access_key_id=environment["INDELIBLE_EVIDENCE_S3_ACCESS_KEY"],
        aws_secret_access_key=environment["INDELIBLE_EVIDENCE_S3_SECRET_KEY"],
        region_name="us-east-1",
    )


def _store_settings(objects: Objects, bucket: str, url: str) -> StoreSettings:
    return StoreSettings(
        bucket=bucket,
        profile="seaweedfs",
        endpoint_url=url,
        access_key=objects.access_key,
        secret_key=objects.secret_key,
    )


def _sources(directory: Path) -> str:
    tables = []
    for organisation_id, source in ((ORGANISATION, SOURCE), (FOREIGN_ORGANISATION, FOREIGN_SOURCE)):
        tables.append(
            f"""
[organisations.{organisation_id}.sources.{source}]
kind = "directory"
camera = "cam-{source}"
path = "{directory / "footage" / source}"
names = "%Y%m%dT%H%M%S.%fZ.mp4"
time_zone = "UTC"
settle_seconds = 1
wait_seconds = 2
"""
        )
    return "".join(tables)
