"""What the operator configures for OpenTimestamps, as values that were already checked."""

from dataclasses import dataclass
from pathlib import Path

from ledger.store.values import AnchorTarget
from verifier.opentimestamps import Network

BACKEND = "opentimestamps"

# The calendars that anybody may use without asking, by the addresses under which they sign their promises. Each
# has another operator than the others, but for the first two.
PUBLIC_CALENDARS = (
    "https://alice.btc.calendar.opentimestamps.org",
    "https://bob.btc.calendar.opentimestamps.org",
    "https://finney.calendar.eternitywall.com",
    "https://btc.calendar.catallaxy.com",
)

DEFAULT_ATTESTATIONS = 1
DEFAULT_CONFIRMATIONS = 6  # what calendars themselves wait for before they hand out a path to a block
DEFAULT_FIRST_LOOK_SECONDS = 600.0
DEFAULT_LOOK_SECONDS = 3600.0
DEFAULT_RESUBMIT_AFTER_SECONDS = 3 * 86_400.0  # public calendars take hours, after trouble a day
DEFAULT_TIMEOUT_SECONDS = 15.0


def default_minimum(calendars: int) -> int:
    """How many calendars must promise before a head counts as handed in, if the operator does not say."""
    return min(2, calendars)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTimestampsConfiguration:
    """One authority: several calendars that are asked together, and what is believed about Bitcoin.

    `calendars` are addresses without a slash at the end. `attestations` is how many of them must have shown a path to a
    Bitcoin block before a proof is complete. A block's header is taken from the file `headers`, or from `header_urls`
    (interfaces like that of esplora) when two of them show the same with `confirmations` blocks on top, itself
    included. `network` "regtest" is for tests only. A calendar that has not kept its promise after
    `resubmit_after_seconds` is given the head again.
    """

    name: str
    calendars: tuple[str, ...]
    minimum_calendars: int
    attestations: int = DEFAULT_ATTESTATIONS
    headers: Path | None = None
    header_urls: tuple[str, ...] = ()
    confirmations: int = DEFAULT_CONFIRMATIONS
    network: Network = "bitcoin"
    first_look_seconds: float = DEFAULT_FIRST_LOOK_SECONDS
    look_seconds: float = DEFAULT_LOOK_SECONDS
    resubmit_after_seconds: float = DEFAULT_RESUBMIT_AFTER_SECONDS
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS

    @property
    def target(self) -> AnchorTarget:
        """How anchor jobs name this authority."""
        return AnchorTarget(backend=BACKEND, authority=self.name)
