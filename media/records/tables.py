"""The tables, as SQLAlchemy declares them. The migrations build the same: a test compares the two catalogues.

Every table but `clips` and `notes` (and those that recording_tables.py names) is insert-only, and those change only as
the database's own guards allow (migrations/sql). Nothing is ever removed from any of them; `turns` alone is no part of
the record.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
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
from sqlalchemy.dialects.postgresql import JSONB

from ledger.database.tables import IDENTIFIER, schema_metadata
from media.records.recording_tables import declare_recording_tables, of_recording
from media.records.schema import SCHEMA

_OPEN = text("state IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING')")
_ORGANISATION = "organisation_id ~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'"
_REASON = r"btrim(reason, E' \t\r\n') <> '' AND length(reason) <= 1000"

metadata = schema_metadata(SCHEMA)


def _of_clip() -> ForeignKeyConstraint:
    """A clip of the same organisation."""
    return ForeignKeyConstraint(
        ["clip_id", "organisation_id"], ["evidence.clips.clip_id", "evidence.clips.organisation_id"]
    )


def _one_subject() -> CheckConstraint:
    """Either a clip or a recording."""
    return CheckConstraint("num_nonnulls(clip_id, recording_id) = 1", name="subject")


def _somebody(column: str) -> CheckConstraint:
    return CheckConstraint(rf"btrim({column}, E' \t\r\n') <> ''", name=column)


clips = Table(
    "clips",
    metadata,
    Column("clip_id", Uuid, primary_key=True, server_default=text("uuidv7()")),
    Column("organisation_id", IDENTIFIER, nullable=False),
    Column("source_id", IDENTIFIER, nullable=False),
    Column("camera_id", IDENTIFIER, nullable=False),
    Column("incident_id", IDENTIFIER, nullable=False),
    Column("key_prefix", IDENTIFIER, nullable=False),
    Column("event_at", BigInteger, nullable=False),
    Column("asked_from", BigInteger, nullable=False),
    Column("asked_to", BigInteger, nullable=False),
    Column("session_chain_id", IDENTIFIER),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    Column("state", IDENTIFIER, nullable=False, server_default=text("'REQUESTED'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text, nullable=False, server_default=text("''")),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("leased_until", DateTime(timezone=True)),
    Column("lease_owner", Text),
    Column("lease_number", BigInteger, nullable=False, server_default=text("0")),
    Column("actual_from", BigInteger),
    Column("actual_to", BigInteger),
    Column("gaps", JSONB, nullable=False, server_default=text("'[]'")),
    Column("facts", JSONB),
    Column("failure_reason", Text),
    Column("failure_message", Text),
    Column("ended_at", BigInteger),
    Column("disposal_by", Text),
    Column("disposal_reason", Text),
    Column("disposal_decided_at", BigInteger),
    Column("disposed_at", BigInteger),
    # The store's lock and legal hold are as they should be when the two are equal.
    Column("protection_wanted", BigInteger, nullable=False, server_default=text("0")),
    Column("protection_done", BigInteger, nullable=False, server_default=text("0")),
    # The newest change of retention that they are known to follow.
    Column("protection_change", BigInteger, nullable=False, server_default=text("0")),
    Column("protection_enforced", Boolean),
    UniqueConstraint("organisation_id", "source_id", "incident_id"),
    # Two clips with the same keys would overwrite each other.
    UniqueConstraint("key_prefix"),
    UniqueConstraint("clip_id", "organisation_id"),
    CheckConstraint(_ORGANISATION, name="organisation_id"),
    CheckConstraint("source_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'", name="source_id"),
    CheckConstraint("camera_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'", name="camera_id"),
    CheckConstraint("incident_id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'", name="incident_id"),
    CheckConstraint(
        "key_prefix ~ '/[0-9]{4}/[0-9]{2}/[0-9]{2}/' AND starts_with(key_prefix, organisation_id || '/')"
        " AND right(key_prefix, length(camera_id || incident_id) + 3) = '/' || camera_id || '/' || incident_id || '/'",
        name="key_prefix",
    ),
    CheckConstraint("asked_from < asked_to AND event_at BETWEEN asked_from AND asked_to", name="window"),
    CheckConstraint("requested_by <> ''", name="requested_by"),
    CheckConstraint(
        "state IN ('REQUESTED', 'WAITING', 'EXTRACTING', 'STORING', 'PRESERVED', 'FAILED', 'DISPOSING', 'DISPOSED')",
        name="state",
    ),
    Index("clips_due", "next_attempt_at", postgresql_where=_OPEN),
    Index("clips_event_at", "organisation_id", "event_at", "clip_id"),
    Index("clips_camera", "organisation_id", "camera_id", "event_at", "clip_id"),
    Index("clips_incident", "organisation_id", "incident_id", "event_at", "clip_id"),
    Index("clips_kept", "organisation_id", "ended_at", postgresql_where=text("state IN ('PRESERVED', 'FAILED')")),
    Index("clips_disposing", "next_attempt_at", postgresql_where=text("state = 'DISPOSING'")),
    Index(
        "clips_protection_change",
        "organisation_id",
        "protection_change",
        postgresql_where=text("state IN ('PRESERVED', 'FAILED')"),
    ),
    Index(
        "clips_unprotected",
        "next_attempt_at",
        postgresql_where=text("protection_done < protection_wanted AND state IN ('PRESERVED', 'FAILED')"),
    ),
)

artefacts = Table(
    "artefacts",
    metadata,
    Column("clip_id", Uuid, nullable=False),
    Column("organisation_id", IDENTIFIER, nullable=False),
    Column("name", IDENTIFIER, nullable=False),
    Column("role", IDENTIFIER, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("key", IDENTIFIER, nullable=False),
    Column("version_id", IDENTIFIER),
    Column("size", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    PrimaryKeyConstraint("clip_id", "name"),
    UniqueConstraint("key", "version_id", postgresql_nulls_not_distinct=True),
    _of_clip(),
    CheckConstraint("name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'", name="name"),
    CheckConstraint("role IN ('native', 'primary', 'thumbnail', 'preview', 'metadata', 'custody')", name="role"),
    CheckConstraint("size > 0", name="size"),
    CheckConstraint("length(sha256) = 32", name="sha256"),
)

kept_objects = Table(
    "kept_objects",
    metadata,
    Column("kept_id", BigInteger, Identity(always=True), primary_key=True),
    Column("clip_id", Uuid, nullable=False),
    Column("organisation_id", IDENTIFIER, nullable=False),
    Column("key", IDENTIFIER, nullable=False),
    Column("version_id", IDENTIFIER),
    Column("size", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("found_size", BigInteger),
    Column("found_sha256", LargeBinary),
    Column("problem", Text, nullable=False),
    _of_clip(),
    CheckConstraint("length(sha256) = 32", name="sha256"),
    CheckConstraint("length(found_sha256) = 32", name="found_sha256"),
    Index("kept_objects_clip_id", "clip_id"),
    Index("kept_objects_key", "key"),
)

holds = Table(
    "holds",
    metadata,
    Column("hold_id", Uuid, primary_key=True),
    Column("clip_id", Uuid),
    Column("organisation_id", IDENTIFIER, nullable=False),
    Column("idempotency_key", IDENTIFIER, nullable=False),
    Column("reason", Text, nullable=False),
    Column("placed_by", Text, nullable=False),
    Column("placed_at", BigInteger, nullable=False),
    Column("recording_id", Uuid),
    UniqueConstraint("organisation_id", "idempotency_key"),
    UniqueConstraint("hold_id", "clip_id", "organisation_id"),
    UniqueConstraint("hold_id", "recording_id", "organisation_id"),
    _of_clip(),
    of_recording(),
    _one_subject(),
    CheckConstraint(_REASON, name="reason"),
    _somebody("placed_by"),
    Index("holds_clip_id", "clip_id"),
    Index("holds_recording_id", "recording_id"),
)

hold_lifts = Table(
    "hold_lifts",
    metadata,
    Column("hold_id", Uuid, primary_key=True),
    Column("clip_id", Uuid),
    Column("organisation_id", IDENTIFIER, nullable=False),
    Column("reason", Text, nullable=False),
    Column("lifted_by", Text, nullable=False),
    Column("lifted_at", BigInteger, nullable=False),
    Column("recording_id", Uuid),
    ForeignKeyConstraint(
        ["hold_id", "clip_id", "organisation_id"],
        ["evidence.holds.hold_id", "evidence.holds.clip_id", "evidence.holds.organisation_id"],
    ),
    ForeignKeyConstraint(
        ["hold_id", "recording_id", "organisation_id"],
        ["evidence.holds.hold_id", "evidence.holds.recording_id", "evidence.holds.organisation_id"],
    ),
    _one_subject(),
    CheckConstraint(_REASON, name="reason"),
    _somebody("lifted_by"),
)

accesses = Table(
    "accesses",
    metadata,
    Column("access_id", Uuid, primary_key=True),
    Column("clip_id", Uuid, nullable=False),
    Column("organisation_id", IDENTIFIER, nullable=False),
    Column("kind", IDENTIFIER, nullable=False),
    Column("who", Text, nullable=False),
    Column("artefact", IDENTIFIER),
    Column("detail", JSONB, nullable=False),
    Column("at", BigInteger, nullable=False),
    _of_clip(),
    CheckConstraint("kind IN ('link', 'download', 'export', 'verify')", name="kind"),
    _somebody("who"),
    Index("accesses_clip_id", "clip_id", "at"),
)

retention_changes = Table(
    "retention_changes",
    metadata,
    Column("change_number", BigInteger, Identity(always=True), primary_key=True),
    Column("change_id", Uuid, nullable=False),
    Column("organisation_id", IDENTIFIER, nullable=False),
    Column("days", Integer, nullable=False),
    Column("lock_mode", IDENTIFIER, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    UniqueConstraint("change_id"),
    CheckConstraint(_ORGANISATION, name="organisation_id"),
    CheckConstraint("days BETWEEN 1 AND 36500", name="days"),
    CheckConstraint("lock_mode IN ('NONE', 'GOVERNANCE', 'COMPLIANCE')", name="lock_mode"),
    CheckConstraint(_REASON, name="reason"),
    _somebody("changed_by"),
    Index("retention_changes_organisation_id", "organisation_id", "change_number"),
)

notes = Table(
    "notes",
    metadata,
    Column("note_id", BigInteger, Identity(always=True), primary_key=True),
    Column("organisation_id", IDENTIFIER, nullable=False),
    Column("chain_id", IDENTIFIER, nullable=False),
    Column("kind", IDENTIFIER, nullable=False),
    Column("subject_id", Uuid, nullable=False),
    Column("clip_id", Uuid),
    Column("payload", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text, nullable=False, server_default=text("''")),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("sent_at", DateTime(timezone=True)),
    Column("sequence", BigInteger),
    Column("event_hash", LargeBinary),
    Column("refusal", Text),
    Column("recording_id", Uuid),
    UniqueConstraint("organisation_id", "chain_id", "kind", "subject_id"),
    _of_clip(),
    of_recording(),
    CheckConstraint("length(event_hash) = 32", name="event_hash"),
    CheckConstraint(
        "(sent_at IS NULL) = (sequence IS NULL) AND (sent_at IS NULL) = (event_hash IS NULL)"
        " AND (sent_at IS NULL OR refusal IS NULL)",
        name="sent",
    ),
    Index(
        "notes_unsent",
        "organisation_id",
        "chain_id",
        "note_id",
        postgresql_where=text("sent_at IS NULL AND refusal IS NULL"),
    ),
    Index("notes_clip_id", "clip_id", "note_id"),
    Index("notes_recording_id", "recording_id", "note_id"),
)

turns = Table(
    "turns",
    metadata,
    Column("name", IDENTIFIER, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
)

declare_recording_tables(metadata)
