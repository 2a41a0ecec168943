"""Settings of the evidence service, from the environment.

What it shares with the ledger has the same names: the token issuer, TLS, NATS and logs. Every problem is reported at
once, each with the variable's name and what to do about it.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ledger.address import Address
from ledger.client import ClientTls
from ledger.settings_reader import (
    LogSettings,
    Reader,
    TlsFiles,
    TokenSettings,
    nats_address,
    one_of,
    read_caller_token,
    read_dsn,
    read_gateway_tokens,
    read_log,
    read_tls,
    read_token_settings,
    require_encryption,
    wants_tracing,
    whole_number,
)
from media.clips.sources import Sources
from media.clips.sources_file import SourcesError, load_sources
from media.recordings.control_settings import ControlSettings, read_control
from media.recordings.processing_settings import ProcessingSettings, read_processing
from media.records.schema import CALLER_ROLE, WORKER_ROLE
from media.secret_settings import read_secret
from media.storage.client import StoreSettings
from media.storage.values import Profile

DEFAULT_LISTEN = "127.0.0.1:50052"
DEFAULT_LEDGER = "127.0.0.1:50051"
DEFAULT_REGION = "us-east-1"
DEFAULT_LANES = 1
# Each needs threads and a process of its own.
MAX_LANES = 16
DEFAULT_LEASE_SECONDS = 60
DEFAULT_GRACE_SECONDS = 24 * 3600

PROFILES = ("aws", "r2", "seaweedfs")


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerAccess:
    """How the service reaches the ledger: one address, and a directory with a token for each organisation."""

    address: str
    certificate_authority: Path | None
    tokens: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceSettings:
    """Everything `indelible evidence serve` and `worker` need to know."""

    evidence_dsn: str
    worker_dsn: str
    listen: Address
    tls: TlsFiles | None
    token: TokenSettings
    gateway: TokenSettings | None
    metrics_listen: Address | None
    nats_url: str | None
    sources: Sources
    store: StoreSettings
    ledger: LedgerAccess
    # Where footage and artefacts of running jobs lie.
    directory: Path
    lanes: int
    lease_seconds: int
    grace_seconds: int
    # None: no LiveKit server is configured, and nothing is recorded.
    recording: ControlSettings | None
    processing: ProcessingSettings
    log: LogSettings
    tracing: bool

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "EvidenceSettings":
        """Read and check everything. Raises SettingsError with every problem found."""
        read = Reader(environ)
        settings = cls(
            evidence_dsn=read_dsn(read, "INDELIBLE_EVIDENCE_DSN", role=CALLER_ROLE),
            worker_dsn=read_dsn(read, "INDELIBLE_EVIDENCE_WORKER_DSN", role=WORKER_ROLE),
            listen=read.value("INDELIBLE_EVIDENCE_LISTEN", Address.parse, Address.parse(DEFAULT_LISTEN)),
            tls=read_tls(read),
            token=(token := read_token_settings(read)),
            gateway=read_gateway_tokens(read, token.audience),
            metrics_listen=read.value("INDELIBLE_EVIDENCE_METRICS_LISTEN", Address.parse, None),
            nats_url=read.value("INDELIBLE_NATS_URL", nats_address, None),
            sources=_sources(read),
            store=(store := _store(read)),
            ledger=_ledger(read),
            directory=_directory(read, "INDELIBLE_EVIDENCE_WORK_DIRECTORY", Path(tempfile.gettempdir())),
            lanes=read.value("INDELIBLE_EVIDENCE_JOBS", _jobs, DEFAULT_LANES),
            lease_seconds=read.value("INDELIBLE_EVIDENCE_LEASE_SECONDS", whole_number(1), DEFAULT_LEASE_SECONDS),
            grace_seconds=read.value("INDELIBLE_EVIDENCE_SWEEP_AFTER_SECONDS", whole_number(1), DEFAULT_GRACE_SECONDS),
            recording=read_control(read, store),
            processing=read_processing(read),
            log=read_log(read),
            tracing=wants_tracing(environ),
        )
        require_encryption(read, "INDELIBLE_EVIDENCE_LISTEN", settings.listen, settings.tls)
        read.finish()
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageSettings:
    """What `indelible evidence storage` needs."""

    worker_dsn: str
    evidence_dsn: str
    store: StoreSettings

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "StorageSettings":
        """Read the bucket and the records' addresses. Raises SettingsError."""
        read = Reader(environ)
        settings = cls(
            worker_dsn=read_dsn(read, "INDELIBLE_EVIDENCE_WORKER_DSN", role=WORKER_ROLE),
            evidence_dsn=read_dsn(read, "INDELIBLE_EVIDENCE_DSN", role=CALLER_ROLE),
            store=_store(read),
        )
        read.finish()
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class CallerSettings:
    """What the commands that call a running evidence service need."""

    address: str
    token: str
    certificate_authority: Path | None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "CallerSettings":
        """Read the service's address and the caller's token. Raises SettingsError."""
        read = Reader(environ)
        settings = cls(
            address=str(read.value("INDELIBLE_EVIDENCE", Address.parse, Address.parse(DEFAULT_LISTEN))),
            token=read_caller_token(read),
            certificate_authority=read.optional_file("INDELIBLE_EVIDENCE_CA"),
        )
        read.finish()
        return settings


