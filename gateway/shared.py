"""What the processes of one gateway share: memory that is made before they are, and that each of them inherits.

So a limit is one limit, and what one process changed is looked up anew by all, however many processes serve.

Locks are semaphores and not locks of files: taking one that is free does not let go of the interpreter. Who waited for
the interpreter with a lock in hand would keep all threads of all processes waiting.
"""

import hashlib
import mmap
import multiprocessing
import secrets
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

# Of one table: what the busiest gateway remembers of its callers.
MAX_KEYS = 10_000
PATIENCE_SECONDS = 1.0
# A key has one of so many places, and the one that was used longest ago gives way.
_PLACES = 8
_DIGEST_BYTES = 16
_ENTRY = struct.Struct(f"={_DIGEST_BYTES}sdd")
_NOBODY = bytes(_DIGEST_BYTES)
# Two numbers of one key, the second of which grows with time.
Numbers = tuple[float, float]
# In one go: whoever reads it finds the old number or the new one.
_COUNT = struct.Struct("@Q")


class _Block:
    """Memory of all processes that descend from the one that made it, and a lock for whoever changes it."""

    def __init__(self, size: int) -> None:
        self.memory = mmap.mmap(-1, size)
        self._lock = multiprocessing.get_context("fork").Lock()

    def __enter__(self) -> None:
        """Nobody else is in here, in this process or another."""
        # Whoever is in here stays for microseconds. After so long it must have died; by leaving, we mend its lock.
        self._lock.acquire(timeout=PATIENCE_SECONDS)

    def __exit__(self, *_: object) -> None:
        # Free already: who was thought dead was only very slow. At worst a count is lost.
        with suppress(ValueError):
            self._lock.release()


class Table:
    """Two numbers for each of many keys, in bounded memory: at least `max_keys` places, never more than 7 beyond.

    Where a key has its places nobody outside can foretell, so nobody can choose names that displace somebody else's.
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._places = min(max_keys, _PLACES)
        self._groups = -(-max_keys // self._places)
        self._secret = secrets.token_bytes(16)
        self._block = _Block(self._groups * self._places * _ENTRY.size)

    def update(self, key: str, change: Callable[[Numbers | None], Numbers]) -> None:
        """Keep what `change` makes of what is known of a key; nobody else changes it meanwhile."""
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES, key=self._secret).digest()
        width = self._places * _ENTRY.size
        start = int.from_bytes(digest[:8], "big") % self._groups * width
        memory = self._block.memory
        with self._block:
            group = memory[start : start + width]
            found = group.find(digest)
            # Never in the middle of an entry: numbers there may look like anything.
            if found >= 0 and found % _ENTRY.size == 0:
                _, *known = _ENTRY.unpack_from(group, found)
                numbers = change((known[0], known[1]))
            else:
                found = _oldest(group)
                numbers = change(None)
            _ENTRY.pack_into(memory, start + found, digest, *numbers)


def _oldest(group: bytes) -> int:
    """Where the entry that gives way begins: a free one, or the one that was used longest ago."""
    entries = enumerate(_ENTRY.iter_unpack(group))
    number, _ = min(entries, key=lambda one: (one[1][0] != _NOBODY, one[1][2]))
    return number * _ENTRY.size


class Counter:
    """A number that only grows."""

    def __init__(self) -> None:
        self._block = _Block(_COUNT.size)

    def read(self) -> int:
        """How far it is."""
        number: int = _COUNT.unpack_from(self._block.memory)[0]
        return number

    def add(self) -> None:
        """One more."""
        with self._block:
            _COUNT.pack_into(self._block.memory, 0, self.read() + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """All of it. `changes` counts what was changed about who may do what."""

    callers: Table = field(default_factory=Table)
    refused_tokens: Table = field(default_factory=Table)
    token_requests: Table = field(default_factory=Table)
    token_attempts: Table = field(default_factory=Table)
    alert_requests: Table = field(default_factory=Table)
    alerts: Table = field(default_factory=Table)
    link_requests: Table = field(default_factory=Table)
    changes: Counter = field(default_factory=Counter)
