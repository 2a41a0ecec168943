"""Where an organisation wants to be told: kept in the gateway's records."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from psycopg.rows import TupleRow, tuple_row

from gateway.auth.values import GatewayCaller
from gateway.problems import Code, Problem
from gateway.records.records import Records
from gateway.webhooks.catalogue import EventType
from gateway.webhooks.reach import Network
from gateway.webhooks.sealing import Sealer
from gateway.webhooks.secrets_kept import DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, add_secret
from gateway.webhooks.sending import check_url
from gateway.webhooks.values import Endpoint, EndpointSecret
from ledger.timestamps import moment

MAX_ENDPOINTS = 50
MAX_DESCRIPTION_CHARACTERS = 200

_COLUMNS = "endpoint_id, url, types, description, created_by, created_at, disabled_at, disabled_reason"
_INSERT = f"""
INSERT INTO gateway.webhook_endpoints
       (endpoint_id, organisation_id, url, types, description, created_by, created_at, first_sequence)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
RETURNING {_COLUMNS}
"""  # noqa: S608 - names of ours
_BEGIN = """
INSERT INTO gateway.webhook_cursors (organisation_id, next_sequence) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""
# One after the other, so that no two requests together pass the limit.
_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('webhook endpoints of ' || %s, 0))"
_COUNT = "SELECT count(*) FROM gateway.webhook_endpoints WHERE removed_at IS NULL"
_GET = f"SELECT {_COLUMNS} FROM gateway.webhook_endpoints WHERE endpoint_id = %s AND removed_at IS NULL"  # noqa: S608
_IS = "SELECT FROM gateway.webhook_endpoints WHERE endpoint_id = %s"
_LIST = f"""
SELECT {_COLUMNS} FROM gateway.webhook_endpoints
 WHERE removed_at IS NULL AND (%(after)s::uuid IS NULL OR endpoint_id > %(after)s)
 ORDER BY endpoint_id LIMIT %(limit)s
"""  # noqa: S608 - as above
_CHANGE = f"""
UPDATE gateway.webhook_endpoints
   SET url = coalesce(%(url)s, url), types = coalesce(%(types)s, types),
       description = coalesce(%(description)s, description),
       disabled_at = CASE %(enabled)s::boolean WHEN true THEN NULL WHEN false THEN coalesce(disabled_at, %(now)s)
                                      ELSE disabled_at END,
       disabled_by = CASE %(enabled)s::boolean WHEN true THEN NULL WHEN false THEN coalesce(disabled_by, %(by)s)
                                      ELSE disabled_by END,
       disabled_reason = CASE %(enabled)s::boolean WHEN true THEN NULL
                                          WHEN false THEN coalesce(disabled_reason, 'switched off')
                                          ELSE disabled_reason END
 WHERE endpoint_id = %(endpoint_id)s AND removed_at IS NULL
RETURNING {_COLUMNS}
"""  # noqa: S608 - as above
_REMOVE = """
UPDATE gateway.webhook_endpoints
   SET removed_at = %(now)s, disabled_at = coalesce(disabled_at, %(now)s), disabled_by = coalesce(disabled_by, %(by)s),
       disabled_reason = coalesce(disabled_reason, 'removed')
 WHERE endpoint_id = %(endpoint_id)s AND removed_at IS NULL
RETURNING endpoint_id
"""


def create_endpoint(  # noqa: PLR0913 - what an endpoint is made of
    records: Records,
    sealer: Sealer,
    caller: GatewayCaller,
    *,
    url: str,
    types: Sequence[EventType],
    description: str,
    next_sequence: int,
    networks: Sequence[Network],
) -> EndpointSecret:
    """A new endpoint, told of what happens from now on, with its secret, which is shown this once.

    `next_sequence`: of the organisation's operations chain; what came before concerns nobody who was not there. Raises
    Problem: INVALID_REQUEST, CONFLICT where there are too many.
    """
    _check(url, networks)
    now_us = time.time_ns() // 1000
    with records.transaction(caller.organisation_id) as connection:
        connection.execute(_TURN, (caller.organisation_id,))
        count = connection.execute(_COUNT).fetchone()
        if count is not None and count[0] >= MAX_ENDPOINTS:
            raise Problem(Code.CONFLICT, f"There are {MAX_ENDPOINTS} endpoints already. Remove one first.")
        connection.execute(_BEGIN, (caller.organisation_id, next_sequence))
        written = (url, _words(types), description, caller.subject, now_us, next_sequence)
        values = (uuid4(), caller.organisation_id, *written)
        row = connection.cursor(row_factory=tuple_row).execute(_INSERT, values).fetchone()
        endpoint = _endpoint(_there(row))
        secret = add_secret(
            connection,
            sealer,
            caller.organisation_id,
            "endpoint_id",
            endpoint.endpoint_id,
            by=caller.subject,
            now_us=now_us,
        )
    return EndpointSecret(endpoint=endpoint, secret=secret)


