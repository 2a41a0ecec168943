"""The secrets of endpoints and sources: made, replaced with an overlap, and read by those who sign or check."""

from typing import Any, Literal
from uuid import UUID, uuid4

import psycopg

from gateway.webhooks.sealing import Sealer
from gateway.webhooks.signing import new_secret, show_secret

Owner = Literal["endpoint_id", "alert_source_id"]

DEFAULT_OVERLAP_SECONDS = 24 * 3600
MAX_OVERLAP_SECONDS = 30 * 24 * 3600
# The newest and those that overlap with it.
MAX_VALID = 4

_INSERT = {
    owner: f"""
INSERT INTO gateway.webhook_secrets (secret_id, organisation_id, {owner}, sealed, created_by, created_at)
VALUES (%s, %s, %s, %s, %s, %s)
"""  # noqa: S608 - one of two names of ours
    for owner in ("endpoint_id", "alert_source_id")
}
# What ends sooner stays so: a secret that was replaced in a hurry does not come to life again with the next one.
_END = {
    owner: f"""
UPDATE gateway.webhook_secrets SET ends_at = least(ends_at, %s)
 WHERE {owner} = %s AND (ends_at IS NULL OR ends_at > %s)
"""  # noqa: S608 - as above
    for owner in ("endpoint_id", "alert_source_id")
}
VALID = {
    owner: f"""
SELECT sealed FROM gateway.webhook_secrets
 WHERE {owner} = %s AND (ends_at IS NULL OR ends_at > %s)
 ORDER BY created_at DESC, secret_id DESC LIMIT {MAX_VALID}
"""  # noqa: S608 - as above
    for owner in ("endpoint_id", "alert_source_id")
}


def add_secret(  # noqa: PLR0913 - what a secret is kept with
    connection: psycopg.Connection[Any],
    sealer: Sealer,
    organisation_id: str,
    owner: Owner,
    owner_id: UUID,
    *,
    by: str,
    now_us: int,
    overlap_seconds: int = 0,
) -> str:
    """A new secret, as it is shown; those before it are good for `overlap_seconds` more at most."""
    connection.execute(_END[owner], (now_us + overlap_seconds * 1_000_000, owner_id, now_us))
    secret = new_secret()
    connection.execute(_INSERT[owner], (uuid4(), organisation_id, owner_id, sealer.seal(secret), by, now_us))
    return show_secret(secret)


def valid_secrets(
    connection: psycopg.Connection[Any], sealer: Sealer, owner: Owner, owner_id: UUID, *, now_us: int
) -> tuple[bytes, ...]:
    """The secrets that are good now, the newest first. Raises SealingError."""
    rows = connection.execute(VALID[owner], (owner_id, now_us)).fetchall()
    return tuple(sealer.open(bytes(row[0])) for row in rows)
