"""Append receipts: a C2SP signed note (c2sp.org/signed-note) by the ledger's Ed25519 key.

The text of the note is five lines and a final newline:

    indelible-receipt/1
    ORGANISATION
    CHAIN
    SEQUENCE
    HASH

It says: the ledger had accepted the event with this hash at this sequence of this chain. Whoever holds it can later
prove that the chain was truncated or replaced.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FORMAT = "indelible-receipt/1"
# A receipt is about 300 bytes; anything much larger is not one.
MAX_NOTE_BYTES = 4096
_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_SIGNATURE_BYTES = 64
# A key name must not hold spaces, plus signs or control characters (signed-note, "Format").
_KEY_NAME = re.compile(r"[!-*,-~]{1,255}", re.ASCII)
_TEXT = re.compile(
    rf"{re.escape(FORMAT)}\n([a-z0-9-]{{1,64}})\n([a-z0-9-]{{1,64}})\n([1-9][0-9]{{0,15}})\n([0-9a-f]{{64}})\n"
)
_SIGNATURE = re.compile("\u2014 ([^ \n+]+) ([A-Za-z0-9+/]+={0,2})\n")


class InvalidReceiptError(ValueError):
    """A note that is not a receipt signed by the given key; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptStatement:
    """What a receipt states: this event was accepted at this place."""

    organisation_id: str
    chain_id: str
    sequence: int
    hash: bytes


class ReceiptSigner:
    """Signs receipts. Ed25519 is deterministic: the same statement gives the same bytes, so answers can be repeated."""

    def __init__(self, *, key: Ed25519PrivateKey, name: str) -> None:
        """`name` identifies the ledger in every receipt, for example "ledger.example.org". Raises ValueError."""
        if _KEY_NAME.fullmatch(name) is None:
            raise ValueError("a receipt key's name is 1 to 255 printable ASCII characters without spaces or '+'")
        self._sign = key.sign
        self._public_key = key.public_key()
        self._name = name
        self._key_id = _key_id(name, self._public_key)

    def sign(self, *, organisation_id: str, chain_id: str, sequence: int, digest: bytes) -> str:
        """The signed note for one accepted event."""
        text = f"{FORMAT}\n{organisation_id}\n{chain_id}\n{sequence}\n{digest.hex()}\n"
        signature = b64encode(self._key_id + self._sign(text.encode())).decode()
        return f"{text}\n\u2014 {self._name} {signature}\n"

    @property
    def verifier_key(self) -> str:
        """The public key in the note format: NAME+KEYID+BASE64, to hand to whoever checks receipts."""
        encoded = b64encode(_ED25519 + _raw(self._public_key)).decode()
        return f"{self._name}+{self._key_id.hex()}+{encoded}"


class ReceiptVerifier:
    """Checks receipts against one pinned key."""

    def __init__(self, verifier_key: str) -> None:
        """`verifier_key` is NAME+KEYID+BASE64 as `ReceiptSigner.verifier_key` gives it. Raises ValueError."""
        name, _, rest = verifier_key.partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            decoded = b64decode(encoded, validate=True)
            self._key = Ed25519PublicKey.from_public_bytes(decoded[1:])
            self._key_id = bytes.fromhex(key_id)
        except ValueError as error:
            raise ValueError(f"not a receipt verification key (NAME+KEYID+BASE64): {error}") from error
        if decoded[:1] != _ED25519 or self._key_id != _key_id(name, self._key):
            raise ValueError("not a receipt verification key: its parts do not belong together")
        self._name = name

    def verify(self, note: str) -> ReceiptStatement:
        """What the note states, once its signature by the pinned key holds. Raises InvalidReceiptError."""
        if len(note) > MAX_NOTE_BYTES:
            raise InvalidReceiptError("the note is too long for a receipt")
        text, separator, signatures = note.partition("\n\n")
        text += "\n"
        statement = _TEXT.fullmatch(text)
        if not separator or statement is None:
            raise InvalidReceiptError("the note's text is not that of a receipt")
        if not self._is_signed(text.encode(), signatures):
            raise InvalidReceiptError(f"the note is not signed by {self._name}")
        organisation_id, chain_id, sequence, digest = statement.groups()
        return ReceiptStatement(
            organisation_id=organisation_id,
            chain_id=chain_id,
            sequence=int(sequence),
            hash=bytes.fromhex(digest),
        )

    def _is_signed(self, text: bytes, signatures: str) -> bool:
        # Signatures by other keys are allowed and say nothing (signed-note, "Verification").
        ours = []
        for line in signatures.splitlines(keepends=True):
            parts = _SIGNATURE.fullmatch(line)
            if parts is None:
                return False
            try:
                value = b64decode(parts[2], validate=True)
            except ValueError:
                return False
            if parts[1] == self._name and value[:_KEY_ID_BYTES] == self._key_id:
                ours.append(value[_KEY_ID_BYTES:])
        if len(ours) != 1 or len(ours[0]) != _SIGNATURE_BYTES:
            return False
        try:
            self._key.verify(ours[0], text)
        except InvalidSignature:
            return False
        return True


def _key_id(name: str, key: Ed25519PublicKey) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + _raw(key)).digest()[:_KEY_ID_BYTES]


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
