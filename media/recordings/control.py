"""What controlling recordings takes, and the limits in time that it keeps."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from media.ledgers import Ledgers
from media.recordings.livekit import LiveKit
from media.records.records import Records

# A room belongs to the organisation that its name begins with: the colon cannot stand in an organisation's id.
ROOM_SEPARATOR = ":"


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlLimits:
    """Bounds in seconds. A recording never waits for anything outside without one of them."""

    # A start that took longer was interrupted: it is given up rather than resumed unexpectedly.
    start: float = 60.0
    # After so long LiveKit's list shows what it was asked to start, answered or not.
    unsure: float = 20.0
    # For LiveKit to finish writing a file after it was told to stop.
    finish: float = 900.0
    # Without anybody in the room.
    empty: float = 60.0
    longest: float = 12 * 3600.0
    # Between two looks at a recording that nothing is reported about.
    between_looks: float = 10.0
    # A dead process keeps others from a recording for so long.
    turn: float = 15.0
    # For what is asked of the ledger, or told to it, on the way.
    ledger: float = 5.0
    # How long a caller waits for another process's turn, and its own LiveKit calls, before it is told to try again.
    patience: float = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """The services around, the same for every call of a process. `layout_url` is where LiveKit finds our page."""

    records: Records
    ledgers: Ledgers
    livekit: LiveKit
    layout_url: str | None = None
    limits: ControlLimits = field(default_factory=ControlLimits)
    owner: str = field(default_factory=lambda: secrets.token_hex(8))
    clock: Callable[[], int] = lambda: time.time_ns() // 1000

    def is_past(self, at: int, seconds: float) -> bool:
        """Whether `seconds` have gone by since `at`, in microseconds since 1970."""
        return self.clock() - at > seconds * 1_000_000
