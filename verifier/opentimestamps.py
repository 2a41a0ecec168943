"""OpenTimestamps proofs: a bounded parser and the offline check against Bitcoin block headers.

A proof is a tree. Its root is the digest of the stamped bytes; every edge is an operation on the message so far; every
leaf is an attestation about the message that reached it. A Bitcoin attestation claims that its message is the Merkle
root of the block at a height. That claim is worth something only next to the header of that very block, which the
user supplies; without it the proof is "anchored-unchecked". A pending attestation is a calendar's promise, nothing more.

The rules, in the order they are applied by `check_proof`:

1. the file is an OpenTimestamps proof of version 1 and is consumed to its last byte, within every limit below;
2. its first operation names the digest of the stamped bytes: SHA-256 (SHA-1 and RIPEMD-160 digests are refused as too
   weak for evidence, though both may appear further down, where Bitcoin itself relies on them);
3. that digest is the one expected;
4. a Bitcoin attestation whose height has a supplied header equals that header's Merkle root, and the header carries
   the proof of work it declares; one that contradicts its header makes the proof invalid, since a proof that claims
   something false about a block is not to be relied on at all;
5. attestations of unknown kinds are listed and skipped.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from verifier.findings import Finding, Severity

MAGIC = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
VERSION = 1

# Limits. The first three are those of the reference implementation; the last two bound our own work on hostile files.
MAX_MESSAGE_BYTES = 4096
MAX_PAYLOAD_BYTES = 8192
MAX_DEPTH = 256
MAX_PROOF_BYTES = 1024 * 1024
MAX_NODES = 100_000

BITCOIN_TAG = bytes.fromhex("0588960d73d71901")
PENDING_TAG = bytes.fromhex("83dfe30d2ef90c8e")
KNOWN_FOREIGN_TAGS = {
    bytes.fromhex("06869a0d73d71b45"): "Litecoin block",
    bytes.fromhex("30fe8087b5c7ead7"): "Ethereum block",
}

FORK, ATTESTATION = 0xFF, 0x00
APPEND, PREPEND, REVERSE, HEXLIFY = 0xF0, 0xF1, 0xF2, 0xF3
SHA1, RIPEMD160, SHA256, KECCAK256 = 0x02, 0x03, 0x08, 0x67
DIGEST_BYTES = {SHA1: 20, RIPEMD160: 20, SHA256: 32, KECCAK256: 32}
DIGEST_NAMES = {SHA1: "SHA-1", RIPEMD160: "RIPEMD-160", SHA256: "SHA-256", KECCAK256: "Keccak-256"}

# Bitcoin's easiest permitted target. Difficulty passed one million before block 190,000 and has never been near it
# since, so an easier header claiming a later height was not mined by the network.
POW_LIMIT = 0xFFFF << 208
LATE_HEIGHT = 200_000
LATE_TARGET_LIMIT = POW_LIMIT // 1_000_000

MAX_HEADER_FILE_BYTES = 256 * 1024 * 1024
HEADER_BYTES = 80


class UnusableProof(ValueError):
    """The bytes are not an OpenTimestamps proof that can be evaluated."""


class UnusableHeaders(ValueError):
    """The header file cannot be read; the message names the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attestation:
    """A leaf of the proof: `message` is what reached it, `payload` what the attestation says.

    `message` is None below an operation that only foreign block chains use and this verifier does not compute.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ProofResult:
    """What a proof shows. `time` is the claimed time of the earliest confirmed block; the block's miners set it."""

    ok: bool
    status: Literal["valid", "anchored-unchecked", "pending", "invalid"]
    height: int | None
    time: datetime | None
    findings: tuple[Finding, ...]


def check_proof(proof: bytes, *, digest: bytes, headers: Mapping[int, bytes] | None = None) -> ProofResult:
    """Checks `proof` for a SHA-256 `digest` against trusted block `headers` (height to 80 bytes). Never raises on bytes."""
    try:
        parsed = parse_proof(proof)
    except UnusableProof as error:
        return _invalid("ots-unreadable", f"The file is not a usable OpenTimestamps proof: {error}.")
    if parsed.algorithm != DIGEST_NAMES[SHA256]:
        return _invalid(
            "ots-weak-digest", f"The proof starts from a {parsed.algorithm} digest; only SHA-256 is accepted."
        )
    if parsed.digest != digest:
        return _invalid("ots-digest-mismatch", "The proof is about other bytes: it starts from a different digest.")
    return _judge(parsed, headers or {})


