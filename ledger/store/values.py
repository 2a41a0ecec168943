"""What goes into the store and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ledger.chain.processing import PendingItem

ChainType = Literal["session", "operations"]
ChainState = Literal["open", "ended", "closed"]
EvidenceKind = Literal["certificate", "crl", "ocsp", "header"]

# The chain_id of the one operations chain every organisation has.
OPERATIONS_CHAIN_ID = "operations"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """A chain and its newest event. `subject` is canonical JSON; `closed_at` is the time of `chain.closed`.

    `ended_at` is the time of `session.ended` and `closes_by` its deadline, None while the session goes on. `pending` is
    what is in the making, where it was asked for.
    """

    chain_key: int
    chain_id: str
    organisation_id: str
    organisation_name: str
    type: ChainType
    state: ChainState
    subject: str
    event_count: int
    head: bytes
    opened_at: datetime
    closed_at: datetime | None
    ended_at: datetime | None = None
    closes_by: datetime | None = None
    pending: tuple[PendingItem, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionEnd:
    """A session that was ended: the sequence of `session.ended`, and when its chain closes at the latest."""

    sequence: int
    closes_by_us: int


@dataclass(kw_only=True, slots=True)  # not frozen: that would double the time to make the thousand of an append
class NewEvent:
    """An event as a caller sent it, unchecked. `sealed_members` names top-level members of the payload to seal."""

    kind: str
    payload: bytes
    sealed_members: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """Proof for the appender. `replayed`: this idempotency key had been answered before, and this is that answer."""

    chain_id: str
    first_sequence: int
    last_sequence: int
    event_hashes: tuple[bytes, ...]
    signed_note: str
    replayed: bool
    occurred_at_us: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorTarget:
    """An authority: what kind it is, and its name in the settings."""

    backend: str
    authority: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorSets:
    """At which authorities whose checkpoints are anchored: at `default`, unless the organisation has its own set."""

    default: tuple[AnchorTarget, ...]
    organisations: Mapping[str, tuple[AnchorTarget, ...]] = field(default_factory=dict)

    def of(self, organisation_id: str) -> tuple[AnchorTarget, ...]:
        """The authorities of an organisation."""
        return self.organisations.get(organisation_id, self.default)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorStatus:
    """How far the anchoring of one checkpoint at one authority has come. `anchored_at` is the authority's time."""

    sequence: int
    digest: bytes
    backend: str
    authority: str
    state: Literal["pending", "obtained"]
    attempts: int
    last_error: str
    requested_at: datetime
    next_attempt_at: datetime | None
    obtained_at: datetime | None
    anchored_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorJob:
    """A leased job: get `digest` anchored at `authority`. `state` is the backend's own progress, if it keeps any."""

    organisation_id: str
    chain_key: int
    chain_id: str
    sequence: int
    digest: bytes
    backend: str
    authority: str
    attempts: int
    requested_at: datetime
    lease_owner: str
    state: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Bytes that help to judge an anchor years later: a certificate, a CRL or an OCSP response, in DER.

    Or the header of a Bitcoin block, as a line of a header file (docs/spec/opentimestamps.md, section 3).
    """

    kind: EvidenceKind
    der: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAnchor:
    """An anchor as obtained: the raw bytes of question and answer, and the evidence collected with them."""

    sequence: int
    digest: bytes
    backend: str
    authority: str
    request: bytes
    response: bytes
    obtained_at: datetime
    anchored_at: datetime
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxEntry:
    """Committed events of one chain that the relay has still to publish, `first_sequence` to `last_sequence`."""

    outbox_id: int
    organisation_id: str
    chain_key: int
    chain_id: str
    first_sequence: int
    last_sequence: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyLink:
    """A public link to a chain, pinned to the head it had when the link was made."""

    link_id: str
    organisation_id: str
    chain_id: str
    head: bytes
    head_sequence: int
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """A full re-check. `divergence` says what differs at `first_divergent_sequence`; empty when the chain is whole."""

    ok: bool
    event_count: int
    head: bytes
    first_divergent_sequence: int | None
    divergence: str