def get_endpoint(records: Records, organisation_id: str, endpoint_id: UUID) -> Endpoint | None:
    """One endpoint; None when there is none, or it was removed."""
    with records.transaction(organisation_id) as connection:
        row = connection.execute(_GET, (endpoint_id,)).fetchone()
    return None if row is None else _endpoint(row)


def is_endpoint(records: Records, organisation_id: str, endpoint_id: UUID) -> bool:
    """Whether there is such an endpoint, or was one."""
    with records.transaction(organisation_id) as connection:
        return connection.execute(_IS, (endpoint_id,)).fetchone() is not None


def list_endpoints(records: Records, organisation_id: str, *, after: UUID | None, limit: int) -> list[Endpoint]:
    """Endpoints in the order of their ids."""
    with records.transaction(organisation_id) as connection:
        rows = connection.execute(_LIST, {"after": after, "limit": limit}).fetchall()
    return [_endpoint(row) for row in rows]


def change_endpoint(  # noqa: PLR0913 - what can be changed
    records: Records,
    caller: GatewayCaller,
    endpoint_id: UUID,
    *,
    networks: Sequence[Network],
    url: str | None = None,
    types: Sequence[EventType] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Endpoint | None:
    """Change what is given; None when there is no such endpoint. Switched off, it is not told of what happens then.

    Raises Problem (INVALID_REQUEST).
    """
    if url is not None:
        _check(url, networks)
    changes: dict[str, Any] = {
        "endpoint_id": endpoint_id,
        "url": url,
        "types": None if types is None else _words(types),
        "description": description,
        "enabled": enabled,
        "by": caller.subject,
        "now": time.time_ns() // 1000,
    }
    with records.transaction(caller.organisation_id) as connection:
        row = connection.execute(_CHANGE, changes).fetchone()
    return None if row is None else _endpoint(row)


def remove_endpoint(records: Records, caller: GatewayCaller, endpoint_id: UUID) -> bool:
    """Stop telling it for ever; False when there is no such endpoint."""
    values = {"endpoint_id": endpoint_id, "by": caller.subject, "now": time.time_ns() // 1000}
    with records.transaction(caller.organisation_id) as connection:
        return connection.execute(_REMOVE, values).fetchone() is not None


def replace_secret(
    records: Records,
    sealer: Sealer,
    caller: GatewayCaller,
    endpoint_id: UUID,
    *,
    overlap_seconds: int = DEFAULT_OVERLAP_SECONDS,
) -> EndpointSecret | None:
    """A new secret, shown this once; until the overlap ends messages are signed with both. None: no such endpoint."""
    overlap_seconds = min(overlap_seconds, MAX_OVERLAP_SECONDS)
    with records.transaction(caller.organisation_id) as connection:
        row = connection.execute(_GET, (endpoint_id,)).fetchone()
        if row is None:
            return None
        secret = add_secret(
            connection,
            sealer,
            caller.organisation_id,
            "endpoint_id",
            endpoint_id,
            by=caller.subject,
            now_us=time.time_ns() // 1000,
            overlap_seconds=overlap_seconds,
        )
    return EndpointSecret(endpoint=_endpoint(row), secret=secret)


def _check(url: str, networks: Sequence[Network]) -> None:
    try:
        check_url(url, networks)
    except ValueError as error:
        raise Problem(Code.INVALID_REQUEST, f"{str(error)[0].upper()}{str(error)[1:]}.", field="url") from None


def _words(types: Sequence[EventType]) -> list[str]:
    return sorted({kind.value for kind in types})


def _there(row: TupleRow | None) -> TupleRow:
    if row is None:
        raise RuntimeError("the database returned no row for what it inserted")
    return row


def _endpoint(row: TupleRow) -> Endpoint:
    endpoint_id, url, types, description, created_by, created_at, disabled_at, disabled_reason = row
    return Endpoint(
        endpoint_id=endpoint_id,
        url=url,
        types=tuple(types),
        description=description,
        created_by=created_by,
        created_at=moment(created_at),
        disabled_at=None if disabled_at is None else moment(disabled_at),
        disabled_reason=disabled_reason,
    )
