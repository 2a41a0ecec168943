"""base58check, the text form in which Tezos writes hashes, addresses and keys."""

import hashlib

BLOCK_HASH = bytes([1, 52])
OPERATION_HASH = bytes([5, 116])
CHAIN_ID = bytes([87, 82, 0])
CONTRACT = bytes([2, 90, 121])
CHAIN_ID_BYTES = 4

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE = len(_ALPHABET)
_DIGITS = {character: digit for digit, character in enumerate(_ALPHABET)}
_CHECKSUM_BYTES = 4
_LONGEST = 128  # characters; the longest text needed here, a BLS public key, has 76


def encode(prefix: bytes, payload: bytes) -> str:
    """The text form of a Tezos hash, address or key."""
    body = prefix + payload
    number, digits = int.from_bytes(body + _checksum(body)), []
    while number:
        number, digit = divmod(number, _BASE)
        digits.append(_ALPHABET[digit])
    return "1" * _leading_zeros(body) + "".join(reversed(digits))


def decode(text: str, prefix: bytes, length: int) -> bytes | None:
    """What `encode` wrote, or None when `text` is anything else."""
    if len(text) > _LONGEST:
        return None
    number = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            return None
        number = number * _BASE + digit
    body_length = len(prefix) + length
    if number >> (8 * (body_length + _CHECKSUM_BYTES)):
        return None
    whole = number.to_bytes(body_length + _CHECKSUM_BYTES)
    body = whole[:body_length]
    # One number has one text: the digits say nothing about zero bytes in front, which are written as that many ones.
    ones = len(text) - len(text.lstrip("1"))
    if not body.startswith(prefix) or whole[body_length:] != _checksum(body) or ones != _leading_zeros(body):
        return None
    return body[len(prefix) :]


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(body).digest()).digest()[:_CHECKSUM_BYTES]


def _leading_zeros(body: bytes) -> int:
    return len(body) - len(body.lstrip(b"\0"))
