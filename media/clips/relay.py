"""Telling the chains: notes of committed changes become events, in order, at least once and with effect once.

A note is a row of the transaction it tells about, so nothing that happened is forgotten and nothing is told that did
not happen. Its idempotency key makes a repetition give the first event again: a relay that dies between the ledger's
answer and its own record of it is repeated by the next one without a second event.
"""

from datetime import UTC, datetime, timedelta

import structlog

from ledger.client import ClientError, NewEvent
from media.errors import MediaError
from media.ledgers import Ledgers
from media.records.records import Records
from media.records.values import OPERATIONS_CHAIN_ID, OutboxNote

BATCH = 200
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0

# What a session's chain answers for ever; the operations chain, which never closes, is then told instead.
_FINAL = frozenset({"CHAIN_CLOSED", "SESSION_ENDED", "CHAIN_NOT_FOUND", "INVALID_ARGUMENT"})
_CONFLICT = "IDEMPOTENCY_CONFLICT"

_log = structlog.stdlib.get_logger("evidence.relay")


async def relay_once(records: Records, ledgers: Ledgers) -> int:
    """Relay what is due, at most BATCH notes; how many got through, or never will."""
    notes = await records.due_notes(BATCH)
    # An organisation's chain whose oldest note does not get through must not see a younger one first.
    stuck: set[tuple[str, str]] = set()
    done = 0
    for note in notes:
        chain = (note.organisation_id, note.chain_id)
        if chain in stuck:
            continue
        if await _relay(records, ledgers, note):
            done += 1
        else:
            stuck.add(chain)
    return done


async def relay_chain(records: Records, ledgers: Ledgers, organisation_id: str, chain_id: str) -> bool:
    """Relay at once whatever one chain is still to be told; whether it now knows everything, or never will.

    For what must be on a chain before something else may happen. The relay of a worker may be at the same notes: each
    sends them in order under the same keys, so the chain gets each once and in order.
    """
    while notes := await records.chain_notes(organisation_id, chain_id, BATCH):
        for note in notes:
            if not await _relay(records, ledgers, note):
                return False
    return True


async def _relay(records: Records, ledgers: Ledgers, note: OutboxNote) -> bool:
    try:
        sequence, event_hash = await _append(ledgers, note, note.idempotency_key)
    except (ClientError, MediaError) as error:
        if note.chain_id != OPERATIONS_CHAIN_ID and error.reason in _FINAL:
            await records.note_refused(note.note_id, str(error.reason))
            _log.warning("note_refused", organisation_id=note.organisation_id, chain_id=note.chain_id, kind=note.kind)
            return True
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(note.attempts, 16), LONGEST_PAUSE_SECONDS)
        again_at = datetime.now(UTC) + timedelta(seconds=pause)
        await records.note_failed(note.note_id, error=f"{error.reason}: {error.message}", again_at=again_at)
        _log.warning(
            "note_not_relayed",
            organisation_id=note.organisation_id,
            kind=note.kind,
            reason=str(error.reason),
            again_in_seconds=pause,
        )
        return False
    # Dying here: the next relay appends it again under the same key, and gets the same event.
    await records.note_sent(note.note_id, sequence=sequence, event_hash=event_hash)
    return True


async def _append(ledgers: Ledgers, note: OutboxNote, key: str) -> tuple[int, str]:
    client = ledgers.of(note.organisation_id)
    event = NewEvent(kind=note.kind, payload=note.payload.encode())
    try:
        receipt = await client.append_events(note.chain_id, [event], idempotency_key=key)
    except ClientError as error:
        if error.reason != _CONFLICT or key != note.idempotency_key:
            raise
        # Somebody else used this very key for something else. Evidence must not stop at that.
        return await _append(ledgers, note, f"{key}:{note.note_id}")
    return receipt.first_sequence, receipt.event_hashes[0].hex()
