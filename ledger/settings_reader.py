"""Reading settings from variables: every problem is remembered, with the variable and what to do about it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ledger.address import Address

T = TypeVar("T")

# Beyond this it could only be a slip, and dates would run out.
MAX_WHOLE_NUMBER = 10**9
# Longer than any header a server accepts.
MAX_TOKEN_BYTES = 16 * 1024
# RFC 6750 section 2.1. Anything else, a line break above all, cannot stand in a header.
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# What the gateway's tokens for the services may last, with room for clocks that differ.
GATEWAY_TOKEN_SECONDS = 300
WITHHELD_FROM_GATEWAY = frozenset({"ledger:evidence"})
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
    """Which bearer tokens to accept from one issuer.

    `longest_seconds`: tokens made to last longer are refused. `withheld`: scopes this issuer's tokens never have,
    whatever they say. `variable` names the setting of the keys in messages.
    """

    issuer: str
    audience: str
    # A JWKS or PEM file, or the https address of a JWKS.
    keys: Path | str
    longest_seconds: int | None = None
    withheld: frozenset[str] = frozenset()
    variable: str = "INDELIBLE_TOKEN_JWKS"


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSettings:
    """What to log and how: JSON for machines, text for people."""

    level: str = "info"
    format: str = "json"


class Reader:
    """Reads variables and remembers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def problem(self, name: str, text: str) -> None:
        """Remember that the variable `name` has a problem."""
        self._problems.append(f"{name}: {text}")

    def finish(self) -> None:
        """Raises SettingsError when there was any problem."""
        if self._problems:
            raise SettingsError(tuple(self._problems))

    def required(self, name: str, meaning: str) -> str:
        """The text of a variable that must be set, to what `meaning` says; empty after a problem."""
        text = self._environ.get(name, "").strip()
        if not text:
            self.problem(name, f"is not set; set it to {meaning}")
        return text

    def required_file(self, name: str, meaning: str) -> Path:
        """The readable file that a variable must name."""
        text = self.required(name, meaning)
        return self._file(name, text) if text else Path()

    def optional_file(self, name: str) -> Path | None:
        """The readable file that a variable names; None when it is not set."""
        text = self._environ.get(name, "").strip()
        return self._file(name, text) if text else None

    def value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """What `parse`, which may raise ValueError, makes of a variable; `default` when it is not set."""
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


def read_dsn(read: Reader, name: str, *, role: str = "") -> str:
    """The PostgreSQL address that the variable `name` must hold; with `role`, one that logs in as that."""
    # Commands that only call a service have settings, too, and should not wait for the database's client to load.
    from psycopg import ProgrammingError  # noqa: PLC0415 - see above
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - see above

    text = read.required(
        name, f"a PostgreSQL address, for example postgresql://{role or 'USER'}:PASSWORD@HOST/DATABASE"
    )
    try:
        parts = conninfo_to_dict(text)
    except ProgrammingError:
        # The text is not repeated: it holds a password.
        read.problem(name, "is not a PostgreSQL address; write it as postgresql://USER:PASSWORD@HOST/DATABASE")
    else:
        if text and role and parts.get("user") != role:
            read.problem(name, f"names another user; the service logs in here as {role}")
    return text


def read_tls(read: Reader) -> TlsFiles | None:
    """The files for TLS; None without."""
    certificate = read.optional_file("INDELIBLE_TLS_CERTIFICATE")
    key = read.optional_file("INDELIBLE_TLS_KEY")
    client_ca = read.optional_file("INDELIBLE_TLS_CLIENT_CA")
    if certificate and key:
        return TlsFiles(certificate=certificate, key=key, client_ca=client_ca)
    if certificate or key or client_ca:
        missing = "INDELIBLE_TLS_CERTIFICATE" if not certificate else "INDELIBLE_TLS_KEY"
        read.problem(missing, "is not set, but TLS needs both the certificate and its key; set it to a PEM file")
    return None


