"""Calendars, blocks and explorers as one world: what is handed in is promised, and kept when a block is mined.

A calendar works as the real ones do: it adds a nonce of its own to what it is given, promises about a message made of
the time, that hash and a check value, puts everything that waits under one Merkle root, writes this root into a
transaction, and then shows the path from each promise up to the block that has the transaction.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Sequence

from ledger.anchoring.opentimestamps.timestamp import Leaf, write_timestamp
from sandbox.calendar.chain import Block, BlockChain, double_sha256, merkle_path
from sandbox.calendar.faults import CalendarFaults
from verifier.opentimestamps.proof import APPEND, BITCOIN_TAG, PENDING_TAG, PREPEND, SHA256

_TRANSACTION_START = bytes.fromhex("01000000") + b"one input, and an output that is nothing but data: "
_TRANSACTION_END = bytes.fromhex("00000000")
_ELSEWHERE = "https://elsewhere.example"
_SHA256 = bytes([SHA256])
_REVERSE = b"\xf2"

Steps = tuple[bytes, ...]


class Calendar:
    """One calendar: what waits, and the path of what is in a block."""

    def __init__(self) -> None:
        self.faults = CalendarFaults()
        self.submitted: list[bytes] = []
        self._key = secrets.token_bytes(16)
        self._waiting: list[bytes] = []
        self._paths: dict[bytes, tuple[Steps, int]] = {}

    def submit(self, digest: bytes, url: str) -> bytes:
        """Take a digest; the answer promises, in the name of `url`, a path from it."""
        self.submitted.append(digest)
        steps: Steps = (_append(secrets.token_bytes(16)), _SHA256)
        if self.faults.long_path:
            steps += (_SHA256,) * 240
        start = bytes(32) if self.faults.wrong_digest else digest
        inner = _apply(steps, start)
        when = int(time.time()).to_bytes(4, "big")
        check = hmac.digest(self._key, when + inner, "sha256")[:8]
        steps += (_prepend(when), _append(check))
        promised = when + inner + check
        if not self.faults.forgets:
            self._waiting.append(promised)
        address = (_ELSEWHERE if self.faults.other_address else url).encode()
        return write_timestamp(
            [Leaf(steps=steps, tag=PENDING_TAG, payload=bytes([len(address)]) + address, message=None)]
        )

    def timestamp(self, promised: bytes) -> bytes | None:
        """The path from what was promised to its block; None as long as it is in none."""
        if self.faults.never_upgrades or self.faults.forgets or promised not in self._paths:
            return None
        steps, height = self._paths[promised]
        if self.faults.wrong_block:
            height -= 1
        if self.faults.wrong_digest:
            steps = (_append(b"other"), *steps)
        if self.faults.greedy:
            detours = [(_REVERSE,) * (2 * number) + steps for number in range(25)]
            right = [Leaf(steps=steps, tag=BITCOIN_TAG, payload=_height(height), message=None) for steps in detours]
            unknown = [Leaf(steps=steps[:1], tag=b"unknown%d" % n, payload=bytes(80), message=None) for n in range(10)]
            return write_timestamp([*right, *unknown])
        heights = range(height, height + 50) if self.faults.many_blocks else [height]
        return write_timestamp(
            [Leaf(steps=steps, tag=BITCOIN_TAG, payload=_height(claimed), message=None) for claimed in heights]
        )

    def forget(self) -> None:
        """Lose everything that was handed in."""
        self._waiting.clear()
        self._paths.clear()

    def transaction(self) -> bytes | None:
        """The id of a transaction that commits to all that waits; None when nothing does."""
        if not self._waiting:
            return None
        root, _ = _tree([hashlib.sha256(promised).digest() for promised in self._waiting])
        return double_sha256(_TRANSACTION_START + root + _TRANSACTION_END)

    def keep_promises(self, block: Block, index: int) -> None:
        """The transaction of what waits is the one at `index` of `block`."""
        _, paths = _tree([hashlib.sha256(promised).digest() for promised in self._waiting])
        upwards: Steps = (_prepend(_TRANSACTION_START), _append(_TRANSACTION_END), _SHA256, _SHA256)
        for on_the_left, sibling in merkle_path(block.transactions, index):
            upwards += (_prepend(sibling) if on_the_left else _append(sibling), _SHA256, _SHA256)
        for promised, path in zip(self._waiting, paths, strict=True):
            self._paths[promised] = ((_SHA256, *path, *upwards), block.height)
        self._waiting = []


class World:
    """All of it, under one lock."""

    def __init__(self, *, calendars: int, explorers: int) -> None:
        self.lock = threading.Lock()
        self.chain = BlockChain()
        self.calendars = [Calendar() for _ in range(calendars)]
        self.explorers = [CalendarFaults() for _ in range(explorers)]

    def mine(self) -> None:
        """One block, with a transaction of every calendar where something waits."""
        with self.lock:
            sending = [(calendar, calendar.transaction()) for calendar in self.calendars]
            sent = [(calendar, name) for calendar, name in sending if name is not None]
            block = self.chain.mine([name for _, name in sent])
            for index, (calendar, _) in enumerate(sent, start=1):
                calendar.keep_promises(block, index)


def _tree(leaves: Sequence[bytes]) -> tuple[bytes, list[Steps]]:
    """The root over `leaves`, and the steps from each leaf to it. A last one without a partner moves up as it is."""
    paths: list[Steps] = [() for _ in leaves]
    level = [(leaf, [number]) for number, leaf in enumerate(leaves)]
    while len(level) > 1:
        above: list[tuple[bytes, list[int]]] = []
        for (left, below_left), (right, below_right) in zip(level[::2], level[1::2], strict=False):
            for number in below_left:
                paths[number] += (_append(right), _SHA256)
            for number in below_right:
                paths[number] += (_prepend(left), _SHA256)
            above.append((hashlib.sha256(left + right).digest(), below_left + below_right))
        level = above + level[len(above) * 2 :]
    return level[0][0], paths


def _append(data: bytes) -> bytes:
    return bytes([APPEND, len(data)]) + data


def _prepend(data: bytes) -> bytes:
    return bytes([PREPEND, len(data)]) + data


def _height(height: int) -> bytes:
    encoded = bytearray()
    while height > 0x7F:  # noqa: PLR2004  # seven bits a byte
        encoded.append(height & 0x7F | 0x80)
        height >>= 7
    return bytes([*encoded, height])


def _apply(steps: Steps, message: bytes) -> bytes:
    for step in steps:
        if step[0] == APPEND:
            message += step[2:]
        elif step[0] == PREPEND:
            message = step[2:] + message
        else:
            message = hashlib.sha256(message).digest()
    return message