def parse_proof(data: bytes) -> Proof:
    """Parses a detached proof file strictly. Raises UnusableProof, and nothing else, on any other bytes."""
    if len(data) > MAX_PROOF_BYTES:
        raise UnusableProof(f"it is larger than {MAX_PROOF_BYTES} bytes")
    reader = _Reader(data)
    if reader.take(len(MAGIC)) != MAGIC:
        raise UnusableProof("it does not begin as one")
    if (version := reader.varuint()) != VERSION:
        raise UnusableProof(f"it has version {version}, and only version {VERSION} is known")
    operation = reader.byte()
    if operation not in DIGEST_BYTES:
        raise UnusableProof(f"operation {operation:#04x} is no digest of a file")
    digest = reader.take(DIGEST_BYTES[operation])
    attestations = _walk(reader, digest)
    if not reader.finished:
        raise UnusableProof("something follows its end")
    return Proof(algorithm=DIGEST_NAMES[operation], digest=digest, attestations=tuple(attestations))


def load_headers(data: bytes) -> dict[int, bytes]:
    """Reads a header file: one block a line, `HEIGHT HEX`, 160 hexadecimal digits of the raw header; `#` starts a comment.

    Raises UnusableHeaders naming the line, also when a header does not carry the work it declares.
    """
    if len(data) > MAX_HEADER_FILE_BYTES:
        raise UnusableHeaders(f"the header file is larger than {MAX_HEADER_FILE_BYTES} bytes")
    headers: dict[int, bytes] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        fields = line.split(b"#", 1)[0].split()
        if not fields:
            continue
        try:
            height_text, header_text = fields
            if not height_text.isdigit() or len(height_text) > 9:
                raise ValueError
            height, header = int(height_text), bytes.fromhex(header_text.decode("ascii"))
        except ValueError:
            raise UnusableHeaders(f"line {number} is not a height and {2 * HEADER_BYTES} hexadecimal digits") from None
        if len(header) != HEADER_BYTES:
            raise UnusableHeaders(f"line {number}: a block header has {HEADER_BYTES} bytes, this has {len(header)}")
        if headers.setdefault(height, header) != header:
            raise UnusableHeaders(f"line {number}: block {height} is listed twice with different headers")
        if problem := _work_problem(height, header):
            raise UnusableHeaders(f"line {number}: {problem}")
    return headers


def _judge(proof: Proof, headers: Mapping[int, bytes]) -> ProofResult:
    confirmed: dict[int, bytes] = {}
    unchecked: list[int] = []
    findings: list[Finding] = []
    pending = 0
    for attestation in proof.attestations:
        if attestation.tag == BITCOIN_TAG:
            height = _bitcoin_height(attestation.payload)
            if height is None or attestation.message is None or len(attestation.message) != DIGEST_BYTES[SHA256]:
                return _invalid("ots-attestation-malformed", "A Bitcoin attestation of the proof is malformed.")
            if (header := headers.get(height)) is None:
                unchecked.append(height)
            elif problem := _work_problem(height, header):
                return _invalid("ots-header-work", f"The supplied header cannot be trusted: {problem}.")
            elif header[36:68] != attestation.message:
                return _invalid(
                    "ots-header-mismatch", f"The proof claims Bitcoin block {height}, whose header says otherwise."
                )
            else:
                confirmed[height] = header
        elif attestation.tag == PENDING_TAG:
            pending += 1
        else:
            findings.append(_unknown(attestation))
    if pending:
        findings.append(
            _info("ots-pending", f"{pending} calendar(s) promised an anchor that this proof does not hold yet.")
        )
    if confirmed:
        return _valid(confirmed, findings)
    if unchecked:
        heights = ", ".join(str(height) for height in sorted(set(unchecked)))
        message = f"The proof leads to Bitcoin block(s) {heights}, but no header of them was given to check it against."
        return _undecided("anchored-unchecked", min(unchecked), "ots-no-header", message, findings)
    if pending:
        message = "The proof is not anchored yet: a calendar's promise alone proves nothing."
        return _undecided("pending", None, "ots-not-anchored", message, findings)
    return _invalid("ots-nothing-checkable", "The proof holds no Bitcoin attestation and no pending one.", findings)


def _valid(confirmed: Mapping[int, bytes], findings: list[Finding]) -> ProofResult:
    height = min(confirmed)
    time = datetime.fromtimestamp(int.from_bytes(confirmed[height][68:72], "little"), UTC)
    message = (
        f"The bytes existed not later than Bitcoin block {height}, whose miner dated it {time:%Y-%m-%d %H:%M} UTC "
        "(block times can be off by about two hours)."
    )
    findings.append(_info("ots-anchored", message))
    return ProofResult(ok=True, status="valid", height=height, time=time, findings=tuple(findings))


def _undecided(
    status: Literal["anchored-unchecked", "pending"],
    height: int | None,
    code: str,
    message: str,
    findings: list[Finding],
) -> ProofResult:
    warning = Finding(code=code, severity=Severity.WARNING, message=message)
    return ProofResult(ok=False, status=status, height=height, time=None, findings=(warning, *findings))


def _invalid(code: str, message: str, findings: list[Finding] | None = None) -> ProofResult:
    error = Finding(code=code, severity=Severity.ERROR, message=message)
    return ProofResult(ok=False, status="invalid", height=None, time=None, findings=(error, *(findings or ())))


def _info(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.INFO, message=message)


