"""Settings from the environment: the only place of the product that reads it.

Everything is checked before anything starts, and every problem is reported at once, each with the variable's name and
what to do about it, so that an operator never fixes one line only to meet the next.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from ledger.address import Address

T = TypeVar("T")

DEFAULT_LISTEN = "127.0.0.1:50051"
DEFAULT_CHECKPOINT_SECONDS = 3600
DEFAULT_CHECKPOINT_EVENTS = 10_000
# A checkpoint costs one event and one request per authority; oftener than this would burden public authorities.
MIN_CHECKPOINT_SECONDS = 10
# Longer than any header a server accepts.
MAX_TOKEN_BYTES = 16 * 1024
# RFC 6750 section 2.1. Anything else, a line break above all, cannot stand in a header.
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# Beyond this it could only be a slip, and dates would run out.
MAX_WHOLE_NUMBER = 10**9
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("json", "text")


class SettingsError(Exception):
    """One or more settings are missing or unusable; `problems` has one sentence for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsFiles:
    """Where the service's certificate and key are, and, for mutual TLS, the CA that callers' certificates need."""

    certificate: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSettings:
    """Which bearer tokens to accept."""

    issuer: str
    audience: str
    # A JWKS or PEM file, or the https address of a JWKS.
    keys: Path | str


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseSettings:
    """How to reach PostgreSQL in each of the service's roles."""

    runtime_dsn: str
    append_dsn: str
    worker_dsn: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "DatabaseSettings":
        """Read the three addresses. Raises SettingsError."""
        read = _Reader(environ)
        settings = _database(read)
        read.finish()
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSettings:
    """What to log and how: JSON for machines, text for people."""

    level: str = "info"
    format: str = "json"


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerSettings:
    """Everything `indelible serve` needs to know."""

    database: DatabaseSettings
    listen: Address
    tls: TlsFiles | None
    token: TokenSettings
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
        read = _Reader(environ)
        settings = cls(
            database=_database(read),
            listen=read.value("INDELIBLE_LISTEN", Address.parse, Address.parse(DEFAULT_LISTEN)),
            tls=_tls(read),
            token=TokenSettings(
                issuer=read.required("INDELIBLE_TOKEN_ISSUER", "the 'iss' of the tokens your identity provider issues"),
                audience=read.required("INDELIBLE_TOKEN_AUDIENCE", "the 'aud' those tokens carry for this service"),
                keys=_token_keys(read),
            ),
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
            nats_url=read.value("INDELIBLE_NATS_URL", _nats_address, None),
            metrics_listen=read.value("INDELIBLE_METRICS_LISTEN", Address.parse, None),
            checkpoint_seconds=read.value(
                "INDELIBLE_CHECKPOINT_SECONDS", _whole_number(MIN_CHECKPOINT_SECONDS), DEFAULT_CHECKPOINT_SECONDS
            ),
            checkpoint_events=read.value("INDELIBLE_CHECKPOINT_EVENTS", _whole_number(1), DEFAULT_CHECKPOINT_EVENTS),
            log=_log(read),
            tracing=_tracing(environ),
            variables=dict(environ),
        )
        if settings.tls is None and not settings.listen.is_loopback:
            # Bearer tokens must never cross a network in the clear.
            read.problem(
                "INDELIBLE_LISTEN",
                f"{settings.listen} can be reached from the network without encryption; "
                "set INDELIBLE_TLS_CERTIFICATE and INDELIBLE_TLS_KEY, or listen on 127.0.0.1",
            )
        read.finish()
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationSettings:
    """What `indelible migrate` and `indelible organisation` need."""

    admin_dsn: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "MigrationSettings":
        """Read the administrator's database address. Raises SettingsError."""
        read = _Reader(environ)
        settings = cls(admin_dsn=_dsn(read, "INDELIBLE_ADMIN_DSN"))
        read.finish()
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class CallerSettings:
    """What the commands that call a running ledger need."""

    address: str
    token: str
    certificate_authority: Path | None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "CallerSettings":
        """Read the ledger's address and the caller's token. Raises SettingsError."""
        read = _Reader(environ)
        settings = cls(
            address=str(read.value("INDELIBLE_LEDGER", Address.parse, Address.parse(DEFAULT_LISTEN))),
            token=_caller_token(read),
            certificate_authority=read.optional_file("INDELIBLE_LEDGER_CA"),
        )
        read.finish()
        return settings


