"""Clips and recordings alike: what is kept until its retention ends, held as long as somebody needs it, disposed of.

A row is locked before anything is asked about it, and the lock kept: so the order of locks is the same for a hold and
for a disposal, and what is seen then is of the moment of the change. The database's own guards stand behind all of it.
"""

from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import DictRow

from ledger.database.connections import Connection
from media.errors import MediaError, Reason
from media.records.values import Disposal

_STANDS = "NOT EXISTS (SELECT FROM evidence.hold_lifts AS l WHERE l.hold_id = h.hold_id)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """One kind of what is kept. Its table is evidence.NAMEs, and NAME_id names one in every table.

    `ended` are the states in which nothing is made of it any more, `still` is what it is called before; then the
    refusals that are its own.
    """

    name: str
    ended: tuple[str, ...]
    still: str
    not_found: Reason
    not_ended: Reason
    held: Reason
    disposed: Reason

    @property
    def column(self) -> str:
        """The column that names it."""
        return f"{self.name}_id"

    def refusal(self, reason: Reason, message: str, subject_id: UUID) -> MediaError:
        """A refusal that says what it is about."""
        return MediaError(reason, message, {self.column: str(subject_id)})

    @property
    def has_hold(self) -> str:
        """The condition that a hold stands on a row of the table, where that is called by its name."""
        return f"EXISTS (SELECT {self._standing})"

    @property
    def holds(self) -> str:
        """The holds that stand on such a row, oldest first, as one JSON array."""
        return f"""
       (SELECT coalesce(json_agg(json_build_object(
                   'hold_id', h.hold_id, 'reason', h.reason, 'placed_by', h.placed_by, 'placed_at', h.placed_at)
                   ORDER BY h.placed_at, h.hold_id), '[]') {self._standing}) AS holds"""

    @property
    def _standing(self) -> str:
        return f"FROM evidence.holds AS h WHERE h.{self.column} = {self.name}.{self.column} AND {_STANDS}"


CLIP = Kept(
    name="clip",
    ended=("PRESERVED", "FAILED"),
    still="being made",
    not_found=Reason.CLIP_NOT_FOUND,
    not_ended=Reason.CLIP_NOT_PRESERVED,
    held=Reason.CLIP_HELD,
    disposed=Reason.CLIP_DISPOSED,
)
RECORDING = Kept(
    name="recording",
    ended=("COMPLETED", "FAILED"),
    still="being recorded or processed",
    not_found=Reason.RECORDING_NOT_FOUND,
    not_ended=Reason.RECORDING_NOT_COMPLETED,
    held=Reason.RECORDING_HELD,
    disposed=Reason.RECORDING_DISPOSED,
)


async def lock(connection: Connection, kept: Kept, organisation_id: str, subject_id: UUID) -> str | None:
    """Lock one row until the commit; the state it is in, None where there is no such row."""
    query = f"""
SELECT state FROM evidence.{kept.name}s WHERE organisation_id = %s AND {kept.column} = %s FOR NO KEY UPDATE
"""  # noqa: S608 - names of our own
    row = await (await connection.execute(query.encode(), (organisation_id, subject_id))).fetchone()
    return None if row is None else str(row[0])


async def standing_holds(connection: Connection, kept: Kept, subject_id: UUID) -> int:
    """How many holds stand on a row; ask under its lock."""
    query = f"SELECT count(*) FROM evidence.holds AS h WHERE h.{kept.column} = %s AND {_STANDS}"  # noqa: S608 - as above
    ((count,),) = await (await connection.execute(query.encode(), (subject_id,))).fetchall()
    return int(count)


def disposal_of(row: DictRow) -> Disposal | None:
    """Who decided to dispose of a row, None for one that nobody has."""
    if row["disposal_by"] is None:
        return None
    return Disposal(by=row["disposal_by"], reason=row["disposal_reason"], decided_at=row["disposal_decided_at"])
