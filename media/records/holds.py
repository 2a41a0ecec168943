"""Legal holds: placed and lifted by callers, each once and for ever on record."""

from collections.abc import Sequence
from uuid import UUID

from psycopg.rows import class_row

from ledger.database.connections import Connection, Pool
from media.errors import MediaError, Reason
from media.records.kept import CLIP, RECORDING, Kept, lock
from media.records.outbox import keep_notes
from media.records.transactions import organisation_transaction
from media.records.values import Hold, Note

MAX_REASON_CHARACTERS = 1_000

_SELECT = """
SELECT hold.hold_id, hold.clip_id, hold.recording_id, hold.reason, hold.placed_by, hold.placed_at,
       lift.reason AS lift_reason, lift.lifted_by, lift.lifted_at
  FROM evidence.holds AS hold
  LEFT JOIN evidence.hold_lifts AS lift USING (hold_id)
 WHERE hold.organisation_id = %(organisation_id)s
"""
_BY_ID = _SELECT + " AND hold.hold_id = %(hold_id)s"
_BY_KEY = _SELECT + " AND hold.idempotency_key = %(idempotency_key)s"
_PLACE = """
INSERT INTO evidence.holds (hold_id, clip_id, recording_id, organisation_id, idempotency_key, reason, placed_by,
                            placed_at)
VALUES (%(hold_id)s, %(clip_id)s, %(recording_id)s, %(organisation_id)s, %(idempotency_key)s, %(reason)s,
        %(placed_by)s, %(placed_at)s)
ON CONFLICT (organisation_id, idempotency_key) DO NOTHING
"""
_LIFT = """
INSERT INTO evidence.hold_lifts (hold_id, clip_id, recording_id, organisation_id, reason, lifted_by, lifted_at)
VALUES (%(hold_id)s, %(clip_id)s, %(recording_id)s, %(organisation_id)s, %(reason)s, %(lifted_by)s, %(lifted_at)s)
"""


async def place_hold(
    pool: Pool, organisation_id: str, hold: Hold, *, idempotency_key: str, notes: Sequence[Note]
) -> tuple[Hold, bool]:
    """Place a hold; the same key for the same clip or recording, and reason, gives the first one again, and False.

    Raises `MediaError` INVALID_ARGUMENT, IDEMPOTENCY_CONFLICT; CLIP_NOT_FOUND, CLIP_DISPOSED (also while it is being
    disposed of), or the same of a recording.
    """
    _check_words(hold.reason, hold.placed_by)
    parameters = {name: getattr(hold, name) for name in Hold.__dataclass_fields__} | {
        "organisation_id": organisation_id,
        "idempotency_key": idempotency_key,
    }
    kept, subject_id = _subject(hold)
    async with organisation_transaction(pool, organisation_id) as connection:
        # A repetition of this request that runs at the same time waits until this one is decided.
        state = await lock(connection, kept, organisation_id, subject_id)
        # Asked again after a disposal, the answer is still the hold that was placed before it.
        first = await _hold(connection, _BY_KEY, parameters)
        if first is not None:
            return _same(first, hold), False
        if state is None:
            raise kept.refusal(kept.not_found, f"there is no {kept.name} {subject_id} here", subject_id)
        if state in {"DISPOSING", "DISPOSED"}:
            raise kept.refusal(kept.disposed, f"the {kept.name} is disposed of; nothing can hold it", subject_id)
        placed = await connection.execute(_PLACE, parameters)
        if placed.rowcount == 0:  # the key was used for something else at this moment
            raise _conflict()
        await keep_notes(connection, organisation_id, hold.clip_id, notes, recording_id=hold.recording_id)
    return hold, True


async def lift_hold(  # noqa: PLR0913 - what the record of a lift consists of
    pool: Pool, organisation_id: str, hold_id: UUID, *, by: str, reason: str, at: int, notes: Sequence[Note]
) -> tuple[Hold, bool]:
    """Lift a hold; lifting it again gives the first answer, and False. Raises `MediaError` HOLD_NOT_FOUND."""
    _check_words(reason, by)
    async with organisation_transaction(pool, organisation_id) as connection:
        hold = await _find(connection, organisation_id, hold_id)
        parameters = {
            "organisation_id": organisation_id,
            "hold_id": hold_id,
            "clip_id": hold.clip_id,
            "recording_id": hold.recording_id,
            "reason": reason,
            "lifted_by": by,
            "lifted_at": at,
        }
        kept, subject_id = _subject(hold)
        await lock(connection, kept, organisation_id, subject_id)
        hold = await _find(connection, organisation_id, hold_id)  # somebody may have lifted it while this waited
        if hold.lifted_at is not None:
            return hold, False
        await connection.execute(_LIFT, parameters)
        await keep_notes(connection, organisation_id, hold.clip_id, notes, recording_id=hold.recording_id)
        return await _find(connection, organisation_id, hold_id), True


async def get_hold(pool: Pool, organisation_id: str, hold_id: UUID) -> Hold:
    """One hold, standing or lifted. Raises `MediaError` HOLD_NOT_FOUND."""
    async with organisation_transaction(pool, organisation_id) as connection:
        return await _find(connection, organisation_id, hold_id)


async def holds_of(pool: Pool, kept: Kept, organisation_id: str, subject_id: UUID) -> list[Hold]:
    """Every hold there ever was on a clip or a recording, oldest first; none where there is no such thing."""
    query = f"{_SELECT} AND hold.{kept.column} = %(subject_id)s ORDER BY hold.placed_at, hold.hold_id"
    async with organisation_transaction(pool, organisation_id) as connection:
        cursor = connection.cursor(row_factory=class_row(Hold))
        await cursor.execute(query.encode(), {"organisation_id": organisation_id, "subject_id": subject_id})
        return await cursor.fetchall()


def _subject(hold: Hold) -> tuple[Kept, UUID]:
    """What a hold stands on. Raises ValueError for one on nothing, or on two things."""
    subjects = [(kept, one) for kept, one in ((CLIP, hold.clip_id), (RECORDING, hold.recording_id)) if one is not None]
    if len(subjects) != 1:
        raise ValueError("a hold stands on a clip or on a recording")
    return subjects[0]


async def _find(connection: Connection, organisation_id: str, hold_id: UUID) -> Hold:
    hold = await _hold(connection, _BY_ID, {"organisation_id": organisation_id, "hold_id": hold_id})
    if hold is None:
        raise MediaError(Reason.HOLD_NOT_FOUND, f"there is no hold {hold_id} here", {"hold_id": str(hold_id)})
    return hold


async def _hold(connection: Connection, query: str, parameters: dict[str, object]) -> Hold | None:
    cursor = connection.cursor(row_factory=class_row(Hold))
    await cursor.execute(query.encode(), parameters)
    return await cursor.fetchone()


def _same(first: Hold, asked: Hold) -> Hold:
    if (first.clip_id, first.recording_id, first.reason) != (asked.clip_id, asked.recording_id, asked.reason):
        raise _conflict()
    return first


def _conflict() -> MediaError:
    return MediaError(
        Reason.IDEMPOTENCY_CONFLICT,
        "this idempotency key was used for another hold",
        {"field": "idempotency_key"},
    )


def _check_words(reason: str, by: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON_CHARACTERS or "\x00" in reason:
        raise MediaError(
            Reason.INVALID_ARGUMENT, f"reason must be 1 to {MAX_REASON_CHARACTERS} characters", {"field": "reason"}
        )
    if not by.strip():
        raise MediaError(Reason.INVALID_ARGUMENT, "it must be known who asks", {"field": "user"})
