"""The tree of a proof as a set of leaves, each with the steps that lead to it: so that merging two is a union.

The bytes are those of docs/spec/opentimestamps.md, section 1. What comes from calendars is read by the verifier's own
bounded reader: what it refuses no auditor could use either.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from verifier.opentimestamps.proof import (
    APPEND,
    ATTESTATION,
    BITCOIN_TAG,
    FORK,
    MAGIC,
    MAX_DEPTH,
    MAX_PAYLOAD_BYTES,
    PENDING_TAG,
    SHA256,
    TAG_BYTES,
    VERSION,
    Attestation,
    Reader,
    UnusableProofError,
    apply_operation,
    bitcoin_height,
    calendar_address,
)

MAX_ANSWER_LEAVES = 64  # real answers have one or two
MAX_PROOF_LEAVES = 256  # of eight calendars that give as much as is taken of each
MAX_PROMISED_BYTES = 256  # of the message that a promise is about; real ones have 44
DIGEST_BYTES = 32
_SHA256_STEP = bytes([SHA256])


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """An attestation, the serialised operations that lead to it, and the message they make.

    `message` is None below an operation that is not computed; then nothing can be asked or checked about it.
    """

    steps: tuple[bytes, ...]
    tag: bytes
    payload: bytes
    message: bytes | None

    @property
    def is_pending(self) -> bool:
        """Whether it is a promise."""
        return self.tag == PENDING_TAG

    @property
    def calendar(self) -> str | None:
        """The address of the calendar that can be asked about this promise; None for other leaves."""
        if not self.is_pending or self.message is None or len(self.message) > MAX_PROMISED_BYTES:
            return None
        return calendar_address(Attestation(tag=self.tag, payload=self.payload, message=None))

    @property
    def is_bitcoin(self) -> bool:
        """Whether it is about a Bitcoin block."""
        return self.tag == BITCOIN_TAG

    @property
    def height(self) -> int | None:
        """The Bitcoin block whose Merkle root the message is said to be; None when it cannot be one."""
        if not self.is_bitcoin or self.message is None or len(self.message) != DIGEST_BYTES:
            return None
        return bitcoin_height(Attestation(tag=self.tag, payload=self.payload, message=self.message))

    @property
    def size(self) -> int:
        """How many bytes of a proof are needed for this leaf alone."""
        return sum(map(len, self.steps)) + len(self.payload)

    def under(self, steps: tuple[bytes, ...]) -> "Leaf":
        """The same leaf, reached by `steps` first."""
        return Leaf(steps=steps + self.steps, tag=self.tag, payload=self.payload, message=self.message)


def nonce_steps(nonce: bytes) -> tuple[bytes, ...]:
    """The steps from a head to what calendars are given: the nonce behind it, and SHA-256."""
    return (bytes([APPEND, len(nonce)]) + nonce, _SHA256_STEP)


def read_timestamp(data: bytes, message: bytes) -> tuple[Leaf, ...]:
    """The leaves of a calendar's answer, which begins at `message`. Raises UnusableProofError, and nothing else."""
    return _read(data, message, MAX_ANSWER_LEAVES)


def read_proof(data: bytes, digest: bytes) -> tuple[Leaf, ...]:
    """The leaves of a proof file for `digest`. Raises UnusableProofError."""
    start = _start(digest)
    if not data.startswith(start):
        raise UnusableProofError("it is no proof for this digest")
    return _read(data[len(start) :], digest, MAX_PROOF_LEAVES)


def write_proof(digest: bytes, leaves: Collection[Leaf]) -> bytes:
    """The proof file; the same leaves give the same bytes. There must be at least one."""
    return _start(digest) + write_timestamp(leaves)


def write_timestamp(leaves: Collection[Leaf]) -> bytes:
    """What `read_timestamp` reads. There must be at least one leaf."""
    return _write(sorted((leaf.steps, leaf.tag, leaf.payload) for leaf in leaves), 0)


def _start(digest: bytes) -> bytes:
    return MAGIC + bytes([VERSION, SHA256]) + digest


def _read(data: bytes, message: bytes, most_leaves: int) -> tuple[Leaf, ...]:
    reader = Reader(data)
    leaves = _walk(reader, message, most_leaves)
    if not reader.finished:
        raise UnusableProofError("something follows its end")
    return leaves


def _walk(reader: Reader, message: bytes, most_leaves: int) -> tuple[Leaf, ...]:
    leaves: list[Leaf] = []
    # As in the verifier: each entry is a node still to be read, and no recursion on a stranger's word.
    waiting: list[tuple[bytes | None, tuple[bytes, ...]]] = [(message, ())]
    while waiting:
        here, steps = waiting.pop()
        # Open forks cost memory before they have leaves.
        if len(leaves) + len(waiting) >= most_leaves or len(steps) > MAX_DEPTH:
            raise UnusableProofError(f"it has more than {most_leaves} branches, or {MAX_DEPTH} steps in a row")
        tag = reader.byte()
        if tag == FORK:
            waiting.append((here, steps))
            tag = reader.byte()
        begin = reader.place - 1
        if tag == ATTESTATION:
            kind, payload = reader.take(TAG_BYTES), reader.varbytes(MAX_PAYLOAD_BYTES)
            leaves.append(Leaf(steps=steps, tag=kind, payload=payload, message=here))
        else:
            there = apply_operation(tag, here, reader)
            waiting.append((there, (*steps, reader.since(begin))))
    return tuple(leaves)


def _write(leaves: Sequence[tuple[tuple[bytes, ...], bytes, bytes]], depth: int) -> bytes:
    """The node that all `leaves` have in common after `depth` steps; they are sorted."""
    parts: dict[bytes, None] = {}
    branches: dict[bytes, list[tuple[tuple[bytes, ...], bytes, bytes]]] = {}
    for leaf in leaves:
        steps, tag, payload = leaf
        if len(steps) == depth:
            parts[bytes([ATTESTATION]) + tag + _varuint(len(payload)) + payload] = None
        else:
            branches.setdefault(steps[depth], []).append(leaf)
    written = [*parts, *(step + _write(branch, depth + 1) for step, branch in branches.items())]
    return b"".join(bytes([FORK]) + part for part in written[:-1]) + written[-1]


def _varuint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
