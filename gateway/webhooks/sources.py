"""Systems that send alerts: kept in the gateway's records, and which of their messages came in already."""

import time
from collections.abc import Sequence
from uuid import UUID, uuid4

from psycopg.rows import TupleRow

from gateway.auth.values import GatewayCaller
from gateway.problems import Code, Problem
from gateway.records.records import Records
from gateway.webhooks.mapping import AlertMapping
from gateway.webhooks.sealing import Sealer
from gateway.webhooks.secrets_kept import DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, add_secret, valid_secrets
from gateway.webhooks.values import AlertSource, Scheme, SourceSecret
from ledger.timestamps import moment

MAX_SOURCES = 200
MAX_CAMERAS = 1_000

_COLUMNS = "alert_source_id, name, scheme, cameras, mapping::text, created_by, created_at"
_INSERT = """
INSERT INTO gateway.alert_sources
       (alert_source_id, organisation_id, name, scheme, cameras, mapping, created_by, created_at)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s, %s)
"""
# One after the other, so that no two requests together pass the limit.
_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('alert sources of ' || %s, 0))"
_COUNT = "SELECT count(*) FROM gateway.alert_sources WHERE removed_at IS NULL"
_GET = f"SELECT {_COLUMNS} FROM gateway.alert_sources WHERE alert_source_id = %s AND removed_at IS NULL"  # noqa: S608 - names of ours
_LIST = f"""
SELECT {_COLUMNS} FROM gateway.alert_sources
 WHERE removed_at IS NULL AND (%(after)s::uuid IS NULL OR alert_source_id > %(after)s)
 ORDER BY alert_source_id LIMIT %(limit)s
"""  # noqa: S608 - as above
_CHANGE = f"""
UPDATE gateway.alert_sources
   SET name = coalesce(%(name)s, name), cameras = coalesce(%(cameras)s, cameras),
       mapping = coalesce(%(mapping)s::jsonb, mapping)
 WHERE alert_source_id = %(alert_source_id)s AND removed_at IS NULL
RETURNING {_COLUMNS}
"""  # noqa: S608 - as above
_REMOVE = """
UPDATE gateway.alert_sources SET removed_at = %s, removed_by = %s
 WHERE alert_source_id = %s AND removed_at IS NULL
RETURNING alert_source_id
"""
_WAS_SEEN = "SELECT FROM gateway.alerts_seen WHERE alert_source_id = %s AND message_id = %s"
_SEE = """
INSERT INTO gateway.alerts_seen (alert_source_id, organisation_id, message_id, received_at)
VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


def create_source(  # noqa: PLR0913 - what a source is made of
    records: Records,
    sealer: Sealer,
    caller: GatewayCaller,
    *,
    name: str,
    scheme: Scheme,
    cameras: Sequence[str],
    mapping: AlertMapping,
) -> SourceSecret:
    """A new source with its secret, which is shown this once. Raises Problem (CONFLICT) where there are too many."""
    now_us = time.time_ns() // 1000
    source = AlertSource(
        alert_source_id=uuid4(),
        name=name,
        scheme=scheme,
        cameras=tuple(sorted(set(cameras))),
        mapping=_text(mapping),
        created_by=caller.subject,
        created_at=moment(now_us),
    )
    with records.transaction(caller.organisation_id) as connection:
        connection.execute(_TURN, (caller.organisation_id,))
        count = connection.execute(_COUNT).fetchone()
        if count is not None and count[0] >= MAX_SOURCES:
            raise Problem(Code.CONFLICT, f"There are {MAX_SOURCES} alert sources already. Remove one first.")
        connection.execute(
            _INSERT,
            (
                source.alert_source_id,
                caller.organisation_id,
                name,
                scheme,
                list(source.cameras),
                _text(mapping).decode(),
                caller.subject,
                now_us,
            ),
        )
        secret = add_secret(
            connection,
            sealer,
            caller.organisation_id,
            "alert_source_id",
            source.alert_source_id,
            by=caller.subject,
            now_us=now_us,
        )
    return SourceSecret(source=source, secret=secret)


def get_source(records: Records, organisation_id: str, alert_source_id: UUID) -> AlertSource | None:
    """One source; None when there is none, or it was removed."""
    with records.transaction(organisation_id) as connection:
        row = connection.execute(_GET, (alert_source_id,)).fetchone()
    return None if row is None else _source(row)


def source_with_secrets(
    records: Records, sealer: Sealer, organisation_id: str, alert_source_id: UUID
) -> tuple[AlertSource, tuple[bytes, ...]] | None:
    """A source and the secrets that are good now. Raises SealingError."""
    with records.transaction(organisation_id) as connection:
        row = connection.execute(_GET, (alert_source_id,)).fetchone()
        if row is None:
            return None
        now_us = time.time_ns() // 1000
        return _source(row), valid_secrets(connection, sealer, "alert_source_id", alert_source_id, now_us=now_us)


def list_sources(records: Records, organisation_id: str, *, after: UUID | None, limit: int) -> list[AlertSource]:
    """Sources in the order of their ids."""
    with records.transaction(organisation_id) as connection:
        rows = connection.execute(_LIST, {"after": after, "limit": limit}).fetchall()
    return [_source(row) for row in rows]


def change_source(  # noqa: PLR0913 - what can be changed
    records: Records,
    caller: GatewayCaller,
    alert_source_id: UUID,
    *,
    name: str | None = None,
    cameras: Sequence[str] | None = None,
    mapping: AlertMapping | None = None,
) -> AlertSource | None:
    """Change what is given; None when there is no such source."""
    changes = {
        "alert_source_id": alert_source_id,
        "name": name,
        "cameras": None if cameras is None else sorted(set(cameras)),
        "mapping": None if mapping is None else _text(mapping).decode(),
    }
    with records.transaction(caller.organisation_id) as connection:
        row = connection.execute(_CHANGE, changes).fetchone()
    return None if row is None else _source(row)


def remove_source(records: Records, caller: GatewayCaller, alert_source_id: UUID) -> bool:
    """Take no alerts from it any more; False when there is no such source."""
    values = (time.time_ns() // 1000, caller.subject, alert_source_id)
    with records.transaction(caller.organisation_id) as connection:
        return connection.execute(_REMOVE, values).fetchone() is not None


def replace_source_secret(
    records: Records,
    sealer: Sealer,
    caller: GatewayCaller,
    alert_source_id: UUID,
    *,
    overlap_seconds: int = DEFAULT_OVERLAP_SECONDS,
) -> SourceSecret | None:
    """A new secret, shown this once; until the overlap ends the old one is believed, too. None: no such source."""
    with records.transaction(caller.organisation_id) as connection:
        row = connection.execute(_GET, (alert_source_id,)).fetchone()
        if row is None:
            return None
        secret = add_secret(
            connection,
            sealer,
            caller.organisation_id,
            "alert_source_id",
            alert_source_id,
            by=caller.subject,
            now_us=time.time_ns() // 1000,
            overlap_seconds=min(overlap_seconds, MAX_OVERLAP_SECONDS),
        )
    return SourceSecret(source=_source(row), secret=secret)


def was_seen(records: Records, organisation_id: str, alert_source_id: UUID, message_id: str) -> bool:
    """Whether this message was carried out before."""
    with records.transaction(organisation_id) as connection:
        return connection.execute(_WAS_SEEN, (alert_source_id, message_id)).fetchone() is not None


def see(records: Records, organisation_id: str, alert_source_id: UUID, message_id: str) -> None:
    """Note that this message was carried out. Dying before this, it is carried out again: to the same clip."""
    with records.transaction(organisation_id) as connection:
        connection.execute(_SEE, (alert_source_id, organisation_id, message_id, time.time_ns() // 1000))


def _text(mapping: AlertMapping) -> bytes:
    return mapping.model_dump_json(exclude_none=True, exclude_defaults=True).encode()


def _source(row: TupleRow) -> AlertSource:
    alert_source_id, name, scheme, cameras, mapping, created_by, created_at = row
    return AlertSource(
        alert_source_id=alert_source_id,
        name=name,
        scheme=scheme,
        cameras=tuple(cameras),
        mapping=mapping.encode(),
        created_by=created_by,
        created_at=moment(created_at),
    )
