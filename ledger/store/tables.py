"""The tables, as SQLAlchemy declares them. The migrations build the same: a test compares the two catalogues.

Whatever is part of the record is insert-only, and the database itself refuses anything else (migrations/sql).
Only `outbox`, `anchor_jobs` and `disclosures` lose rows: work that is done, and disclosures that were erased.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
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
from sqlalchemy.dialects.postgresql import JSONB

from ledger.database.tables import IDENTIFIER, schema_metadata

SCHEMA = "indelible"

metadata = schema_metadata(SCHEMA)

organisations = Table(
    "organisations",
    metadata,
    Column("organisation_id", IDENTIFIER, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    CheckConstraint("organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'", name="organisation_id"),
    CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
)

chains = Table(
    "chains",
    metadata,
    Column("chain_key", BigInteger, Identity(always=True), primary_key=True),
    Column("organisation_id", IDENTIFIER, ForeignKey("indelible.organisations.organisation_id"), nullable=False),
    Column("chain_id", IDENTIFIER, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("organisation_id", "chain_id"),
    CheckConstraint("chain_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'", name="chain_id"),
    # The operations chain is known by its name, so the two must agree.
    CheckConstraint(
        "type IN ('session', 'operations') AND (type = 'operations') = (chain_id = 'operations')", name="type"
    ),
)

# No foreign key to chains: it would be checked row by row, and the insert guard checks the same set by set.
events = Table(
    "events",
    metadata,
    Column("chain_key", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("append_count", Integer),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("organisation_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("idempotency_key", IDENTIFIER),
    Column("payload", Text, nullable=False),
    Column("payload_jsonb", JSONB, Computed("payload::jsonb", persisted=False)),
    UniqueConstraint("chain_key", "sequence"),
    UniqueConstraint("chain_key", "prev_hash"),
    Index(
        "events_chain_key_idempotency_key_key",
        "chain_key",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    # For "when was this chain last checkpointed?"; ordinary events are not in it and pay nothing.
    Index(
        "events_checkpoints",
        "chain_key",
        "sequence",
        postgresql_include=["kind"],
        postgresql_where=text("kind IN ('chain.checkpointed', 'chain.closed')"),
    ),
)

# What session chains say of recordings and clips in the making. Rows repeat events, so that the insert guard finds by
# index what is pending; it writes them itself.
item_steps = Table(
    "item_steps",
    metadata,
    Column("chain_key", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("begins", Boolean, nullable=False),
    Column("organisation_id", Text, nullable=False),
    Column("type", IDENTIFIER, nullable=False),
    Column("item_id", IDENTIFIER, nullable=False),
    PrimaryKeyConstraint("chain_key", "type", "item_id", "sequence"),
)

session_ends = Table(
    "session_ends",
    metadata,
    Column("chain_key", BigInteger, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("closes_by", BigInteger, nullable=False),
    Column("closed", Boolean, nullable=False, server_default=text("false")),
    Column("organisation_id", Text, nullable=False),
    Index("session_ends_open", "closes_by", postgresql_where=text("NOT closed")),
)

disclosures = Table(
    "disclosures",
    metadata,
    Column("chain_key", BigInteger, nullable=False),
    Column("organisation_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("disclosure", Text, nullable=False),
    ForeignKeyConstraint(["chain_key", "sequence"], ["indelible.events.chain_key", "indelible.events.sequence"]),
    Index("disclosures_chain_key_sequence", "chain_key", "sequence"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", BigInteger, Identity(always=True), primary_key=True),
    Column("organisation_id", Text, nullable=False),
    Column("chain_key", BigInteger, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
)

anchor_jobs = Table(
    "anchor_jobs",
    metadata,
    Column("organisation_id", Text, nullable=False),
    Column("chain_key", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("backend", IDENTIFIER, nullable=False),
    Column("authority", IDENTIFIER, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text, nullable=False, server_default=text("''")),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False),
    Column("leased_until", DateTime(timezone=True)),
    Column("lease_owner", Text),
    Column("state", JSONB),
    PrimaryKeyConstraint("chain_key", "sequence", "backend", "authority"),
    ForeignKeyConstraint(["chain_key", "sequence"], ["indelible.events.chain_key", "indelible.events.sequence"]),
    Index("anchor_jobs_next_attempt_at", "next_attempt_at"),
)

anchors = Table(
    "anchors",
    metadata,
    Column("organisation_id", Text, nullable=False),
    Column("chain_key", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("backend", IDENTIFIER, nullable=False),
    Column("authority", IDENTIFIER, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("obtained_at", DateTime(timezone=True), nullable=False),
    Column("anchored_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("chain_key", "sequence", "backend", "authority"),
    ForeignKeyConstraint(["chain_key", "sequence"], ["indelible.events.chain_key", "indelible.events.sequence"]),
)

anchor_evidence = Table(
    "anchor_evidence",
    metadata,
    Column("chain_key", BigInteger, nullable=False),
    Column("organisation_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("backend", IDENTIFIER, nullable=False),
    Column("authority", IDENTIFIER, nullable=False),
    Column("kind", Text, nullable=False),
    Column("der", LargeBinary, nullable=False),
    ForeignKeyConstraint(
        ["chain_key", "sequence", "backend", "authority"],
        [
            "indelible.anchors.chain_key",
            "indelible.anchors.sequence",
            "indelible.anchors.backend",
            "indelible.anchors.authority",
        ],
    ),
    CheckConstraint("kind IN ('certificate', 'crl', 'ocsp', 'header')", name="kind"),
    Index("anchor_evidence_anchor", "chain_key", "sequence", "backend", "authority"),
)

verify_links = Table(
    "verify_links",
    metadata,
    Column("link_id", Uuid, primary_key=True),
    Column("organisation_id", Text, nullable=False),
    Column("chain_key", BigInteger, nullable=False),
    Column("head_sequence", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    ForeignKeyConstraint(["chain_key", "head_sequence"], ["indelible.events.chain_key", "indelible.events.sequence"]),
)

verify_link_revocations = Table(
    "verify_link_revocations",
    metadata,
    Column("link_id", Uuid, ForeignKey("indelible.verify_links.link_id"), primary_key=True),
    Column("organisation_id", Text, nullable=False),
    Column("revoked_by", Text, nullable=False),
    Column("revoked_at", DateTime(timezone=True), nullable=False),
)

tezos_batches = Table(
    "tezos_batches",
    metadata,
    Column("batch_id", BigInteger, Identity(always=True), primary_key=True),
    Column("authority", IDENTIFIER, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("tree_size", Integer, nullable=False),
    Column("formed_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("receipt", Text),
    Column("anchored_at", DateTime(timezone=True)),
    CheckConstraint("length(root) = 32", name="root"),
    Index("tezos_batches_open", "authority", unique=True, postgresql_where=text("receipt IS NULL")),
)

tezos_attempts = Table(
    "tezos_attempts",
    metadata,
    Column("batch_id", BigInteger, ForeignKey("indelible.tezos_batches.batch_id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("branch_level", Integer, nullable=False),
    Column("operation", LargeBinary, nullable=False),
    Column("signed_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("batch_id", "attempt"),
)

tezos_heads = Table(
    "tezos_heads",
    metadata,
    Column("authority", IDENTIFIER, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("waits_since", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("batch_id", BigInteger, ForeignKey("indelible.tezos_batches.batch_id")),
    Column("leaf_index", Integer),
    PrimaryKeyConstraint("authority", "digest"),
    CheckConstraint("length(digest) = 32", name="digest"),
    Index("tezos_heads_waiting", "authority", "waits_since", postgresql_where=text("batch_id IS NULL")),
    Index("tezos_heads_leaves", "batch_id", "leaf_index", unique=True, postgresql_where=text("batch_id IS NOT NULL")),
)
