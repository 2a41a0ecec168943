"""base58check, the text form in which Tezos writes hashes, addresses and keys."""

import hashlib

BLOCK_HASH = bytes([1, 52])
OPERATION_HASH = bytes([5, 116])
CHAIN_ID = bytes([87, 82, 0])
CONTRACT = bytes([2, 90, 121])
CHAIN_ID_BYTES = 4

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_CHECKSUM_BYTES = 4
_LONGEST = 128  # characters; the longest text needed here, a BLS public key, has 76


def encode(prefix: bytes, payload: bytes) -> str:
    """The text form of a Tezos hash, address or key."""
    body = prefix + payload
    body += hashlib.sha256(hashlib.sha256(body).digest()).digest()[:_CHECKSUM_BYTES]
    number, text = int.from_bytes(body), ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        text = _ALPHABET[digit] + text
    return "1" * (len(body) - len(body.lstrip(b"\0"))) + text


def decode(text: str, prefix: bytes, length: int) -> bytes | None:
    """What `encode` wrote, or None when `text` is anything else."""
    if len(text) > _LONGEST or any(digit not in _ALPHABET for digit in text):
        return None
    number = 0
    for digit in text:
        number = number * len(_ALPHABET) + _ALPHABET.index(digit)
    body_length = len(prefix) + length + _CHECKSUM_BYTES
    if number >> (8 * body_length):
        return None
    payload = number.to_bytes(body_length)[len(prefix) : -_CHECKSUM_BYTES]
    return payload if encode(prefix, payload) == text else None
