"""Settings of the gateway, from the environment.

What it shares with the ledger and the evidence service has the same names: the token issuer, NATS and logs. Every
problem is reported at once, each with the variable's name and what to do about it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from gateway.records.schema import DOOR_ROLE, WORKER_ROLE
from gateway.webhooks.reach import Network
from gateway.webhooks.sealing import Sealer
from ledger.address import Address
from ledger.client import ClientTls
from ledger.settings_reader import (
    LogSettings,
    Reader,
    TokenSettings,
    read_dsn,
    read_log,
    read_token_settings,
    wants_tracing,
    whole_number,
)

DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_LEDGER = "127.0.0.1:50051"
DEFAULT_EVIDENCE = "127.0.0.1:50052"
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)
# For each caller; five times as much at once.
DEFAULT_REQUESTS_PER_SECOND = 100
# Where Prometheus finds what a process tells: the gateway or its worker, each at an address of its own.
METRICS_VARIABLE = "INDELIBLE_GATEWAY_METRICS_LISTEN"
# More serve better only where the gateway has a machine for itself.
MAX_DEFAULT_PROCESSES = 4
# Set where integrators are served; without it the gateway is the door of verify links only.
RECORDS_VARIABLE = "INDELIBLE_GATEWAY_DSN"


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """How a service behind the gateway is reached."""

    address: str
    tls: ClientTls | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Issuing:
    """The gateway as an issuer of tokens.

    `issuer` is its name, and the audience of the tokens it gives to machines; `keys` the file of its signing keys;
    `services_audience` what the ledger and the evidence service expect.
    """

    issuer: str
    keys: Path
    services_audience: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookSettings:
    """The keys that webhook secrets are encrypted with, the newest first, and the networks webhooks may go to.

    The public network is always one of them.
    """

    keys: tuple[bytes, ...]
    networks: tuple[Network, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewaySettings:
    """Everything `indelible gateway serve` needs to know."""

    records_dsn: str
    listen: Address
    trusted_proxy: str | None
    token: TokenSettings
    issuing: Issuing
    ledger: Upstream
    evidence: Upstream
    # None: there are no webhooks.
    webhooks: WebhookSettings | None
    # A directory of further policies.
    policies: Path | None
    # Origins whose pages may use the API from a browser.
    cors_origins: frozenset[str]
    # What one caller may ask for in the long run.
    requests_per_second: int
    # Whether GraphQL tells its schema to those who have a token.
    graphql_introspection: bool
    # How many processes serve.
    processes: int
    metrics_listen: Address | None
    log: LogSettings
    tracing: bool

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "GatewaySettings":
        """Read and check everything. Raises SettingsError with every problem found."""
        read = Reader(environ)
        token = read_token_settings(read)
        settings = cls(
            records_dsn=read_dsn(read, RECORDS_VARIABLE, role=DOOR_ROLE),
            listen=read.value("INDELIBLE_GATEWAY_LISTEN", Address.parse, Address.parse(DEFAULT_LISTEN)),
            trusted_proxy=read.value("INDELIBLE_GATEWAY_TRUSTED_PROXY", _ip_address, None),
            token=token,
            issuing=_issuing(read, token),
            ledger=_upstream(read, "INDELIBLE_LEDGER", "INDELIBLE_LEDGER_CA", DEFAULT_LEDGER),
            evidence=_upstream(read, "INDELIBLE_EVIDENCE", "INDELIBLE_EVIDENCE_CA", DEFAULT_EVIDENCE),
            webhooks=_webhooks(read),
            policies=_directory(read, "INDELIBLE_GATEWAY_POLICIES"),
            cors_origins=read.value("INDELIBLE_GATEWAY_CORS_ORIGINS", _origins, frozenset()),
            requests_per_second=read.value(
                "INDELIBLE_GATEWAY_REQUESTS_PER_SECOND", whole_number(1), DEFAULT_REQUESTS_PER_SECOND
            ),
            graphql_introspection=read.value("INDELIBLE_GATEWAY_GRAPHQL_INTROSPECTION", _on_or_off, True),
            processes=read.value("INDELIBLE_GATEWAY_PROCESSES", whole_number(1), default_processes()),
            metrics_listen=read.value(METRICS_VARIABLE, Address.parse, None),
            log=read_log(read),
            tracing=wants_tracing(environ),
        )
        if not settings.listen.is_loopback and settings.trusted_proxy is None:
            read.problem(
                "INDELIBLE_GATEWAY_LISTEN",
                f"{settings.listen} can be reached from the network without encryption; listen on 127.0.0.1 behind a "
                "reverse proxy that serves TLS, or name that proxy with INDELIBLE_GATEWAY_TRUSTED_PROXY",
            )
        read.finish()
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """Everything `indelible gateway worker` needs to know."""

    worker_dsn: str
    issuing: Issuing
    ledger: Upstream
    # None: there are no webhooks.
    webhooks: WebhookSettings | None
    metrics_listen: Address | None
    log: LogSettings

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "WorkerSettings":
        """Read and check everything. Raises SettingsError with every problem found."""
        read = Reader(environ)
        settings = cls(
            worker_dsn=read_dsn(read, "INDELIBLE_GATEWAY_WORKER_DSN", role=WORKER_ROLE),
            issuing=_issuing(read, read_token_settings(read)),
            ledger=_upstream(read, "INDELIBLE_LEDGER", "INDELIBLE_LEDGER_CA", DEFAULT_LEDGER),
            webhooks=_webhooks(read),
            metrics_listen=read.value(METRICS_VARIABLE, Address.parse, None),
            log=read_log(read),
        )
        read.finish()
        return settings


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorSettings:
    """What the operator's commands at the gateway's records need."""

    records_dsn: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "OperatorSettings":
        """Read the records' address. Raises SettingsError."""
        read = Reader(environ)
        settings = cls(records_dsn=read_dsn(read, RECORDS_VARIABLE, role=DOOR_ROLE))
        read.finish()
        return settings


