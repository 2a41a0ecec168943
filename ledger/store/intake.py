"""Checks an append as a caller sent it, and prepares all that does not depend on the chain's head.

This runs before the chain is locked, so that a bad append costs nobody else anything.
"""

import asyncio
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger.chain import sealed
from ledger.chain.canonical import CanonicalError, canonicalise, parse, serialise
from ledger.chain.event import SESSION_ENDED, is_kind
from ledger.chain.processing import PROCESSING_PREFIXES, ItemKey, item_of
from ledger.chain.rules import Draft, body_of, draft
from ledger.errors import LedgerError, Reason
from ledger.store.rows import MiddleFields, middle_fields
from ledger.store.values import ChainType, NewEvent

# One append is one transaction and one message: a thousand events of 200 bytes, or sixteen of 256 KiB.
MAX_EVENTS = 1_000
MAX_APPEND_BYTES = 4 * 1024 * 1024
MAX_SEALED_MEMBERS = 32
MAX_IDEMPOTENCY_KEY_CHARACTERS = 128
# Of the path of a member at fault: refusals travel in headers, where it stands several times and has little room.
MAX_PATH_CHARACTERS = 200
# The ledger writes kinds under these itself, and one kind more.
RESERVED_PREFIXES = ("chain.", "ledger.")

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
_IDEMPOTENCY_KEY = re.compile(rf"[ -~]{{1,{MAX_IDEMPOTENCY_KEY_CHARACTERS}}}", re.ASCII)
# Payloads that are not canonical take longer: other callers get a turn after this many bytes.
_BYTES_WITHOUT_A_PAUSE = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainPlace:
    """Where a chain is kept. Nothing of it ever changes."""

    chain_key: int
    organisation_id: str
    chain_id: str
    type: ChainType


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedEvent:
    """An event of an append with sealed members: what was asked, and the disclosures made for it."""

    offset: int
    payload: dict[str, Any]
    names: tuple[str, ...]
    disclosures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedAppend:
    """A checked append that lacks only its place in the chain. `bodies` are kinds and payloads as in the preimage."""

    place: ChainPlace
    bodies: list[bytes]
    middle: MiddleFields
    idempotency_key: str
    expected_sequence: int | None
    sealed: tuple[SealedEvent, ...]
    size: int
    # Kind and item of each event, if all are about the processing of recordings and clips.
    steps: tuple[tuple[str, ItemKey | None], ...] | None = None


def check_chain_id(chain_id: str) -> None:
    """Raises `LedgerError` INVALID_ARGUMENT unless `chain_id` is one that a chain can have."""
    if _NAME.fullmatch(chain_id) is None:
        raise LedgerError(
            Reason.INVALID_ARGUMENT,
            "chain_id must be 1 to 64 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
            {"field": "chain_id"},
        )


def check_append(events: Sequence[NewEvent], idempotency_key: str, expected_sequence: int | None) -> None:
    """Refuse what can be told without looking into payloads. Raises `LedgerError`."""
    if not 1 <= len(events) <= MAX_EVENTS:
        raise LedgerError(
            Reason.INVALID_ARGUMENT, f"an append has 1 to {MAX_EVENTS} events, not {len(events)}", {"field": "events"}
        )
    if _IDEMPOTENCY_KEY.fullmatch(idempotency_key) is None:
        raise LedgerError(
            Reason.INVALID_ARGUMENT,
            f"idempotency_key must be 1 to {MAX_IDEMPOTENCY_KEY_CHARACTERS} printable ASCII characters",
            {"field": "idempotency_key"},
        )
    if expected_sequence is not None and expected_sequence < 1:
        raise LedgerError(Reason.INVALID_ARGUMENT, "expected_sequence counts from 1", {"field": "expected_sequence"})
    kinds = [event.kind for event in events]
    for kind in dict.fromkeys(kinds):  # the events of an append are mostly of few kinds
        if not is_kind(kind):
            raise LedgerError(
                Reason.INVALID_ARGUMENT,
                "a kind is lower-case words joined by dots, two at least, at most 64 characters",
                {"field": f"events[{kinds.index(kind)}].kind"},
            )
        if kind.startswith(RESERVED_PREFIXES) or kind == SESSION_ENDED:
            raise LedgerError(
                Reason.RESERVED_KIND,
                f"kinds under {' and '.join(RESERVED_PREFIXES)} and {SESSION_ENDED} are written by the ledger only",
                {"field": f"events[{kinds.index(kind)}].kind"},
            )


