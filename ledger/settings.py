"""Settings from the environment: the only place of the product that reads it.

Everything is checked before anything starts, and every problem is reported at once, each with the variable's name and
what to do about it, so that an operator never fixes one line only to meet the next.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ledger.address import Address
from ledger.roles import APPEND_ROLE, RUNTIME_ROLE, WORKER_ROLE
from ledger.settings_reader import (
    LogSettings,
    Reader,
    TlsFiles,
    TokenSettings,
    nats_address,
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

DEFAULT_LISTEN = "127.0.0.1:50051"
DEFAULT_CHECKPOINT_SECONDS = 3600
DEFAULT_CHECKPOINT_EVENTS = 10_000
# A checkpoint costs one event and one request per authority; oftener than this would burden public authorities.
MIN_CHECKPOINT_SECONDS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseSettings:
    """How to reach PostgreSQL in each of the service's roles."""

    runtime_dsn: str
    append_dsn: str
    worker_dsn: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "DatabaseSettings":
        """Read the three addresses, whoever they log in as. Raises SettingsError."""
        read = Reader(environ)
        settings = _database(read, as_roles=False)
        read.finish()
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerSettings:
    """Everything `indelible serve` needs to know."""

    database: DatabaseSettings
    listen: Address
    tls: TlsFiles | None
    token: TokenSettings
    gateway: TokenSettings | None
    receipt_key: Path
    receipt_key_name: str
    authorities: Path | None
    link_keys: Path
    public_url: str
    nats_url: str | None
    metrics_listen: Address | None
    checkpoint_seconds: int
    checkpoint_events: int
    log: LogSettings
    tracing: bool
    # Whatever the authorities file may name as the place of a key.
    variables: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "LedgerSettings":
        """Read and check everything. Raises SettingsError with every problem found."""
        read = Reader(environ)
        settings = cls(
            database=_database(read, as_roles=True),
            listen=read.value("INDELIBLE_LISTEN", Address.parse, Address.parse(DEFAULT_LISTEN)),
            tls=read_tls(read),
            token=(token := read_token_settings(read)),
            gateway=read_gateway_tokens(read, token.audience),
            receipt_key=read.required_file(
                "INDELIBLE_RECEIPT_KEY", "an Ed25519 key in PEM; `indelible keys generate receipt` makes one"
            ),
            receipt_key_name=read.required(
                "INDELIBLE_RECEIPT_KEY_NAME", "the name receipts are signed under, for example ledger.example.org"
            ),
            authorities=read.optional_file("INDELIBLE_AUTHORITIES"),
            link_keys=read.required_file(
                "INDELIBLE_LINK_KEYS", "a TOML file of link keys; `indelible keys generate links` makes one"
            ),
            public_url=read.value("INDELIBLE_PUBLIC_URL", _web_address, ""),
            nats_url=read.value("INDELIBLE_NATS_URL", nats_address, None),
            metrics_listen=read.value("INDELIBLE_METRICS_LISTEN", Address.parse, None),
            checkpoint_seconds=read.value(
                "INDELIBLE_CHECKPOINT_SECONDS", whole_number(MIN_CHECKPOINT_SECONDS), DEFAULT_CHECKPOINT_SECONDS
            ),
            checkpoint_events=read.value("INDELIBLE_CHECKPOINT_EVENTS", whole_number(1), DEFAULT_CHECKPOINT_EVENTS),
            log=read_log(read),
            tracing=wants_tracing(environ),
            variables=dict(environ),
        )
        require_encryption(read, "INDELIBLE_LISTEN", settings.listen, settings.tls)
        read.finish()
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationSettings:
    """What `indelible migrate` and `indelible organisation` need."""

    admin_dsn: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "MigrationSettings":
        """Read the administrator's database address. Raises SettingsError."""
        read = Reader(environ)
        settings = cls(admin_dsn=read_dsn(read, "INDELIBLE_ADMIN_DSN"))
        read.finish()
        return settings


def read_optional_dsns(names: Collection[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The PostgreSQL addresses of a part that may be left out: all of `names`, or none. Raises SettingsError."""
    read = Reader(environ)
    dsns = {name: read_dsn(read, name) for name in names} if any(environ.get(name) for name in names) else {}
    read.finish()
    return dsns


@dataclass(frozen=True, kw_only=True, slots=True)
class CallerSettings:
    """What the commands that call a running ledger need."""

    address: str
    token: str
    certificate_authority: Path | None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "CallerSettings":
        """Read the ledger's address and the caller's token. Raises SettingsError."""
        read = Reader(environ)
        settings = cls(
            address=str(read.value("INDELIBLE_LEDGER", Address.parse, Address.parse(DEFAULT_LISTEN))),
            token=read_caller_token(read),
            certificate_authority=read.optional_file("INDELIBLE_LEDGER_CA"),
        )
        read.finish()
        return settings


def _database(read: Reader, *, as_roles: bool) -> DatabaseSettings:
    """The three addresses; with `as_roles`, each must log in as its role."""
    runtime, append, worker = (
        read_dsn(read, name, role=role if as_roles else "")
        for name, role in (
            ("INDELIBLE_RUNTIME_DSN", RUNTIME_ROLE),
            ("INDELIBLE_APPEND_DSN", APPEND_ROLE),
            ("INDELIBLE_WORKER_DSN", WORKER_ROLE),
        )
    )
    return DatabaseSettings(runtime_dsn=runtime, append_dsn=append, worker_dsn=worker)


def _web_address(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in {"https", "http"} or not address.hostname or address.query or address.fragment:
        raise ValueError("give the address people open, for example https://verify.example.org")
    return text.rstrip("/")
