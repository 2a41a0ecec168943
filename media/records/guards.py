"""What guards the records in the database (migrations/sql), so that a service can check it before it serves."""

from ledger.database.guards import OWN_ORGANISATION, Guards
from media.records.migrations import read_sql
from media.records.schema import SCHEMA

_INSERT_ONLY = (
    *("artefacts", "kept_objects", "holds", "hold_lifts", "accesses", "retention_changes"),
    *("recording_consents", "recording_participants", "recording_webhooks", "recording_remarks"),
    *("recording_annotations", "recording_raws", "recording_raw_ends", "recording_files", "recording_accesses"),
)
_NEVER_REMOVED = ("clips", "notes", "recordings", "recording_stays", "recording_jobs")
_TABLES = (*_INSERT_ONLY, *_NEVER_REMOVED)
# Table, trigger, event, function.
_OF_ROWS = (
    ("clips", "guard_new_clip", "INSERT", "guard_new_clip"),
    ("clips", "guard_clip", "UPDATE", "guard_clip"),
    ("artefacts", "guard_artefact", "INSERT", "guard_stored_object"),
    ("kept_objects", "guard_kept_object", "INSERT", "guard_stored_object"),
    ("notes", "guard_new_note", "INSERT", "guard_new_note"),
    ("notes", "guard_note", "UPDATE", "guard_note"),
    ("notes", "guard_note_of_recording", "UPDATE", "guard_note_of_recording"),
    ("recording_consents", "lock_session", "INSERT", "lock_session"),
    ("recordings", "guard_new_recording", "INSERT", "guard_new_recording"),
    ("recordings", "guard_recording", "UPDATE", "guard_recording"),
    ("recordings", "guard_held_recording", "UPDATE", "guard_held_recording"),
    ("recording_stays", "guard_new_stay", "INSERT", "guard_new_stay"),
    ("recording_stays", "guard_stay", "UPDATE", "guard_stay"),
    ("recording_jobs", "guard_new_job", "INSERT", "guard_new_job"),
    ("recording_jobs", "guard_job", "UPDATE", "guard_job"),
    ("recording_files", "guard_recording_file", "INSERT", "guard_recording_file"),
    ("recording_raw_ends", "guard_raw_end", "INSERT", "guard_raw_end"),
    *((table, "refuse_change_of_row", "DELETE OR UPDATE", "refuse_change") for table in _INSERT_ONLY),
    *((table, "refuse_removal_of_row", "DELETE", "refuse_change") for table in _NEVER_REMOVED),
)
_OF_STATEMENTS = (
    *((table, "refuse_change", "DELETE OR UPDATE OR TRUNCATE") for table in _INSERT_ONLY),
    *((table, "refuse_removal", "DELETE OR TRUNCATE") for table in _NEVER_REMOVED),
)


def _becomes(state: str) -> str:
    return f"WHEN (((new.state = '{state}'::text) AND (old.state <> '{state}'::text))) "