def require_encryption(read: Reader, name: str, listen: Address, tls: TlsFiles | None) -> None:
    """A problem where bearer tokens would cross a network in the clear; `name` is the variable of the address."""
    if tls is None and not listen.is_loopback:
        read.problem(
            name,
            f"{listen} can be reached from the network without encryption; "
            "set INDELIBLE_TLS_CERTIFICATE and INDELIBLE_TLS_KEY, or listen on 127.0.0.1",
        )


def read_token_settings(read: Reader) -> TokenSettings:
    """Which bearer tokens to accept."""
    return TokenSettings(
        issuer=read.required("INDELIBLE_TOKEN_ISSUER", "the 'iss' of the tokens your identity provider issues"),
        audience=read.required("INDELIBLE_TOKEN_AUDIENCE", "the 'aud' those tokens carry for this service"),
        keys=read_token_keys(read),
    )


def read_gateway_tokens(read: Reader, audience: str) -> TokenSettings | None:
    """The gateway as a second issuer, of short-lived tokens for the calls it makes for others; None without one.

    What only the evidence service may say is withheld from them: a stolen key of the gateway cannot write on any chain
    what happened to a clip.
    """
    name, variable = "INDELIBLE_GATEWAY_ISSUER", "INDELIBLE_GATEWAY_JWKS"
    issuer = read.value(name, str, "")
    if not issuer:
        return None
    if issuer == read.value("INDELIBLE_TOKEN_ISSUER", str, ""):
        read.problem(name, "is the same as INDELIBLE_TOKEN_ISSUER; the gateway needs a name of its own")
    if issuer == audience:
        # The audience of what the gateway issues to machines: those tokens are for the gateway alone.
        read.problem(name, "is the same as INDELIBLE_TOKEN_AUDIENCE; the gateway needs a name of its own")
    return TokenSettings(
        issuer=issuer,
        audience=audience,
        keys=read_token_keys(read, variable, "a file with the gateway's public keys, or the https address of its JWKS"),
        longest_seconds=GATEWAY_TOKEN_SECONDS,
        withheld=WITHHELD_FROM_GATEWAY,
        variable=variable,
    )


def read_token_keys(
    read: Reader,
    name: str = "INDELIBLE_TOKEN_JWKS",
    meaning: str = "a JWKS or PEM file with your issuer's public keys, or the https address of its JWKS",
) -> Path | str:
    """Where the keys of a token issuer are."""
    text = read.required(name, meaning)
    if "://" not in text:
        return read.required_file(name, "") if text else Path()
    address = urlsplit(text)
    if address.scheme != "https" or not address.hostname:
        # Keys fetched in the clear could be anyone's.
        read.problem(name, f"{text} cannot be used; only https addresses and files are trusted")
    return text


def read_log(read: Reader) -> LogSettings:
    """What to log and how."""
    return LogSettings(
        level=read.value("INDELIBLE_LOG_LEVEL", one_of(LOG_LEVELS), "info"),
        format=read.value("INDELIBLE_LOG_FORMAT", one_of(LOG_FORMATS), "json"),
    )


def wants_tracing(environ: Mapping[str, str]) -> bool:
    """Tracing is on when OpenTelemetry's own variables ask for it."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return bool(
        environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        or environ.get("OTEL_TRACES_EXPORTER")
    )


def whole_number(least: int) -> Callable[[str], int]:
    """Reads whole numbers from `least` on."""

    def parse(text: str) -> int:
        digits = text.lstrip("0")
        if not re.fullmatch("[0-9]{1,10}", digits) or not least <= int(digits) <= MAX_WHOLE_NUMBER:
            raise ValueError(f"give a whole number from {least} to {MAX_WHOLE_NUMBER}")
        return int(digits)

    return parse


def one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    """Reads one of a few words."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"give one of {', '.join(choices)}")
        return text.lower()

    return parse


def nats_address(text: str) -> str:
    """Reads the address of NATS."""
    address = urlsplit(text)
    if address.scheme not in {"nats", "tls"} or not address.hostname:
        raise ValueError("give a NATS address, for example nats://127.0.0.1:4222")
    return text


def read_caller_token(read: Reader) -> str:
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
