"""The gateway's own signing keys: a file of private Ed25519 keys, the first of which signs.

All of them are published, so that a key can be made known before it is used and stays known until the last token it
signed has expired: add one, wait until everybody has fetched it, use it, and retire the old one after an hour. A
changed file is noticed within a second; a broken one is logged, and the last good keys stay in use.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from ledger.identity.keys import TrustedKey, parse_keys

# RFC 9864; EdDSA is its deprecated name.
ALGORITHM = "Ed25519"
MAX_FILE_BYTES = 64 * 1024
MAX_KEYS = 8
CHECK_SECONDS = 1.0

_log = structlog.stdlib.get_logger(__name__)


class KeysError(ValueError):
    """The file does not hold signing keys; the text says what to do."""


class SigningKeys:
    """Signs tokens, and publishes the keys they are checked with. For any number of threads."""

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read the file. Raises KeysError, OSError."""
        self._path = path
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._keys = read_keys(path)
        self._published = public_set(self._keys)
        self._looked_at = monotonic()
        self.version = 1

    def sign(self, claims: Mapping[str, object]) -> str:
        """An access token (RFC 9068) with these claims."""
        key = self._current()[0]
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": "at+jwt"}
        return jwt.encode(header, dict(claims), key, algorithms=[ALGORITHM])

    def published(self) -> dict[str, object]:
        """The JSON Web Key Set with every public key."""
        self._current()
        return self._published

    def _current(self) -> Sequence[OKPKey]:
        now = self._monotonic()
        if now - self._looked_at >= CHECK_SECONDS:
            with self._lock:
                self._looked_at = now
                self._reload()
        return self._keys

    def _reload(self) -> None:
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            keys = read_keys(self._path)
        except (OSError, KeysError) as error:
            _log.error("signing_keys_unusable", file=str(self._path), error=str(error))
            return
        self._keys, self._published = keys, public_set(keys)
        self._stamp, self.version = stamp, self.version + 1
        _log.info("signing_keys_changed", file=str(self._path), keys=len(keys))

    def _look(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino


class OwnKeys:
    """The gateway's own keys as it checks tokens with them: `ledger.identity.KeySource`."""

    def __init__(self, signing: SigningKeys) -> None:
        self._signing = signing
        self._read: tuple[int, tuple[TrustedKey, ...]] = (0, ())

    @property
    def version(self) -> int:
        """Changes whenever the keys do."""
        return self._signing.version

    def current(self) -> tuple[TrustedKey, ...]:
        """The keys to use now."""
        published, version = self._signing.published(), self._signing.version
        if self._read[0] != version:
            self._read = version, parse_keys(json.dumps(published).encode())
        return self._read[1]

    async def refresh(self) -> None:
        """Nothing to do: the file is looked at on use."""

    async def run(self, stop: asyncio.Event) -> None:
        """Wait: the file is looked at on use."""
        await stop.wait()


def read_keys(path: Path) -> list[OKPKey]:
    """The keys of a file, the signing one first. Raises KeysError, OSError."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise KeysError(f"{path} is larger than {MAX_FILE_BYTES} bytes; it is no file of signing keys")
    try:
        keys = KeySet.import_key_set(json.loads(data)).keys
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise KeysError(f"{path} is no file of signing keys; `indelible gateway key add` makes one") from error
    usable = [key for key in keys if isinstance(key, OKPKey) and key.curve_name == "Ed25519" and key.is_private]
    if not usable or len(usable) < len(keys) or len(keys) > MAX_KEYS:
        raise KeysError(f"{path} must hold 1 to {MAX_KEYS} private Ed25519 keys and nothing else")
    if len({key.kid for key in usable}) < len(usable):
        raise KeysError(f"{path} holds two keys of the same name (kid)")
    return usable


def write_keys(path: Path, keys: Sequence[OKPKey]) -> None:
    """Write the file anew, readable by its owner only; a reader finds the old or the new one, and either whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(json.dumps(KeySet(list(keys)).as_dict(private=True), indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def make_key() -> OKPKey:
    """A new key, named by its thumbprint (RFC 7638)."""
    return OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)


def public_set(keys: Sequence[OKPKey]) -> dict[str, object]:
    """The JSON Web Key Set of the public halves."""
    return dict(KeySet(list(keys)).as_dict(private=False))