# Table and trigger, before an insert, whose name is the function's; and the condition.
_OF_SOME_ROWS = (
    *(
        (table, f"touch_held_{subject}", f"(new.{subject}_id IS NOT NULL)")
        for table in ("holds", "hold_lifts")
        for subject in ("clip", "recording")
    ),
    ("recording_raw_ends", "guard_held_raw", "(new.fate = 'DROPPED'::text)"),
)
# Table, trigger, event, condition; then what the function is given: the kind of note and what it is about.
_NOTED = (
    *(
        ("clips", f"note_{state.lower()}", "UPDATE", _becomes(state), f"'clip.{state.lower()}', 'clip_id'")
        for state in ("PRESERVED", "FAILED", "DISPOSED")
    ),
    ("holds", "note_placed", "INSERT", "", "'hold.placed', 'hold_id'"),
    ("hold_lifts", "note_lifted", "INSERT", "", "'hold.lifted', 'hold_id'"),
    ("accesses", "note_accessed", "INSERT", "", "'clip.accessed', 'access_id'"),
    ("retention_changes", "note_changed", "INSERT", "", "'retention.changed', 'change_id'"),
)
_DROPPED = "WHEN ((new.fate = 'DROPPED'::text)) "
_STAY_STARTED = "WHEN (((new.egress_id IS NOT NULL) AND (old.egress_id IS NULL))) "
_NOTED_OF_RECORDINGS = (
    ("recording_consents", "note_consent", "INSERT", "", "'consent.%', 'consent_id', 'act'"),
    ("recordings", "note_started", "INSERT", "", "'recording.started', 'recording_id'"),
    *(
        (
            *("recordings", f"note_{kind}", "UPDATE", _becomes(state)),
            f"'recording.{kind}', 'recording_id'",
        )
        for state, kind in (
            *(("STOPPING", "stopped"), ("COMPLETED", "completed")),
            *(("FAILED", "failed"), ("DISPOSED", "disposed")),
        )
    ),
    ("recording_stays", "note_active", "UPDATE", _STAY_STARTED, "'recording.%_started', 'stay_id', 'part'"),
    ("recording_stays", "note_ended", "UPDATE", _becomes("ENDED"), "'recording.%_ended', 'stay_id', 'part'"),
    ("recording_raws", "note_hashed", "INSERT", "", "'recording.file_hashed', 'raw_id'"),
    ("recording_raw_ends", "note_dropped", "INSERT", _DROPPED, "'recording.raw_dropped', 'raw_id'"),
    ("recording_files", "note_stored", "INSERT", "", "'recording.file_stored', 'file_id'"),
    ("recording_accesses", "note_recording_accessed", "INSERT", "", "'recording.accessed', 'access_id'"),
)

EVIDENCE_GUARDS = Guards(
    schema=SCHEMA,
    policies={**dict.fromkeys(_TABLES, (OWN_ORGANISATION,)), "turns": ()},
    triggers={
        **{
            (table, name): (
                f"CREATE TRIGGER {name} BEFORE {event} ON evidence.{table} "
                f"FOR EACH ROW EXECUTE FUNCTION evidence.{function}()"
            )
            for table, name, event, function in _OF_ROWS
        },
        **{
            (table, name): (
                f"CREATE TRIGGER {name} BEFORE INSERT ON evidence.{table} "
                f"FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION evidence.{name}()"
            )
            for table, name, condition in _OF_SOME_ROWS
        },
        **{
            (table, name): (
                f"CREATE TRIGGER {name} BEFORE {event} ON evidence.{table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION evidence.refuse_change()"
            )
            for table, name, event in _OF_STATEMENTS
        },
        **{
            (table, name): (
                f"CREATE CONSTRAINT TRIGGER {name} AFTER {event} ON evidence.{table} DEFERRABLE INITIALLY DEFERRED "
                f"FOR EACH ROW {when}EXECUTE FUNCTION evidence.{function}({arguments})"
            )
            for function, noted in (("require_note", _NOTED), ("require_recording_note", _NOTED_OF_RECORDINGS))
            for table, name, event, when, arguments in noted
        },
    },
    functions="".join(map(read_sql, ("0002_guards", "0005_recording_guards", "0007_recording_holds"))),
    unique=frozenset(
        {
            "clips_organisation_id_source_id_incident_id_key",
            "clips_key_prefix_key",
            "artefacts_key_version_id_key",
            "hold_lifts_pkey",
            "notes_organisation_id_chain_id_kind_subject_id_key",
            "recording_consents_idempotency_key",
            "recordings_running_session",
            "recordings_running_room",
            "recording_stays_open",
            "recording_stays_raw_key_key",
            "recording_stays_egress_id_key",
            "recording_raws_counts",
            "recording_webhooks_pkey",
            "recording_files_key_version_id_key",
            "recording_jobs_recording_id_task_subject_key",
        }
    ),
    forbidden=(
        *((table, privilege) for table in _TABLES for privilege in ("DELETE", "TRUNCATE", "TRIGGER", "REFERENCES")),
        *((table, "UPDATE") for table in _INSERT_ONLY),
    ),
)
