"""Deliveries as the organisation sees them: which there are, how each went, and sending one again."""

import time
from typing import Any
from uuid import UUID

from psycopg.rows import TupleRow

from gateway.auth.values import GatewayCaller
from gateway.problems import Code, Problem
from gateway.records.records import Records
from gateway.webhooks.values import AttemptRecord, Delivery, DeliveryLog, DeliveryState
from ledger.timestamps import moment

_COLUMNS = """d.delivery_id, d.endpoint_id, d.message_id, d.type, d.state, d.attempts, d.created_at, d.next_attempt_at,
       d.ended_at"""
_LIST = f"""
SELECT {_COLUMNS} FROM gateway.webhook_deliveries AS d
 WHERE (%(endpoint_id)s::uuid IS NULL OR d.endpoint_id = %(endpoint_id)s)
   AND (%(state)s::text IS NULL OR d.state = %(state)s)
   AND (%(before)s::uuid IS NULL OR d.delivery_id < %(before)s)
 ORDER BY d.delivery_id DESC LIMIT %(limit)s
"""  # noqa: S608 - names of ours
_GET = f"SELECT {_COLUMNS}, d.body FROM gateway.webhook_deliveries AS d WHERE d.delivery_id = %s"  # noqa: S608
_ATTEMPTS = """
SELECT number, attempted_at, milliseconds, status, problem, answer
  FROM gateway.webhook_attempts WHERE delivery_id = %s ORDER BY number DESC LIMIT 100
"""
_IS_REMOVED = """
SELECT e.removed_at IS NOT NULL
  FROM gateway.webhook_deliveries AS d JOIN gateway.webhook_endpoints AS e USING (endpoint_id)
 WHERE d.delivery_id = %s
"""
# The lease is left as it is: an attempt under way ends first, and cannot settle what was begun anew.
_REPLAY = f"""
UPDATE gateway.webhook_deliveries AS d
   SET state = 'PENDING', tries = 0, next_attempt_at = now(), ended_at = NULL
 WHERE d.delivery_id = %s AND d.state <> 'PENDING'
RETURNING {_COLUMNS}
"""  # noqa: S608 - as above
_REPLAY_DEAD = """
UPDATE gateway.webhook_deliveries
   SET state = 'PENDING', tries = 0, next_attempt_at = now(), ended_at = NULL
 WHERE endpoint_id = %s AND state = 'DEAD' AND created_at >= %s
"""


def list_deliveries(  # noqa: PLR0913 - what a list can be narrowed to
    records: Records,
    organisation_id: str,
    *,
    endpoint_id: UUID | None,
    state: DeliveryState | None,
    before: UUID | None,
    limit: int,
) -> list[Delivery]:
    """Deliveries, the newest first."""
    wanted: dict[str, Any] = {
        "endpoint_id": endpoint_id,
        "state": None if state is None else state.upper(),
        "before": before,
        "limit": limit,
    }
    with records.transaction(organisation_id) as connection:
        return [_delivery(row) for row in connection.execute(_LIST, wanted).fetchall()]


def get_delivery(records: Records, organisation_id: str, delivery_id: UUID) -> DeliveryLog | None:
    """One delivery with its newest 100 attempts; None when there is none."""
    with records.transaction(organisation_id) as connection:
        row = connection.execute(_GET, (delivery_id,)).fetchone()
        if row is None:
            return None
        attempts = connection.execute(_ATTEMPTS, (delivery_id,)).fetchall()
    return DeliveryLog(
        delivery=_delivery(row[:-1]),
        body=bytes(row[-1]),
        attempts=tuple(
            AttemptRecord(
                number=number,
                attempted_at=moment(attempted_at),
                milliseconds=milliseconds,
                status=status,
                problem=problem,
                answer=answer,
            )
            for number, attempted_at, milliseconds, status, problem, answer in attempts
        ),
    )


def replay_delivery(records: Records, caller: GatewayCaller, delivery_id: UUID) -> Delivery | None:
    """Send a message again that was delivered or given up; one still being tried stays as it is. None: no such one.

    Raises Problem (CONFLICT) when its endpoint was removed.
    """
    with records.transaction(caller.organisation_id) as connection:
        removed = connection.execute(_IS_REMOVED, (delivery_id,)).fetchone()
        if removed is not None and removed[0]:
            raise Problem(Code.CONFLICT, "The endpoint of this message was removed: nobody is told at it any more.")
        row = connection.execute(_REPLAY, (delivery_id,)).fetchone()
        if row is None:
            row = connection.execute(_GET, (delivery_id,)).fetchone()
            return None if row is None else _delivery(row[:-1])
    return _delivery(row)


def replay_dead(records: Records, caller: GatewayCaller, endpoint_id: UUID, *, days: int) -> int:
    """Send every message again that was given up in the last days. How many there are."""
    since_us = time.time_ns() // 1000 - days * 86_400_000_000
    with records.transaction(caller.organisation_id) as connection:
        return connection.execute(_REPLAY_DEAD, (endpoint_id, since_us)).rowcount


def _delivery(row: TupleRow) -> Delivery:
    delivery_id, endpoint_id, message_id, kind, state, attempts, created_at, next_attempt_at, ended_at = row
    return Delivery(
        delivery_id=delivery_id,
        endpoint_id=endpoint_id,
        message_id=message_id,
        type=kind,
        state=state.lower(),
        attempts=attempts,
        created_at=moment(created_at),
        next_attempt_at=next_attempt_at if state == "PENDING" else None,
        ended_at=None if ended_at is None else moment(ended_at),
    )