def _unknown(attestation: Attestation) -> Finding:
    name = KNOWN_FOREIGN_TAGS.get(attestation.tag, f"kind {attestation.tag.hex()}")
    return _info("ots-attestation-skipped", f"An attestation of {name} was skipped: this verifier checks Bitcoin only.")


def _bitcoin_height(payload: bytes) -> int | None:
    reader = _Reader(payload)
    try:
        height = reader.varuint()
    except UnusableProof:
        return None
    return height if reader.finished else None


def _work_problem(height: int, header: bytes) -> str | None:
    """Why the header does not carry the work it declares, or None."""
    compact = int.from_bytes(header[72:76], "little")
    exponent, mantissa = compact >> 24, compact & 0x7FFFFF
    target = mantissa << (8 * (exponent - 3)) if exponent >= 3 else mantissa >> (8 * (3 - exponent))
    # 0x800000 is the sign bit of the compact form; an exponent above 32 would not fit the 256 bits of a hash.
    if compact & 0x800000 or exponent > 32 or not 0 < target <= POW_LIMIT:
        return f"the header of block {height} declares an impossible difficulty"
    if height >= LATE_HEIGHT and target > LATE_TARGET_LIMIT:
        return f"the header of block {height} declares a difficulty far below what the network had by then"
    work = hashlib.sha256(hashlib.sha256(header).digest()).digest()
    if int.from_bytes(work, "little") > target:
        return f"the header of block {height} lacks the proof of work it declares"
    return None


def _walk(reader: "_Reader", digest: bytes) -> list[Attestation]:
    """Follows every branch. A stack of our own, not recursion, so that a hostile proof cannot exhaust Python's."""
    attestations: list[Attestation] = []
    # Each entry is a node still to be read at the reader's place: its message and its depth.
    waiting: list[tuple[bytes | None, int]] = [(digest, 0)]
    nodes = 0
    while waiting:
        message, depth = waiting.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise UnusableProof(f"it is nested deeper than {MAX_DEPTH} operations")
        if nodes > MAX_NODES:
            raise UnusableProof(f"it has more than {MAX_NODES} branches")
        tag = reader.byte()
        if tag == FORK:
            # The branch after the marker comes first in the file; the same node goes on behind it.
            waiting.append((message, depth))
            tag = reader.byte()
        if tag == ATTESTATION:
            attestations.append(
                Attestation(tag=reader.take(8), payload=reader.varbytes(MAX_PAYLOAD_BYTES), message=message)
            )
        else:
            waiting.append((_apply(tag, message, reader), depth + 1))
    return attestations


def _apply(tag: int, message: bytes | None, reader: "_Reader") -> bytes | None:
    argument = b""
    if tag in {APPEND, PREPEND}:
        argument = reader.varbytes(MAX_MESSAGE_BYTES)
        if not argument:
            raise UnusableProof("it appends or prepends nothing")
    elif tag not in {REVERSE, HEXLIFY, SHA1, RIPEMD160, SHA256, KECCAK256}:
        raise UnusableProof(f"operation {tag:#04x} is unknown")
    if message is None or tag == KECCAK256:
        return None
    result = _compute(tag, message, argument)
    if len(result) > MAX_MESSAGE_BYTES:
        raise UnusableProof(f"a message grows beyond {MAX_MESSAGE_BYTES} bytes")
    return result


def _compute(tag: int, message: bytes, argument: bytes) -> bytes:
    if tag == APPEND:
        return message + argument
    if tag == PREPEND:
        return argument + message
    if tag == REVERSE:
        return message[::-1]
    if tag == HEXLIFY:
        return message.hex().encode()
    if tag == SHA256:
        return hashlib.sha256(message).digest()
    # Bitcoin's own addresses and old calendars use these two inside a path; neither is accepted as a file's digest.
    return hashlib.sha1(message, usedforsecurity=False).digest() if tag == SHA1 else _ripemd160(message)


def _ripemd160(message: bytes) -> bytes:
    try:
        return hashlib.new("ripemd160", message, usedforsecurity=False).digest()
    except ValueError:
        raise UnusableProof("it needs RIPEMD-160, which this machine's OpenSSL does not offer") from None


class _Reader:
    """Bytes with a place in them. Every read is checked against the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def finished(self) -> bool:
        return self._place == len(self._data)

    def take(self, length: int) -> bytes:
        if length > len(self._data) - self._place:
            raise UnusableProof("it ends too early")
        self._place += length
        return self._data[self._place - length : self._place]

    def byte(self) -> int:
        return self.take(1)[0]

    def varuint(self) -> int:
        """LEB128, in its shortest form and below 2^63."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                if byte == 0 and shift:
                    raise UnusableProof("a number is not in its shortest form")
                return value
            shift += 7
            if shift > 56:
                raise UnusableProof("a number is too large")

    def varbytes(self, limit: int) -> bytes:
        if (length := self.varuint()) > limit:
            raise UnusableProof(f"a field is longer than {limit} bytes")
        return self.take(length)
