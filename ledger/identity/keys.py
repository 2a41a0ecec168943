"""The public keys bearer tokens are checked with: from a file, or from the issuer's https address.

A file is read again when it changes. An address is asked again from time to time, and also, but never oftener than
`MIN_REFRESH_SECONDS`, when a token names a key that is not known yet. If it stops answering, the last keys stay in use
for `MAX_STALE_SECONDS` and no longer: keys that were withdrawn meanwhile must not live for ever.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from ledger.settings_reader import SettingsError

VARIABLE = "INDELIBLE_TOKEN_JWKS"
MAX_KEYS_BYTES = 256 * 1024
MAX_KEYS = 64
MIN_RSA_BITS = 2_048
FILE_CHECK_SECONDS = 1.0  # a changed file is noticed within this time
REFRESH_SECONDS = 300.0
MIN_REFRESH_SECONDS = 15.0
MAX_STALE_SECONDS = 24 * 3600.0
FETCH_TIMEOUT_SECONDS = 5.0

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustedKey:
    """One public key, its name in the key set (None for a PEM file), and the algorithms it may be used with."""

    key_id: str | None
    key: Key
    algorithms: frozenset[str]


class UnusableKeysError(Exception):
    """A key file or answer is not what it should be; the text says what to correct."""


class KeySource(Protocol):
    """Where trusted keys come from."""

    @property
    def version(self) -> int:
        """Changes whenever the keys do."""
        ...

    def current(self) -> tuple[TrustedKey, ...]:
        """The keys to use now; cheap enough for every request."""
        ...

    async def refresh(self) -> None:
        """Look for newer keys, unless that was done a moment ago."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the keys fresh until `stop` is set."""
        ...


