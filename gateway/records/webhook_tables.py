"""Tables of webhooks, as SQLAlchemy declares them. The migrations build the same: a test compares."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from gateway.records.base import metadata, organisation_check, organisation_column, somebody
from ledger.database.tables import IDENTIFIER

_WORDS = ARRAY(Text)


def _of(parent: str, column: str) -> ForeignKeyConstraint:
    """A row of `parent` of the same organisation."""
    return ForeignKeyConstraint(
        [column, "organisation_id"], [f"gateway.{parent}.{column}", f"gateway.{parent}.organisation_id"]
    )


webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("endpoint_id", Uuid, primary_key=True),
    organisation_column(),
    Column("url", Text, nullable=False),
    Column("types", _WORDS, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("disabled_by", Text),
    Column("disabled_reason", Text),
    Column("removed_at", BigInteger),
    # From which event of the operations chain on it is told.
    Column("first_sequence", BigInteger, nullable=False, server_default=text("1")),
    UniqueConstraint("endpoint_id", "organisation_id"),
    organisation_check(),
    somebody("created_by"),
    CheckConstraint("cardinality(types) > 0", name="types"),
    CheckConstraint("(disabled_at IS NULL) = (disabled_by IS NULL)", name="disabled"),
    CheckConstraint("removed_at IS NULL OR disabled_at IS NOT NULL", name="removed"),
    CheckConstraint("first_sequence > 0", name="first_sequence"),
    Index("webhook_endpoints_organisation_id", "organisation_id", "endpoint_id"),
)

alert_sources = Table(
    "alert_sources",
    metadata,
    Column("alert_source_id", Uuid, primary_key=True),
    organisation_column(),
    Column("name", Text, nullable=False),
    Column("scheme", IDENTIFIER, nullable=False),
    Column("cameras", _WORDS, nullable=False),
    Column("mapping", JSONB, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    Column("removed_by", Text),
    UniqueConstraint("alert_source_id", "organisation_id"),
    organisation_check(),
    somebody("name"),
    somebody("created_by"),
    CheckConstraint("scheme IN ('standard', 'body')", name="scheme"),
    CheckConstraint("cardinality(cameras) > 0", name="cameras"),
    CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed"),
    Index("alert_sources_organisation_id", "organisation_id", "alert_source_id"),
)

# Encrypted (gateway/webhooks/sealing.py): a signature needs the secret itself.
webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("secret_id", Uuid, primary_key=True),
    organisation_column(),
    Column("endpoint_id", Uuid),
    Column("alert_source_id", Uuid),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Since a newer secret was made, this one is good until then.
    Column("ends_at", BigInteger),
    _of("webhook_endpoints", "endpoint_id"),
    _of("alert_sources", "alert_source_id"),
    somebody("created_by"),
    CheckConstraint("num_nonnulls(endpoint_id, alert_source_id) = 1", name="owner"),
    Index("webhook_secrets_endpoint_id", "endpoint_id", "created_at"),
    Index("webhook_secrets_alert_source_id", "alert_source_id", "created_at"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("delivery_id", Uuid, primary_key=True, server_default=text("uuidv7()")),
    organisation_column(),
    Column("endpoint_id", Uuid, nullable=False),
    Column("message_id", IDENTIFIER, nullable=False),
    Column("type", IDENTIFIER, nullable=False),
    # Exactly as it is signed.
    Column("body", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("state", IDENTIFIER, nullable=False, server_default=text("'PENDING'")),
    # All attempts ever, which numbers them; and those since it was last put in the queue, which spaces them.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("leased_until", DateTime(timezone=True)),
    Column("ended_at", BigInteger),
    UniqueConstraint("delivery_id", "organisation_id"),
    # An event of the chain is told to an endpoint once, however often the chain is read.
    UniqueConstraint("endpoint_id", "message_id"),
    _of("webhook_endpoints", "endpoint_id"),
    CheckConstraint("state IN ('PENDING', 'DELIVERED', 'DEAD')", name="state"),
    CheckConstraint("(state = 'PENDING') = (ended_at IS NULL)", name="ended_at"),
    Index("webhook_deliveries_due", "next_attempt_at", postgresql_where=text("state = 'PENDING'")),
    Index("webhook_deliveries_leased", "leased_until", postgresql_where=text("leased_until IS NOT NULL")),
    Index("webhook_deliveries_ended", "ended_at", postgresql_where=text("state <> 'PENDING'")),
    Index("webhook_deliveries_organisation_id", "organisation_id", "delivery_id"),
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", Uuid, nullable=False),
    organisation_column(),
    Column("number", Integer, nullable=False),
    Column("attempted_at", BigInteger, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("status", Integer),
    Column("problem", Text, nullable=False),
    Column("answer", Text, nullable=False),
    PrimaryKeyConstraint("delivery_id", "number"),
    ForeignKeyConstraint(
        ["delivery_id", "organisation_id"],
        ["gateway.webhook_deliveries.delivery_id", "gateway.webhook_deliveries.organisation_id"],
        ondelete="CASCADE",
    ),
)

# How far each organisation's operations chain has been read.
webhook_cursors = Table(
    "webhook_cursors",
    metadata,
    organisation_column(primary_key=True),
    Column("next_sequence", BigInteger, nullable=False),
    Column("next_look_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    organisation_check(),
    CheckConstraint("next_sequence > 0", name="next_sequence"),
)

# Messages that came in, so that none counts twice. Removed when their signatures are too old to be believed.
alerts_seen = Table(
    "alerts_seen",
    metadata,
    Column("alert_source_id", Uuid, nullable=False),
    organisation_column(),
    Column("message_id", IDENTIFIER, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("alert_source_id", "message_id"),
    _of("alert_sources", "alert_source_id"),
    Index("alerts_seen_received_at", "received_at"),
)
