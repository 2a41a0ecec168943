"""Webhook secrets at rest: encrypted with keys that only the gateway's settings know.

They cannot be kept as digests: to sign, the gateway must have them. The newest key encrypts; older ones still decrypt,
so that keys can be replaced without replacing anybody's secret.
"""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SealingError(Exception):
    """A secret that none of the configured keys opens."""


class Sealer:
    """Encrypts and decrypts with Fernet keys, the newest first."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Raises ValueError when there is none, or one is no Fernet key (32 bytes in URL-safe base64)."""
        if not keys:
            raise ValueError("there is no key")
        self._keys = MultiFernet([Fernet(key) for key in keys])

    def seal(self, secret: bytes) -> bytes:
        """The secret as it is stored."""
        return self._keys.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """The secret that was sealed. Raises SealingError."""
        try:
            return self._keys.decrypt(sealed)
        except InvalidToken:
            raise SealingError("no configured key opens this secret") from None