class KeyFile:
    """Keys from a JWKS or PEM file; a broken replacement is logged and the last good keys stay in use."""

    def __init__(
        self, path: Path, monotonic: Callable[[], float] = time.monotonic, *, variable: str = VARIABLE
    ) -> None:
        """Read the file, which the setting `variable` names. Raises SettingsError."""
        self._path = path
        self._monotonic = monotonic
        self.version = 1
        try:
            self._stamp = self._look()
            self._keys = parse_keys(self._read())
        except (OSError, UnusableKeysError) as error:
            raise SettingsError((f"{variable}: {path}: {error}",)) from error
        self._looked_at = monotonic()

    def current(self) -> tuple[TrustedKey, ...]:
        """The keys to use now, from a file that changed within the last moment."""
        now = self._monotonic()
        if now - self._looked_at >= FILE_CHECK_SECONDS:
            self._looked_at = now
            self._reload()
        return self._keys

    async def refresh(self) -> None:
        """Read the file again if it changed."""
        self._reload()

    async def run(self, stop: asyncio.Event) -> None:
        """Wait: the file is looked at on use."""
        await stop.wait()

    def _reload(self) -> None:
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            keys = parse_keys(self._read())
        except (OSError, UnusableKeysError) as error:
            _log.error("token_keys_unusable", file=str(self._path), error=str(error))
            return
        self._keys, self._stamp, self.version = keys, stamp, self.version + 1
        _log.info("token_keys_changed", file=str(self._path), keys=len(keys))

    def _look(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(MAX_KEYS_BYTES + 1)


class KeyAddress:
    """Keys from the https address of a JWKS."""

    def __init__(self, address: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._monotonic = monotonic
        self.version = 0
        self._keys: tuple[TrustedKey, ...] = ()
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def open(self, variable: str = VARIABLE) -> None:
        """Fetch the keys for the first time. Raises SettingsError."""
        try:
            await self._fetch()
        except (httpx.HTTPError, TimeoutError, UnusableKeysError) as error:
            raise SettingsError((f"{variable}: {self._address}: {error or type(error).__name__}",)) from error

    def current(self) -> tuple[TrustedKey, ...]:
        """The keys to use now; none when they are too old to be believed."""
        return self._keys if self._monotonic() - self._fetched_at < MAX_STALE_SECONDS else ()

    async def refresh(self) -> None:
        """Ask the address again, unless that was done a moment ago."""
        async with self._fetching:
            if self._monotonic() - self._tried_at < MIN_REFRESH_SECONDS:
                return
            try:
                await self._fetch()
            except (httpx.HTTPError, TimeoutError, UnusableKeysError) as error:
                _log.error("token_keys_not_fetched", address=self._address, error=str(error) or type(error).__name__)

    async def run(self, stop: asyncio.Event) -> None:
        """Ask the address from time to time until `stop` is set."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await stop.wait()
            except TimeoutError:
                await self.refresh()

    async def _fetch(self) -> None:
        self._tried_at = self._monotonic()
        body = b""
        async with (
            # httpx limits each read; this limits them all.
            asyncio.timeout(FETCH_TIMEOUT_SECONDS),
            httpx.AsyncClient(timeout=FETCH_TIMEOUT_SECONDS, follow_redirects=False) as client,
            client.stream(
                "GET", self._address, headers={"Accept": "application/jwk-set+json, application/json"}
            ) as answer,
        ):
            answer.raise_for_status()
            if answer.is_redirect:
                raise UnusableKeysError("the address redirects elsewhere; give the final address")
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_KEYS_BYTES:
                    break
        keys = parse_keys(body)
        if _identity(keys) != _identity(self._keys):
            self.version += 1
        self._keys, self._fetched_at = keys, self._monotonic()


async def open_keys(source: Path | str, *, variable: str = VARIABLE) -> KeySource:
    """The keys that the setting `variable` names. Raises SettingsError."""
    if isinstance(source, Path):
        return KeyFile(source, variable=variable)
    address = KeyAddress(source)
    await address.open(variable)
    return address


async def open_further_keys(source: Path | str, *, variable: str) -> KeySource:
    """As `open_keys`, for an issuer that a service can start without: an address is asked until it answers.

    Raises SettingsError for a file that cannot be used.
    """
    if isinstance(source, Path):
        return KeyFile(source, variable=variable)
    address = KeyAddress(source)
    await address.refresh()
    return address


def parse_keys(data: bytes) -> tuple[TrustedKey, ...]:
    """Read a JWKS (RFC 7517) or one PEM public key. Raises UnusableKeysError.

    Keys for other uses or of other kinds are passed over, as RFC 7517 section 5 asks; private ones are an operator's
    accident that must not go unnoticed.
    """
    if len(data) > MAX_KEYS_BYTES:
        raise UnusableKeysError(f"is larger than {MAX_KEYS_BYTES} bytes")
    if data.lstrip().startswith(b"-----BEGIN"):
        key = _import_pem(data)
        return (TrustedKey(key_id=None, key=key, algorithms=_algorithms(key)),)
    try:
        members = json.loads(data)["keys"]
        if not isinstance(members, list) or len(members) > MAX_KEYS:
            raise UnusableKeysError(f"must hold a list of at most {MAX_KEYS} keys")
        if not all(isinstance(member, dict) for member in members):
            raise UnusableKeysError("must hold a list of JSON Web Keys")
        keys = KeySet.import_key_set({"keys": [member for member in members if member.get("kty") != "oct"]}).keys
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnusableKeysError("is neither a JSON Web Key Set nor a PEM public key") from error
    if any(key.is_private for key in keys):
        raise UnusableKeysError("holds a private key; publish public keys only")
    trusted = tuple(
        TrustedKey(key_id=key.kid, key=key, algorithms=algorithms)
        for key in keys
        if key.get("use", "sig") == "sig" and (algorithms := _algorithms(key))
    )
    if not trusted:
        raise UnusableKeysError("holds no key that can sign tokens (Ed25519, P-256, or RSA of at least 2,048 bits)")
    if len({key.key_id for key in trusted}) < len(trusted):
        raise UnusableKeysError("holds two keys with the same kid")
    return trusted


def _import_pem(data: bytes) -> Key:
    for kind in (OKPKey, ECKey, RSAKey):
        try:
            key = kind.import_key(data)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private:
            raise UnusableKeysError("holds a private key; publish public keys only")
        if _algorithms(key):
            return key
    raise UnusableKeysError("is not a PEM public key of a usable kind (Ed25519, P-256, or RSA of at least 2,048 bits)")


def _algorithms(key: Key) -> frozenset[str]:
    """The algorithms `key` may be used with; none for a key that is too weak or of another kind."""
    fitting: frozenset[str] = frozenset()
    if isinstance(key, OKPKey) and key.curve_name == "Ed25519":
        fitting = frozenset({"EdDSA", "Ed25519"})
    elif isinstance(key, ECKey) and key.curve_name == "P-256":
        fitting = frozenset({"ES256"})
    elif isinstance(key, RSAKey) and key.public_key.key_size >= MIN_RSA_BITS:
        fitting = frozenset({"RS256", "PS256"})
    declared = key.alg
    if declared is None or (declared in {"EdDSA", "Ed25519"} and "EdDSA" in fitting):
        return fitting
    return fitting & {declared}


def _identity(keys: tuple[TrustedKey, ...]) -> frozenset[tuple[str | None, str]]:
    return frozenset((key.key_id, key.key.thumbprint()) for key in keys)
