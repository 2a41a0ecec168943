"""What guards the record of clips in the database (migrations/sql), so that a service can check it before it serves."""

from ledger.database.guards import OWN_ORGANISATION, Guards
from media.records.migrations import read_sql
from media.records.schema import SCHEMA
from media.records.tables import metadata

_INSERT_ONLY = ("artefacts", "kept_objects", "holds", "hold_lifts", "accesses", "retention_changes")
_NEVER_REMOVED = ("clips", "notes")
_TABLES = (*_INSERT_ONLY, *_NEVER_REMOVED)
# Table, trigger, event, function.
_OF_ROWS = (
    ("clips", "guard_new_clip", "INSERT", "guard_new_clip"),
    ("clips", "guard_clip", "UPDATE", "guard_clip"),
    ("artefacts", "guard_artefact", "INSERT", "guard_stored_object"),
    ("kept_objects", "guard_kept_object", "INSERT", "guard_stored_object"),
    ("holds", "touch_held_clip", "INSERT", "touch_held_clip"),
    ("hold_lifts", "touch_held_clip", "INSERT", "touch_held_clip"),
    ("notes", "guard_new_note", "INSERT", "guard_new_note"),
    ("notes", "guard_note", "UPDATE", "guard_note"),
    *((table, "refuse_change_of_row", "DELETE OR UPDATE", "refuse_change") for table in _INSERT_ONLY),
    *((table, "refuse_removal_of_row", "DELETE", "refuse_change") for table in _NEVER_REMOVED),
)
_OF_STATEMENTS = (
    *((table, "refuse_change", "DELETE OR UPDATE OR TRUNCATE") for table in _INSERT_ONLY),
    *((table, "refuse_removal", "DELETE OR TRUNCATE") for table in _NEVER_REMOVED),
)
# Table, trigger, event, condition, kind of note, what it is about.
_NOTED = (
    *(
        (
            "clips",
            f"note_{state.lower()}",
            "UPDATE",
            f"WHEN (((new.state = '{state}'::text) AND (old.state <> '{state}'::text))) ",
            f"clip.{state.lower()}",
            "clip_id",
        )
        for state in ("PRESERVED", "FAILED", "DISPOSED")
    ),
    ("holds", "note_placed", "INSERT", "", "hold.placed", "hold_id"),
    ("hold_lifts", "note_lifted", "INSERT", "", "hold.lifted", "hold_id"),
    ("accesses", "note_accessed", "INSERT", "", "clip.accessed", "access_id"),
    ("retention_changes", "note_changed", "INSERT", "", "retention.changed", "change_id"),
)

EVIDENCE_GUARDS = Guards(
    schema=SCHEMA,
    policies={table.name: () if table.name == "turns" else (OWN_ORGANISATION,) for table in metadata.tables.values()},
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
                f"CREATE TRIGGER {name} BEFORE {event} ON evidence.{table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION evidence.refuse_change()"
            )
            for table, name, event in _OF_STATEMENTS
        },
        **{
            (table, name): (
                f"CREATE CONSTRAINT TRIGGER {name} AFTER {event} ON evidence.{table} DEFERRABLE INITIALLY DEFERRED "
                f"FOR EACH ROW {when}EXECUTE FUNCTION evidence.require_note('{kind}', '{subject}')"
            )
            for table, name, event, when, kind, subject in _NOTED
        },
    },
    functions=read_sql("0002_guards"),
    unique=frozenset(
        {
            "clips_organisation_id_source_id_incident_id_key",
            "clips_key_prefix_key",
            "artefacts_key_version_id_key",
            "hold_lifts_pkey",
            "notes_organisation_id_chain_id_kind_subject_id_key",
        }
    ),
    forbidden=(
        *((table, privilege) for table in _TABLES for privilege in ("DELETE", "TRUNCATE", "TRIGGER", "REFERENCES")),
        *((table, "UPDATE") for table in _INSERT_ONLY),
    ),
)