def _jobs(text: str) -> int:
    jobs = whole_number(1)(text)
    if jobs > MAX_LANES:
        raise ValueError(f"give a whole number from 1 to {MAX_LANES}; more workers make more clips")
    return jobs


def _sources(read: Reader) -> Sources:
    name = "INDELIBLE_EVIDENCE_SOURCES"
    file = read.required_file(name, "a TOML file that names each organisation's cameras; docs/guides/cameras.md")
    if file == Path():
        return Sources()
    try:
        return load_sources(file)
    except (SourcesError, OSError) as error:
        read.problem(name, f"{file}: {error}")
        return Sources()


def _store(read: Reader) -> StoreSettings:
    profile = read.value("INDELIBLE_EVIDENCE_S3_PROFILE", one_of(PROFILES), "aws")
    return StoreSettings(
        bucket=read.required("INDELIBLE_EVIDENCE_BUCKET", "the S3 bucket that clips are kept in"),
        profile=cast(Profile, profile),
        region=read.value("INDELIBLE_EVIDENCE_S3_REGION", str, DEFAULT_REGION),
        endpoint_url=read.value("INDELIBLE_EVIDENCE_S3_ENDPOINT", str, None),
        access_key=read.value("INDELIBLE_EVIDENCE_S3_ACCESS_KEY", str, None),
        secret_key=read_secret(read, "INDELIBLE_EVIDENCE_S3_SECRET_KEY"),
        encryption=read.value("INDELIBLE_EVIDENCE_S3_ENCRYPTION", str, None),
        kms_key=read.value("INDELIBLE_EVIDENCE_S3_KMS_KEY", str, None),
    )


def _ledger(read: Reader) -> LedgerAccess:
    return LedgerAccess(
        address=str(read.value("INDELIBLE_LEDGER", Address.parse, Address.parse(DEFAULT_LEDGER))),
        certificate_authority=read.optional_file("INDELIBLE_LEDGER_CA"),
        tokens=_directory(read, "INDELIBLE_EVIDENCE_LEDGER_TOKENS", None),
    )


def ledger_tls(access: LedgerAccess) -> ClientTls | None:
    """What TLS to the ledger needs; None without. Raises ValueError for a file that is no certificate."""
    if access.certificate_authority is None:
        return None
    return ClientTls(certificate_authority=access.certificate_authority.read_bytes())


def _directory(read: Reader, name: str, default: Path | None) -> Path:
    """A directory that exists."""
    meaning = "a directory with a file ORGANISATION.token for each organisation, for the ledger"
    text = read.required(name, meaning) if default is None else read.value(name, str, str(default))
    if text and not Path(text).is_dir():
        read.problem(name, f"{text} is not a directory; make it, or name another")
    return Path(text)