async def prepare_append(
    place: ChainPlace, events: Sequence[NewEvent], idempotency_key: str, expected_sequence: int | None
) -> PreparedAppend:
    """Prepare an append that passed `check_append`. Raises `LedgerError` INVALID_PAYLOAD, TOO_LARGE."""
    bodies = []
    sealed_events = []
    size = unpaused = 0
    for index, event in enumerate(events):
        if event.sealed_members:
            sealed_event, body = _seal(event, index)
            sealed_events.append(sealed_event)
            size += sum(map(len, sealed_event.disclosures))
            unpaused += len(event.payload)
        else:
            payload = _canonical(event, index)
            body = body_of(event.kind, payload)
            # What was sent canonical is its own canonical form and took no time worth sharing.
            unpaused += 0 if payload is event.payload else len(event.payload)
        bodies.append(body)
        size += len(body)
        if size > MAX_APPEND_BYTES:
            raise LedgerError(
                Reason.TOO_LARGE, f"the events of one append have at most {MAX_APPEND_BYTES} bytes", {"field": "events"}
            )
        if unpaused > _BYTES_WITHOUT_A_PAUSE:
            unpaused = 0
            await asyncio.sleep(0)
    return PreparedAppend(
        place=place,
        bodies=bodies,
        middle=middle_fields(
            place.chain_key, place.organisation_id, event_count=len(bodies), idempotency_key=idempotency_key
        ),
        idempotency_key=idempotency_key,
        expected_sequence=expected_sequence,
        sealed=tuple(sealed_events),
        size=size,
        steps=_steps(events, sealed_events),
    )


def _steps(
    events: Sequence[NewEvent], sealed_events: Sequence[SealedEvent]
) -> tuple[tuple[str, ItemKey | None], ...] | None:
    # Nearly every append begins with an event of another kind.
    if not events[0].kind.startswith(PROCESSING_PREFIXES):
        return None
    if not all(event.kind.startswith(PROCESSING_PREFIXES) for event in events):
        return None
    unreadable = {(event.offset, name) for event in sealed_events for name in event.names}
    steps = []
    for offset, event in enumerate(events):
        item = item_of(event.kind, parse(event.payload))
        is_sealed = item is not None and (offset, f"{item[0]}_id") in unreadable
        steps.append((event.kind, None if is_sealed else item))
    return tuple(steps)


def prepare_event(event: NewEvent) -> Draft:
    """The draft of an event without sealed members. Raises `LedgerError` INVALID_PAYLOAD."""
    return draft(event.kind, _canonical(event, 0))


def _canonical(event: NewEvent, index: int) -> bytes:
    try:
        return canonicalise(event.payload)
    except CanonicalError as error:
        raise invalid_payload(f"events[{index}].payload", error) from error


def invalid_payload(field: str, error: CanonicalError, *, within: str = "") -> LedgerError:
    """What the caller is told: the path of the offending member of `field`, which stands at `within` in the payload."""
    path = field + error.pointer.removeprefix(within)
    if len(path) > MAX_PATH_CHARACTERS:
        path = f"{path[:MAX_PATH_CHARACTERS]}..."
    return LedgerError(Reason.INVALID_PAYLOAD, f"{path}: {error.problem}", {"field": path})


def _seal(event: NewEvent, index: int) -> tuple[SealedEvent, bytes]:
    names = event.sealed_members
    field = f"events[{index}].sealed_members"
    if len(names) > MAX_SEALED_MEMBERS:
        raise LedgerError(
            Reason.INVALID_ARGUMENT, f"at most {MAX_SEALED_MEMBERS} members of an event can be sealed", {"field": field}
        )
    try:
        payload = parse(event.payload)
        salts = [secrets.token_bytes(sealed.SALT_BYTES) for _ in names]
        sealed_payload, disclosures = sealed.seal(payload, names, salts)
        body = body_of(event.kind, serialise(sealed_payload))
    except CanonicalError as error:
        raise invalid_payload(f"events[{index}].payload", error) from error
    return SealedEvent(offset=index, payload=payload, names=names, disclosures=tuple(disclosures)), body