class _Reader:
    """Reads variables and remembers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def problem(self, name: str, text: str) -> None:
        self._problems.append(f"{name}: {text}")

    def finish(self) -> None:
        if self._problems:
            raise SettingsError(tuple(self._problems))

    def required(self, name: str, meaning: str) -> str:
        text = self._environ.get(name, "").strip()
        if not text:
            self.problem(name, f"is not set; set it to {meaning}")
        return text

    def required_file(self, name: str, meaning: str) -> Path:
        text = self.required(name, meaning)
        return self._file(name, text) if text else Path()

    def optional_file(self, name: str) -> Path | None:
        text = self._environ.get(name, "").strip()
        return self._file(name, text) if text else None

    def value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        text = self._environ.get(name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.problem(name, f"{text!r} cannot be used: {error}")
            return default

    def _file(self, name: str, text: str) -> Path:
        path = Path(text)
        try:
            path.open("rb").close()
        except OSError as error:
            self.problem(name, f"the file {text} cannot be read ({error.strerror}); give the path of a readable file")
        return path


def _database(read: _Reader) -> DatabaseSettings:
    return DatabaseSettings(
        runtime_dsn=_dsn(read, "INDELIBLE_RUNTIME_DSN"),
        append_dsn=_dsn(read, "INDELIBLE_APPEND_DSN"),
        worker_dsn=_dsn(read, "INDELIBLE_WORKER_DSN"),
    )


def _dsn(read: _Reader, name: str) -> str:
    text = read.required(name, "a PostgreSQL address, for example postgresql://USER:PASSWORD@HOST/DATABASE")
    try:
        conninfo_to_dict(text)
    except ProgrammingError:
        # The text is not repeated: it holds a password.
        read.problem(name, "is not a PostgreSQL address; write it as postgresql://USER:PASSWORD@HOST/DATABASE")
    return text


def _tls(read: _Reader) -> TlsFiles | None:
    certificate = read.optional_file("INDELIBLE_TLS_CERTIFICATE")
    key = read.optional_file("INDELIBLE_TLS_KEY")
    client_ca = read.optional_file("INDELIBLE_TLS_CLIENT_CA")
    if certificate and key:
        return TlsFiles(certificate=certificate, key=key, client_ca=client_ca)
    if certificate or key or client_ca:
        missing = "INDELIBLE_TLS_CERTIFICATE" if not certificate else "INDELIBLE_TLS_KEY"
        read.problem(missing, "is not set, but TLS needs both the certificate and its key; set it to a PEM file")
    return None


def _caller_token(read: _Reader) -> str:
    """The token a caller presents, from the file named for it or from the variable itself."""
    file = read.optional_file("INDELIBLE_TOKEN_FILE")
    if file is None:
        name = "INDELIBLE_TOKEN"
        text = read.required(name, "a token of your organisation, or INDELIBLE_TOKEN_FILE to a file that holds one")
    else:
        name = "INDELIBLE_TOKEN_FILE"
        try:
            with file.open("rb") as opened:
                text = opened.read(MAX_TOKEN_BYTES + 1).decode("latin-1").strip()
        except OSError:
            # Reported when the variable was read.
            return ""
    if (text or file) and (len(text) > MAX_TOKEN_BYTES or not _BEARER_TOKEN.fullmatch(text)):
        # The text is not repeated: it may be a secret all the same.
        read.problem(name, "does not hold a bearer token; give the token alone, on one line")
    return text


def _token_keys(read: _Reader) -> Path | str:
    name = "INDELIBLE_TOKEN_JWKS"
    text = read.required(name, "a JWKS or PEM file with your issuer's public keys, or the https address of its JWKS")
    if "://" not in text:
        return read.required_file(name, "") if text else Path()
    address = urlsplit(text)
    if address.scheme != "https" or not address.hostname:
        # Keys fetched in the clear could be anyone's.
        read.problem(name, f"{text} cannot be used; only https addresses and files are trusted")
    return text


def _log(read: _Reader) -> LogSettings:
    return LogSettings(
        level=read.value("INDELIBLE_LOG_LEVEL", _one_of(LOG_LEVELS), "info"),
        format=read.value("INDELIBLE_LOG_FORMAT", _one_of(LOG_FORMATS), "json"),
    )


def _tracing(environ: Mapping[str, str]) -> bool:
    """Tracing is on when OpenTelemetry's own variables ask for it."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return bool(
        environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        or environ.get("OTEL_TRACES_EXPORTER")
    )


def _whole_number(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        digits = text.lstrip("0")
        if not re.fullmatch("[0-9]{1,10}", digits) or not least <= int(digits) <= MAX_WHOLE_NUMBER:
            raise ValueError(f"give a whole number from {least} to {MAX_WHOLE_NUMBER}")
        return int(digits)

    return parse


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"give one of {', '.join(choices)}")
        return text.lower()

    return parse


def _web_address(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in {"https", "http"} or not address.hostname or address.query or address.fragment:
        raise ValueError("give the address people open, for example https://verify.example.org")
    return text.rstrip("/")


def _nats_address(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in {"nats", "tls"} or not address.hostname:
        raise ValueError("give a NATS address, for example nats://127.0.0.1:4222")
    return text
