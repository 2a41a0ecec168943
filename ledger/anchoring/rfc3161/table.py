"""One [authorities.NAME] table without `backend`: a time-stamp authority, read key by key."""

import re
import ssl
from pathlib import Path

import httpx

from ledger.anchoring.rfc3161.configuration import (
    DEFAULT_CONCURRENCY,
    DEFAULT_TIMEOUT_SECONDS,
    AuthorityConfiguration,
    BasicAuth,
)
from ledger.anchoring.rfc3161.presets import PRESETS, Preset
from ledger.anchoring.table import Table
from verifier.rfc3161 import load_certificates

MAX_NAMED_FILE_BYTES = 1024 * 1024
MAX_TIMEOUT_SECONDS = 300.0
MAX_INTERVAL_SECONDS = 3600.0
MAX_CONCURRENCY = 64

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,39})){1,32}")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_KEYS = frozenset(
    {
        "preset",
        "url",
        "roots",
        "intermediates",
        "policies",
        "basic_auth_file",
        "client_certificate",
        "client_key",
        "timeout_seconds",
        "min_interval_seconds",
        "concurrency",
    }
)


class AuthorityTable(Table):
    """Reads one table. `directory` is where relative paths begin."""

    def read(self) -> AuthorityConfiguration:
        """The configuration. Raises TableProblem with everything that is wrong."""
        self._require_known_keys(_KEYS)
        preset = self._preset()
        url = self._url(preset)
        configuration = AuthorityConfiguration(
            name=self._name,
            url=url,
            roots=self._certificates("roots", required=True),
            intermediates=self._certificates("intermediates", required=False),
            policies=self._policies(),
            basic_auth=self._basic_auth(url),
            client_certificate=self._path("client_certificate"),
            client_key=self._path("client_key"),
            timeout_seconds=self._number("timeout_seconds", DEFAULT_TIMEOUT_SECONDS, 1.0, MAX_TIMEOUT_SECONDS),
            min_interval_seconds=self._number(
                "min_interval_seconds", preset.min_interval_seconds, 0.0, MAX_INTERVAL_SECONDS
            ),
            concurrency=self._number("concurrency", DEFAULT_CONCURRENCY, 1, MAX_CONCURRENCY),
        )
        self._check_client_certificate(configuration)
        self._raise_problems()
        return configuration

    def _preset(self) -> Preset:
        name = self._content.get("preset")
        if name is None:
            return Preset(url=None)
        if not isinstance(name, str) or name not in PRESETS:
            self._note("preset", f"unknown; the presets are {', '.join(sorted(PRESETS))}. For any other, give its url")
            return Preset(url=None)
        return PRESETS[name]

    def _url(self, preset: Preset) -> str:
        given = self._content.get("url", preset.url)
        if given is None:
            self._note("url", "missing; give the address that the authority told you to post time-stamp requests to")
            return ""
        try:
            url = httpx.URL(given if isinstance(given, str) else "")
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in {"http", "https"} or not url.host or url.fragment:
            self._note("url", 'must be an address such as "https://tsa.example.com/tsr"')
        elif url.userinfo:
            self._note("url", "must not contain a name or password; put them in a file and name it in basic_auth_file")
        return str(url)

    def _certificates(self, key: str, *, required: bool) -> tuple[bytes, ...]:
        names = self._texts(key)
        if required and not names:
            self._note(key, "missing; name at least one PEM file with a root certificate of this authority")
        found: list[bytes] = []
        for name in names:
            data = self._read_file(key, name)
            if data is None:
                continue
            try:
                found.extend(load_certificates(data))
            except ValueError as error:
                self._note(key, f"{name!r} holds no usable certificate: {error}")
        return tuple(found)

    def _policies(self) -> frozenset[str]:
        policies = self._texts("policies")
        for policy in policies:
            if not _OID.fullmatch(policy):
                self._note("policies", f'{policy!r} is not a dotted object identifier such as "1.2.3.4"')
        return frozenset(policies)

    def _basic_auth(self, url: str) -> BasicAuth | None:
        name = self._content.get("basic_auth_file")
        if name is None:
            return None
        data = self._read_file("basic_auth_file", name)
        if data is None:
            return None
        user, colon, password = data.decode("utf-8", "replace").strip("\r\n").partition(":")
        if not (user and colon and password) or "\n" in password or "\ufffd" in user + password:
            self._note("basic_auth_file", "must hold one line, NAME:PASSWORD, in UTF-8")
            return None
        if url.startswith("http://") and httpx.URL(url).host not in _LOOPBACK:
            self._note("basic_auth_file", "would send the password unencrypted; use an https address")
        return BasicAuth(name=user, password=password)

    def _check_client_certificate(self, configuration: AuthorityConfiguration) -> None:
        certificate, key = configuration.client_certificate, configuration.client_key
        if key is not None and certificate is None and "client_certificate" not in self._content:
            self._note("client_certificate", "missing, while client_key is given; name its PEM file")
        if certificate is None:
            return
        if not configuration.url.startswith("https://"):
            self._note("client_certificate", "has no use without an https address")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError):
            self._note(
                "client_certificate",
                "cannot be used with its key; both must be PEM files that belong together, the key unencrypted",
            )

    def _path(self, key: str) -> Path | None:
        name = self._content.get(key)
        if name is None or self._read_file(key, name) is None:
            return None
        return self._directory / str(name)

    def _read_file(self, key: str, name: object) -> bytes | None:
        if not isinstance(name, str) or not name:
            self._note(key, "must be the path of a file, as text")
            return None
        try:
            with (self._directory / name).open("rb") as file:
                data = file.read(MAX_NAMED_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a path"
            self._note(key, f"cannot read {str(self._directory / name)!r} ({reason}); is the path right?")
            return None
        if len(data) > MAX_NAMED_FILE_BYTES:
            self._note(key, f"{name!r} is larger than {MAX_NAMED_FILE_BYTES} bytes")
            return None
        return data

    def _texts(self, key: str) -> list[str]:
        value = self._content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            self._note(key, 'must be a list of texts, such as ["a", "b"]')
            return []
        return [str(item) for item in value]


def _no_password() -> str:
    # Without this, an encrypted key would make OpenSSL ask on the terminal.
    return ""