def default_processes() -> int:
    """One for each core that this process may use, within reason."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_DEFAULT_PROCESSES)


def serves_integrators(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment configures more than the door of verify links."""
    return bool(environ.get(RECORDS_VARIABLE, "").strip())


def _issuing(read: Reader, token: TokenSettings) -> Issuing:
    name = "INDELIBLE_GATEWAY_ISSUER"
    issuer = read.required(name, "the 'iss' of the gateway's own tokens, for example https://gateway.example.org")
    if issuer and issuer in {token.issuer, token.audience}:
        read.problem(name, "is the same as INDELIBLE_TOKEN_ISSUER or INDELIBLE_TOKEN_AUDIENCE; give it its own name")
    keys = read.required_file("INDELIBLE_GATEWAY_KEYS", "a file of signing keys; `indelible gateway key add` makes one")
    return Issuing(issuer=issuer, keys=keys, services_audience=token.audience)


def _webhooks(read: Reader) -> WebhookSettings | None:
    name = "INDELIBLE_GATEWAY_WEBHOOK_KEYS"
    file = read.optional_file(name)
    if file is None:
        return None
    keys = tuple(line.strip().encode() for line in file.read_text("ascii", "replace").splitlines() if line.strip())
    try:
        Sealer(keys)
    except ValueError:
        read.problem(
            name,
            f"{file} must hold one key of 32 bytes in URL-safe base64 on each line, the newest first; "
            "`indelible gateway webhook-key add` makes one",
        )
    nowhere: tuple[Network, ...] = ()
    networks = read.value("INDELIBLE_GATEWAY_WEBHOOK_NETWORKS", _networks, nowhere)
    return WebhookSettings(keys=keys, networks=networks)


def _networks(text: str) -> tuple[Network, ...]:
    """Networks, separated by commas."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"give networks like 10.1.0.0/16, separated by commas: {error}") from None


def _upstream(read: Reader, name: str, ca_name: str, default: str) -> Upstream:
    address = read.value(name, Address.parse, Address.parse(default))
    certificate_authority = read.optional_file(ca_name)
    tls = None
    if certificate_authority is not None:
        try:
            tls = ClientTls(certificate_authority=certificate_authority.read_bytes())
        except (OSError, ValueError) as error:
            read.problem(ca_name, f"{certificate_authority}: {error}")
    if tls is None and not address.is_loopback:
        read.problem(name, f"{address} is not on this machine: tokens may only be sent there over TLS; set {ca_name}")
    return Upstream(address=str(address), tls=tls)


def _directory(read: Reader, name: str) -> Path | None:
    directory = read.value(name, Path, None)
    if directory is not None and not directory.is_dir():
        read.problem(name, f"{directory} is not a directory; make it, or name another")
    return directory


def _origins(text: str) -> frozenset[str]:
    """Origins, separated by commas; a page of any other may not read an answer."""
    origins = [origin.strip() for origin in text.split(",")]
    for origin in origins:
        if _ORIGIN.fullmatch(origin) is None:
            raise ValueError(f"{origin} is no origin; write https://desk.example.org, with commas between several")
    return frozenset(origins)


def _on_or_off(text: str) -> bool:
    if text not in {"on", "off"}:
        raise ValueError("write on or off")
    return text == "on"


def _ip_address(text: str) -> str:
    """An IP address as it stands, in the spelling that connections have."""
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("give its IP address, for example 192.0.2.1") from None
