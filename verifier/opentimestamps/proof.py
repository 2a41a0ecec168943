"""The proof file: a bounded parser of OpenTimestamps' detached format, version 1.

A proof is a tree. Its root is the digest of the stamped bytes; every edge is an operation on the message so far; every
leaf is an attestation about the message that reached it.
"""

import hashlib
import re
from dataclasses import dataclass

BITCOIN_TAG = bytes.fromhex("0588960d73d71901")
PENDING_TAG = bytes.fromhex("83dfe30d2ef90c8e")

# Limits. The first four are those of the reference implementation; the last two bound our own work on hostile files.
MAX_MESSAGE_BYTES = 4096
MAX_PAYLOAD_BYTES = 8192
MAX_ADDRESS_BYTES = 1000
MAX_DEPTH = 256
MAX_PROOF_BYTES = 1024 * 1024
MAX_NODES = 16_384
ROOT_BYTES = 32  # of a Merkle root, which is what an attestation is about

MAGIC = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
VERSION = 1
TAG_BYTES = 8
FORK, ATTESTATION = 0xFF, 0x00
APPEND, PREPEND, _REVERSE, _HEXLIFY = 0xF0, 0xF1, 0xF2, 0xF3
_SHA1, _RIPEMD160, SHA256, _KECCAK256 = 0x02, 0x03, 0x08, 0x67
_DIGESTS = {
    _SHA1: ("SHA-1", 20),
    _RIPEMD160: ("RIPEMD-160", 20),
    SHA256: ("SHA-256", 32),
    _KECCAK256: ("Keccak-256", 32),
}
_ADDRESS = re.compile(rb"[A-Za-z0-9._/:-]+")  # what the reference implementation allows
_LARGEST_SHIFT = 56  # a varuint is below 2^63


class UnusableProofError(ValueError):
    """The bytes are not an OpenTimestamps proof that can be evaluated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attestation:
    """A leaf of the proof: `message` is what reached it, `payload` what the attestation says.

    `message` is kept only where it can be a Merkle root, for a hostile proof may carry thousands of long ones; it is
    None otherwise, and below an operation that only foreign block chains use and this verifier does not compute.
    """

    tag: bytes
    payload: bytes
    message: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """A parsed proof: the digest it starts from and every attestation it leads to."""

    algorithm: str
    digest: bytes
    attestations: tuple[Attestation, ...]


def parse_proof(data: bytes) -> Proof:
    """Parses a detached proof file strictly. Raises UnusableProofError, and nothing else, on any other bytes."""
    if len(data) > MAX_PROOF_BYTES:
        raise UnusableProofError(f"it is larger than {MAX_PROOF_BYTES} bytes")
    reader = Reader(data)
    if reader.take(len(MAGIC)) != MAGIC:
        raise UnusableProofError("it does not begin as one")
    if (version := reader.varuint()) != VERSION:
        raise UnusableProofError(f"it has version {version}, and only version {VERSION} is known")
    if (operation := reader.byte()) not in _DIGESTS:
        raise UnusableProofError(f"operation {operation:#04x} is no digest of a file")
    algorithm, length = _DIGESTS[operation]
    digest = reader.take(length)
    attestations = _walk(reader, digest)
    if not reader.finished:
        raise UnusableProofError("something follows its end")
    return Proof(algorithm=algorithm, digest=digest, attestations=tuple(attestations))


def bitcoin_height(attestation: Attestation) -> int | None:
    """The height a Bitcoin attestation claims; None when it or the message that reached it cannot be a Merkle root."""
    reader = Reader(attestation.payload)
    try:
        height = reader.varuint()
    except UnusableProofError:
        return None
    return height if reader.finished and attestation.message is not None else None


def calendar_address(attestation: Attestation) -> str | None:
    """The address of the calendar that made a promise, without a slash at its end; None when it is not a plain one."""
    reader = Reader(attestation.payload)
    try:
        address = reader.varbytes(MAX_ADDRESS_BYTES)
    except UnusableProofError:
        return None
    return address.decode("ascii").rstrip("/") if reader.finished and _ADDRESS.fullmatch(address) else None


def _walk(reader: "Reader", digest: bytes) -> list[Attestation]:
    """Follows every branch. A stack of our own, not recursion, so that a hostile proof cannot exhaust Python's."""
    attestations: list[Attestation] = []
    # Each entry is a node still to be read at the reader's place: its message and its depth.
    waiting: list[tuple[bytes | None, int]] = [(digest, 0)]
    nodes = 0
    while waiting:
        message, depth = waiting.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise UnusableProofError(f"it is nested deeper than {MAX_DEPTH} operations")
        if nodes > MAX_NODES:
            raise UnusableProofError(f"it has more than {MAX_NODES} branches")
        tag = reader.byte()
        if tag == FORK:
            # The branch after the marker comes first in the file; the same node goes on behind it.
            waiting.append((message, depth))
            tag = reader.byte()
        if tag == ATTESTATION:
            kept = message if message is not None and len(message) == ROOT_BYTES else None
            attestations.append(
                Attestation(tag=reader.take(TAG_BYTES), payload=reader.varbytes(MAX_PAYLOAD_BYTES), message=kept)
            )
        else:
            waiting.append((apply_operation(tag, message, reader), depth + 1))
    return attestations


