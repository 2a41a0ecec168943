"""The tables of recordings, as SQLAlchemy declares them; see `tables`.

Insert-only but for `recordings`, `recording_stays` and `recording_jobs`, which change only as the database's guards
allow (migrations/sql/0005_recording_guards.sql).
"""

from sqlalchemy import (
    ARRAY,
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
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from ledger.database.tables import IDENTIFIER

_IDENTIFIER = "~ '^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$'"
_RUNNING = text("state IN ('STARTING', 'RECORDING')")
_ENDED = text("state IN ('COMPLETED', 'FAILED')")


def declare_recording_tables(metadata: MetaData) -> None:
    """Add the tables of recordings to the schema's."""
    _control(metadata)
    _following(metadata)
    _processing(metadata)
    _outcome(metadata)


def _control(metadata: MetaData) -> None:
    Table(
        "recording_consents",
        metadata,
        Column("consent_number", BigInteger, Identity(always=True), primary_key=True),
        Column("consent_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("session_chain_id", IDENTIFIER, nullable=False),
        Column("participant", IDENTIFIER, nullable=False),
        Column("role", IDENTIFIER, nullable=False),
        Column("act", IDENTIFIER, nullable=False),
        Column("notice", Text, nullable=False),
        Column("idempotency_key", IDENTIFIER, nullable=False),
        Column("recorded_by", Text, nullable=False),
        Column("recorded_at", BigInteger, nullable=False),
        UniqueConstraint("consent_id"),
        UniqueConstraint(
            "organisation_id", "session_chain_id", "idempotency_key", name="recording_consents_idempotency_key"
        ),
        _organisation(),
        _session(),
        _person("participant"),
        _role(),
        CheckConstraint("act IN ('BANNER_SHOWN', 'GIVEN', 'REFUSED', 'WITHDRAWN')", name="act"),
        CheckConstraint("length(notice) BETWEEN 1 AND 200", name="notice"),
        _somebody("recorded_by"),
        Index("recording_consents_participant", "organisation_id", "session_chain_id", "participant", "consent_number"),
    )
    Table(
        "recordings",
        metadata,
        Column("recording_id", Uuid, primary_key=True, server_default=text("uuidv7()")),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("session_chain_id", IDENTIFIER, nullable=False),
        Column("room", IDENTIFIER, nullable=False),
        Column("operator", IDENTIFIER, nullable=False),
        Column("composite", IDENTIFIER, nullable=False),
        Column("annotations_expected", Boolean, nullable=False),
        # Whether a file without annotations that is within policy may be kept as it is: the organisation's choice.
        Column("stream_copy", Boolean, nullable=False),
        Column("key_prefix", IDENTIFIER, nullable=False),
        Column("requested_by", Text, nullable=False),
        Column("started_at", BigInteger, nullable=False),
        Column("state", IDENTIFIER, nullable=False, server_default=text("'STARTING'")),
        Column("stopped_at", BigInteger),
        Column("stopped_by", Text),
        Column("stop_reason", Text),
        Column("facts", JSONB),
        Column("failure_reason", Text),
        Column("failure_message", Text),
        Column("ended_at", BigInteger),
        # Since when nobody has been seen in the room.
        Column("empty_since", BigInteger),
        Column("last_error", Text, nullable=False, server_default=text("''")),
        Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
        Column("disposal_by", Text),
        Column("disposal_reason", Text),
        Column("disposal_decided_at", BigInteger),
        Column("disposed_at", BigInteger),
        # As those of clips.
        Column("protection_wanted", BigInteger, nullable=False, server_default=text("0")),
        Column("protection_done", BigInteger, nullable=False, server_default=text("0")),
        Column("protection_change", BigInteger, nullable=False, server_default=text("0")),
        Column("protection_enforced", Boolean),
        UniqueConstraint("key_prefix"),
        UniqueConstraint("recording_id", "organisation_id"),
        _organisation(),
        _session(),
        CheckConstraint("length(room) BETWEEN 1 AND 256", name="room"),
        _person("operator"),
        CheckConstraint("composite IN ('FROM_FILES', 'ROOM')", name="composite"),
        CheckConstraint(
            "starts_with(key_prefix, organisation_id || '/recordings/')"
            " AND key_prefix ~ '/recordings/[0-9]{4}/[0-9]{2}/[0-9]{2}/'"
            " AND right(key_prefix, 38) = '/' || recording_id || '/'",
            name="key_prefix",
        ),
        _somebody("requested_by"),
        CheckConstraint(
            "state IN ('STARTING', 'RECORDING', 'STOPPING', 'WAITING', 'PROCESSING', 'COMPLETED', 'FAILED',"
            " 'DISPOSING', 'DISPOSED')",
            name="state",
        ),
        CheckConstraint("length(stop_reason) <= 200", name="stop_reason"),
        # One running recording of a session, and one of a room: nobody is recorded twice at the same time.
        Index(
            "recordings_running_session", "organisation_id", "session_chain_id", unique=True, postgresql_where=_RUNNING
        ),
        Index("recordings_running_room", "room", unique=True, postgresql_where=_RUNNING),
        Index("recordings_started_at", "organisation_id", "started_at", "recording_id"),
        Index("recordings_session", "organisation_id", "session_chain_id", "started_at", "recording_id"),
        Index(
            "recordings_attended",
            "next_attempt_at",
            postgresql_where=text("state IN ('STARTING', 'RECORDING', 'STOPPING')"),
        ),
        Index("recordings_to_process", "next_attempt_at", postgresql_where=text("state IN ('WAITING', 'PROCESSING')")),
        Index("recordings_kept", "organisation_id", "ended_at", postgresql_where=_ENDED),
        Index("recordings_disposing", "next_attempt_at", postgresql_where=text("state = 'DISPOSING'")),
        Index("recordings_protection_change", "organisation_id", "protection_change", postgresql_where=_ENDED),
        Index(
            "recordings_unprotected",
            "next_attempt_at",
            postgresql_where=text("protection_done < protection_wanted AND state IN ('COMPLETED', 'FAILED')"),
        ),
    )


def _following(metadata: MetaData) -> None:
    Table(
        "recording_participants",
        metadata,
        Column("recording_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("participant", IDENTIFIER, nullable=False),
        Column("role", IDENTIFIER, nullable=False),
        Column("tile", Integer, nullable=False),
        Column("first_seen_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("recording_id", "participant"),
        UniqueConstraint("recording_id", "tile"),
        of_recording(),
        _person("participant"),
        _role(),
        CheckConstraint("tile BETWEEN 0 AND 6 AND (tile = 0) = (role = 'OPERATOR')", name="tile"),
    )
    Table(
        "recording_stays",
        metadata,
        Column("stay_id", Uuid, primary_key=True, server_default=text("uuidv7()")),
        Column("recording_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("part", IDENTIFIER, nullable=False),
        Column("participant", IDENTIFIER),
        Column("tile", Integer),
        Column("number", Integer, nullable=False),
        Column("raw_key", IDENTIFIER, nullable=False),
        Column("asked_at", BigInteger, nullable=False),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("tried_at", BigInteger),
        Column("state", IDENTIFIER, nullable=False, server_default=text("'ASKED'")),
        Column("egress_id", IDENTIFIER),
        Column("started_at", BigInteger),
        Column("stop_reason", Text),
        Column("stopped_at", BigInteger),
        Column("outcome", IDENTIFIER),
        Column("ended_at", BigInteger),
        Column("error", Text, nullable=False, server_default=text("''")),
        Column("file_started_at", BigInteger),
        Column("file_ended_at", BigInteger),
        Column("file_duration_us", BigInteger),
        Column("file_size", BigInteger),
        Column("file_location", Text),
        UniqueConstraint("raw_key"),
        UniqueConstraint("egress_id"),
        UniqueConstraint("recording_id", "tile", "number", postgresql_nulls_not_distinct=True),
        UniqueConstraint("stay_id", "recording_id", "organisation_id"),
        of_recording(),
        ForeignKeyConstraint(
            ["recording_id", "participant"],
            ["evidence.recording_participants.recording_id", "evidence.recording_participants.participant"],
        ),
        CheckConstraint(
            "part IN ('participant', 'composite') AND (part = 'composite') = (participant IS NULL)"
            " AND (part = 'composite') = (tile IS NULL)",
            name="part",
        ),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint(
            "raw_key = organisation_id || '/recordings/raw/' || recording_id || '/'"
            " || coalesce(tile::text, 'composite') || '-' || number || '.mp4'",
            name="raw_key",
        ),
        CheckConstraint("state IN ('ASKED', 'ACTIVE', 'STOPPING', 'ENDED')", name="state"),
        CheckConstraint(
            "outcome IN ('COMPLETE', 'CUT_BY_LIMIT', 'FAILED', 'ABORTED', 'NEVER_FINISHED')"
            " AND (state = 'ENDED') = (ended_at IS NOT NULL)",
            name="outcome",
        ),
        CheckConstraint(
            "(state = 'ENDED') = (outcome IS NOT NULL) AND (state <> 'ACTIVE' OR egress_id IS NOT NULL)", name="ended"
        ),
        # One egress of each participant, and one of the room, at a time.
        Index(
            "recording_stays_open",
            "recording_id",
            "participant",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("state <> 'ENDED'"),
        ),
    )
    Table(
        "recording_webhooks",
        metadata,
        Column("event_id", IDENTIFIER, primary_key=True),
        Column("recording_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("event", IDENTIFIER, nullable=False),
        Column("egress_id", IDENTIFIER),
        Column("participant", IDENTIFIER),
        Column("body_sha256", LargeBinary, nullable=False),
        Column("received_at", BigInteger, nullable=False),
        of_recording(),
        CheckConstraint("length(event_id) BETWEEN 1 AND 200", name="event_id"),
        _digest("body_sha256"),
        Index("recording_webhooks_recording_id", "recording_id", "received_at"),
    )
    Table(
        "recording_remarks",
        metadata,
        Column("remark_id", BigInteger, Identity(always=True), primary_key=True),
        Column("recording_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("text", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
        of_recording(),
        CheckConstraint("length(text) BETWEEN 1 AND 500", name="text"),
        # The same thing is said once, however often it is tried again.
        Index("recording_remarks_once", "recording_id", "text", unique=True),
    )


def _processing(metadata: MetaData) -> None:
    Table(
        "recording_annotations",
        metadata,
        Column("recording_id", Uuid, primary_key=True),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("document", LargeBinary, nullable=False),
        Column("sha256", LargeBinary, nullable=False),
        Column("handed_by", Text, nullable=False),
        Column("handed_at", BigInteger, nullable=False),
        of_recording(),
        CheckConstraint("length(document) <= 4194304", name="document"),
        CheckConstraint("sha256 = sha256(document)", name="sha256"),
        _somebody("handed_by"),
    )
    Table(
        "recording_jobs",
        metadata,
        Column("job_id", Uuid, primary_key=True, server_default=text("uuidv7()")),
        Column("recording_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("task", IDENTIFIER, nullable=False),
        # What of the recording the task is about, where there are several.
        Column("subject", IDENTIFIER, nullable=False, server_default=text("''")),
        Column("stay_id", Uuid),
        Column("state", IDENTIFIER, nullable=False, server_default=text("'OPEN'")),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("last_error", Text, nullable=False, server_default=text("''")),
        Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
        Column("leased_until", DateTime(timezone=True)),
        Column("lease_owner", Text),
        Column("lease_number", BigInteger, nullable=False, server_default=text("0")),
        Column("facts", JSONB),
        Column("failure_reason", Text),
        Column("failure_message", Text),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
        Column("ended_at", BigInteger),
        UniqueConstraint("recording_id", "task", "subject"),
        of_recording(),
        _of_stay(),
        CheckConstraint("task ~ '^[a-z][a-z_]{0,30}$'", name="task"),
        CheckConstraint("state IN ('OPEN', 'DONE', 'FAILED')", name="state"),
        Index("recording_jobs_due", "next_attempt_at", postgresql_where=text("state = 'OPEN'")),
    )
    Table(
        "recording_raws",
        metadata,
        Column("raw_id", Uuid, primary_key=True),
        Column("stay_id", Uuid, nullable=False),
        Column("recording_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("key", IDENTIFIER, nullable=False),
        Column("version_id", IDENTIFIER),
        Column("size", BigInteger, nullable=False),
        Column("sha256", LargeBinary, nullable=False),
        # Of several that one egress left, files are made from one.
        Column("counts", Boolean, nullable=False),
        Column("read_at", BigInteger, nullable=False),
        UniqueConstraint("raw_id", "recording_id", "organisation_id"),
        _of_stay(),
        CheckConstraint("size >= 0", name="size"),
        _digest("sha256"),
        Index("recording_raws_counts", "stay_id", unique=True, postgresql_where=text("counts")),
        Index("recording_raws_recording_id", "recording_id"),
    )
    Table(
        "recording_raw_ends",
        metadata,
        Column("raw_id", Uuid, primary_key=True),
        Column("recording_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("fate", IDENTIFIER, nullable=False),
        Column("why", Text, nullable=False),
        Column("decided_at", BigInteger, nullable=False),
        ForeignKeyConstraint(
            ["raw_id", "recording_id", "organisation_id"],
            [f"evidence.recording_raws.{name}" for name in ("raw_id", "recording_id", "organisation_id")],
        ),
        CheckConstraint("fate IN ('DROPPED', 'KEPT')", name="fate"),
    )


def _outcome(metadata: MetaData) -> None:
    Table(
        "recording_files",
        metadata,
        Column("file_id", Uuid, nullable=False),
        Column("recording_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("name", IDENTIFIER, nullable=False),
        Column("role", IDENTIFIER, nullable=False),
        Column("participant", IDENTIFIER),
        Column("tile", Integer),
        Column("media_type", Text, nullable=False),
        Column("key", IDENTIFIER, nullable=False),
        Column("version_id", IDENTIFIER),
        Column("size", BigInteger, nullable=False),
        Column("sha256", LargeBinary, nullable=False),
        Column("raw_sha256", ARRAY(LargeBinary), nullable=False, server_default=text("'{}'")),
        Column("annotation_sha256", LargeBinary),
        Column("offset_us", BigInteger),
        Column("starts_at", BigInteger),
        Column("duration_us", BigInteger),
        Column("facts", JSONB),
        Column("stored_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("recording_id", "name"),
        UniqueConstraint("file_id"),
        UniqueConstraint("key", "version_id", postgresql_nulls_not_distinct=True),
        of_recording(),
        CheckConstraint("name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'", name="name"),
        CheckConstraint(
            "role IN ('composite', 'participant', 'audio', 'video', 'annotations', 'document')", name="role"
        ),
        CheckConstraint("size > 0", name="size"),
        _digest("sha256"),
        _digest("annotation_sha256"),
    )
    Table(
        "recording_accesses",
        metadata,
        Column("access_id", Uuid, primary_key=True),
        Column("recording_id", Uuid, nullable=False),
        Column("organisation_id", IDENTIFIER, nullable=False),
        Column("kind", IDENTIFIER, nullable=False),
        Column("who", Text, nullable=False),
        Column("file", IDENTIFIER),
        Column("detail", JSONB, nullable=False),
        Column("at", BigInteger, nullable=False),
        of_recording(),
        CheckConstraint("kind IN ('link', 'download', 'export', 'verify')", name="kind"),
        _somebody("who"),
        Index("recording_accesses_recording_id", "recording_id", "at"),
    )


def of_recording() -> ForeignKeyConstraint:
    """A recording of the same organisation."""
    return ForeignKeyConstraint(
        ["recording_id", "organisation_id"],
        ["evidence.recordings.recording_id", "evidence.recordings.organisation_id"],
    )


def _of_stay() -> ForeignKeyConstraint:
    names = ("stay_id", "recording_id", "organisation_id")
    return ForeignKeyConstraint(names, [f"evidence.recording_stays.{name}" for name in names])


def _organisation() -> CheckConstraint:
    return CheckConstraint(f"organisation_id {_IDENTIFIER}", name="organisation_id")


def _session() -> CheckConstraint:
    return CheckConstraint(
        f"session_chain_id {_IDENTIFIER} AND session_chain_id <> 'operations'", name="session_chain_id"
    )


def _person(column: str) -> CheckConstraint:
    return CheckConstraint(f"length({column}) BETWEEN 1 AND 128", name=column)


def _role() -> CheckConstraint:
    return CheckConstraint("role IN ('OPERATOR', 'FIELD')", name="role")


def _digest(column: str) -> CheckConstraint:
    return CheckConstraint(f"length({column}) = 32", name=column)


def _somebody(column: str) -> CheckConstraint:
    return CheckConstraint(rf"btrim({column}, E' \t\r\n') <> ''", name=column)
