"""The table of requests that may be repeated, as SQLAlchemy declares it."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table
from sqlalchemy.dialects.postgresql import JSONB

from gateway.records.base import metadata, organisation_check, organisation_column

# Neither the caller's key nor the request is kept, only their digests. The answer is gone after a day.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    organisation_column(),
    # SHA-256 of subject, method, address and key.
    Column("key_sha256", LargeBinary, nullable=False),
    # SHA-256 of query and body.
    Column("request_sha256", LargeBinary, nullable=False),
    Column("claimed_at", BigInteger, nullable=False),
    # The answer, once there is one. An answer with a secret has no body here.
    Column("status", Integer),
    Column("headers", JSONB),
    Column("body", LargeBinary),
    PrimaryKeyConstraint("organisation_id", "key_sha256"),
    organisation_check(),
    CheckConstraint("length(key_sha256) = 32 AND length(request_sha256) = 32", name="digests"),
    CheckConstraint("status BETWEEN 200 AND 299", name="status"),
    Index("idempotency_keys_claimed_at", "organisation_id", "claimed_at"),
)
