"""Tables of identity and policy, as SQLAlchemy declares them. The migrations build the same: a test compares."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
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
from sqlalchemy.dialects.postgresql import ARRAY

from gateway.records.base import metadata, named, organisation_check, organisation_column, somebody
from ledger.database.tables import IDENTIFIER

_WORDS = ARRAY(Text)

credentials = Table(
    "credentials",
    metadata,
    Column("credential_id", Uuid, primary_key=True),
    organisation_column(),
    Column("name", Text, nullable=False),
    Column("roles", _WORDS, nullable=False),
    Column("scopes", _WORDS, nullable=False),
    Column("token_seconds", Integer, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_by", Text),
    Column("revoked_reason", Text),
    Column("revoked_at", BigInteger),
    UniqueConstraint("credential_id", "organisation_id"),
    organisation_check(),
    somebody("name"),
    somebody("created_by"),
    CheckConstraint("token_seconds BETWEEN 60 AND 3600", name="token_seconds"),
    CheckConstraint(
        "(revoked_at IS NULL) = (revoked_by IS NULL) AND (revoked_at IS NULL) = (revoked_reason IS NULL)",
        name="revoked",
    ),
    Index("credentials_organisation_id", "organisation_id", "credential_id"),
)

# A secret is 32 random bytes, so that its plain SHA-256 can be searched by nobody.
credential_secrets = Table(
    "credential_secrets",
    metadata,
    Column("secret_id", Uuid, primary_key=True),
    Column("credential_id", Uuid, nullable=False),
    organisation_column(),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Since a newer secret was made, this one is good until then.
    Column("ends_at", BigInteger),
    ForeignKeyConstraint(
        ["credential_id", "organisation_id"],
        ["gateway.credentials.credential_id", "gateway.credentials.organisation_id"],
    ),
    UniqueConstraint("secret_sha256"),
    CheckConstraint("length(secret_sha256) = 32", name="secret_sha256"),
    somebody("created_by"),
    Index("credential_secrets_credential_id", "credential_id", "created_at"),
)

sites = Table(
    "sites",
    metadata,
    organisation_column(),
    Column("site_id", IDENTIFIER, nullable=False),
    Column("name", Text, nullable=False),
    PrimaryKeyConstraint("organisation_id", "site_id"),
    organisation_check(),
    named("site_id"),
    somebody("name"),
)

cameras = Table(
    "cameras",
    metadata,
    organisation_column(),
    Column("camera_id", IDENTIFIER, nullable=False),
    Column("site_id", IDENTIFIER, nullable=False),
    PrimaryKeyConstraint("organisation_id", "camera_id"),
    ForeignKeyConstraint(["organisation_id", "site_id"], ["gateway.sites.organisation_id", "gateway.sites.site_id"]),
    named("camera_id"),
    Index("cameras_site", "organisation_id", "site_id"),
)

custom_roles = Table(
    "custom_roles",
    metadata,
    organisation_column(),
    Column("name", IDENTIFIER, nullable=False),
    Column("permissions", _WORDS, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("organisation_id", "name"),
    organisation_check(),
    named("name"),
    CheckConstraint("cardinality(permissions) > 0", name="permissions"),
    somebody("changed_by"),
)

# An assignment holds until it is removed; the row stays, so that one can tell who could do what on any day.
assignments = Table(
    "assignments",
    metadata,
    Column("assignment_id", Uuid, primary_key=True),
    organisation_column(),
    Column("subject", Text(collation="C"), nullable=False),
    Column("role", IDENTIFIER, nullable=False),
    Column("site_id", IDENTIFIER),
    Column("camera_id", IDENTIFIER),
    Column("assigned_by", Text, nullable=False),
    Column("assigned_at", BigInteger, nullable=False),
    Column("removed_by", Text),
    Column("removed_at", BigInteger),
    organisation_check(),
    somebody("subject"),
    named("role"),
    named("site_id"),
    named("camera_id"),
    somebody("assigned_by"),
    CheckConstraint("site_id IS NULL OR camera_id IS NULL", name="place"),
    CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed"),
    Index(
        "assignments_standing",
        "organisation_id",
        "subject",
        "role",
        "site_id",
        "camera_id",
        unique=True,
        postgresql_where=text("removed_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    ),
)

# Decisions on their way to the operations chain. Rows that are there may be removed after a while, others never.
decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", BigInteger, Identity(always=True), primary_key=True),
    organisation_column(),
    Column("decided_at", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("credential_id", Text),
    Column("action", IDENTIFIER, nullable=False),
    Column("kind", IDENTIFIER, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("outcome", IDENTIFIER, nullable=False),
    Column("policies", _WORDS, nullable=False),
    Column("request_id", Text, nullable=False),
    # Set when the row is first sent: a batch is sent again as it was, so that it cannot count twice.
    Column("batch_id", Uuid),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("sent_at", DateTime(timezone=True)),
    organisation_check(),
    CheckConstraint("outcome IN ('allowed', 'denied', 'foreign', 'not_found')", name="outcome"),
    CheckConstraint("sent_at IS NULL OR batch_id IS NOT NULL", name="sent_at"),
    Index("decisions_unsent", "organisation_id", "decision_id", postgresql_where=text("sent_at IS NULL")),
    Index("decisions_batch", "batch_id", postgresql_where=text("sent_at IS NULL")),
    Index("decisions_sent", "sent_at", postgresql_where=text("sent_at IS NOT NULL")),
)
