"""The one door between the ledger and whatever outside vouches for a digest.

A backend is one configured authority of one kind: a time-stamp authority, a public ledger, a calendar. The worker
knows nothing about any of them but this page:

- `anchor` is asked with the 32-byte hash of a checkpoint event and may be asked any number of times for the same one:
  after a crash, a lost answer or a change of heart. Asking twice is never wrong, only wasteful.
- What it returns as `Obtained` has been verified in full against what the operator configured as trusted. Nothing
  else is ever stored, so there is no "unchecked" state behind this door.
- Where the evidence takes hours (a block must be mined and confirmed, a calendar must commit), `anchor` returns
  `InProgress` instead of waiting. The worker stores its `state` and hands it back in the next call, maybe in another
  process on another machine. A backend keeps nothing it cannot lose.
- Many digests under one public transaction are the backend's own affair: calls run concurrently, up to
  `concurrency`, so that it may gather those that wait, submit one Merkle root for all and answer each with its path.
- A failure is one of the two exceptions below; the worker tries again for ever, later and later. Anything else that
  escapes is a defect; the worker treats it like `Refused` and the job survives it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ledger.store.values import AnchorTarget, Evidence


@dataclass(frozen=True, kw_only=True, slots=True)
class Obtained:
    """Evidence for one digest, verified, exactly as sent and received.

    `anchored_at` is the time the evidence states (aware, UTC). `evidence` is what a later verifier may need beside
    it: certificates, revocation lists, OCSP responses.
    """

    request: bytes
    response: bytes
    anchored_at: datetime
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class InProgress:
    """The evidence is on its way. `state` (JSON) is handed back in the next call, not before `again_at` (aware).

    A member `progress` of the state, a sentence, is what the API shows of the anchor until then.
    Members `proof` and `proof_at` of an OpenTimestamps authority's state are what a bundle holds of it until then.
    """

    state: Mapping[str, object]
    again_at: datetime


class AnchoringFailedError(Exception):
    """No evidence this time. The text is for the operator; it holds no secret and nothing a stranger wrote raw.

    `retry_after_seconds` is the pause the other side asked for, if it did.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RefusedError(AnchoringFailedError):
    """There was an answer and it is not acceptable: a rejection, or evidence that does not verify."""


class UnavailableError(AnchoringFailedError):
    """There was no usable answer: no connection, a time-out, a server in trouble."""


class AnchorBackend(Protocol):
    """One authority. See the module's text for what it promises and what it may rely on."""

    @property
    def target(self) -> AnchorTarget:
        """Kind and configured name, as in the jobs it serves."""

    @property
    def concurrency(self) -> int:
        """How many calls of `anchor` it takes at once."""

    @property
    def min_interval_seconds(self) -> float:
        """The pause it wants from the start of one call to the start of the next; 0 for none."""

    @property
    def attempt_seconds(self) -> float:
        """How long one call may take at most; the worker cancels it then and counts it as unavailable."""

    async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
        """Get evidence for `digest` (32 bytes), or get further with it.

        `state` is that of the last `InProgress` for this digest, None at first. Raises RefusedError or
        UnavailableError. May be cancelled at any await; nothing is lost by that.
        """


class BackendSource(Protocol):
    """Whatever the backends come from: they live, with their connections, as long as the context does."""

    def open_backends(self) -> AbstractAsyncContextManager[Sequence[AnchorBackend]]:
        """Connect every configured backend."""