def apply_operation(tag: int, message: bytes | None, reader: "Reader") -> bytes | None:
    """What the operation `tag` makes of `message`; its argument comes from `reader`. Raises UnusableProofError.

    None where the message is not known or the operation is not computed.
    """
    argument = b""
    if tag in {APPEND, PREPEND}:
        argument = reader.varbytes(MAX_MESSAGE_BYTES)
        if not argument:
            raise UnusableProofError("it appends or prepends nothing")
    elif tag not in {_REVERSE, _HEXLIFY, _SHA1, _RIPEMD160, SHA256, _KECCAK256}:
        raise UnusableProofError(f"operation {tag:#04x} is unknown")
    if message is None or tag == _KECCAK256:
        return None
    result = _compute(tag, message, argument)
    if len(result) > MAX_MESSAGE_BYTES:
        raise UnusableProofError(f"a message grows beyond {MAX_MESSAGE_BYTES} bytes")
    return result


def _compute(tag: int, message: bytes, argument: bytes) -> bytes:
    if tag == APPEND:
        return message + argument
    if tag == PREPEND:
        return argument + message
    if tag == _REVERSE:
        return message[::-1]
    if tag == _HEXLIFY:
        return message.hex().encode()
    if tag == SHA256:
        return hashlib.sha256(message).digest()
    # Bitcoin's own addresses and old calendars use these two inside a path; neither is accepted as a file's digest.
    return hashlib.sha1(message, usedforsecurity=False).digest() if tag == _SHA1 else _ripemd160(message)


def _ripemd160(message: bytes) -> bytes:
    try:
        return hashlib.new("ripemd160", message, usedforsecurity=False).digest()
    except ValueError:
        raise UnusableProofError("it needs RIPEMD-160, which this machine's OpenSSL does not offer") from None


class Reader:
    """Bytes with a place in them. Every read is checked against the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def place(self) -> int:
        """How many bytes were read."""
        return self._place

    @property
    def finished(self) -> bool:
        """Whether all bytes were read."""
        return self._place == len(self._data)

    def since(self, place: int) -> bytes:
        """The bytes read since `place`."""
        return self._data[place : self._place]

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        if length > len(self._data) - self._place:
            raise UnusableProofError("it ends too early")
        self._place += length
        return self._data[self._place - length : self._place]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def varuint(self) -> int:
        """LEB128, in its shortest form and below 2^63."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                if byte == 0 and shift:
                    raise UnusableProofError("a number is not in its shortest form")
                return value
            shift += 7
            if shift > _LARGEST_SHIFT:
                raise UnusableProofError("a number is too large")

    def varbytes(self, limit: int) -> bytes:
        """A field of at most `limit` bytes, after its length."""
        if (length := self.varuint()) > limit:
            raise UnusableProofError(f"a field is longer than {limit} bytes")
        return self.take(length)
