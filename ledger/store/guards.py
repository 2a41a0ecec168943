"""What guards the ledger's record in the database (migrations/sql): the service compares before it serves."""

from ledger.database.guards import OWN_ORGANISATION, Guards
from ledger.store.migrations import read_sql

_RECORD = (
    "organisations",
    "chains",
    "events",
    "item_steps",
    "anchors",
    "anchor_evidence",
    "verify_links",
    "verify_link_revocations",
)
_OF_ONE_ORGANISATION = (
    "chains",
    "item_steps",
    "session_ends",
    "disclosures",
    "anchor_jobs",
    "anchors",
    "anchor_evidence",
    "verify_links",
    "verify_link_revocations",
)
# Hidden from everyone under row-level security: the worker's own notes, in which organisations are not told apart.
_OF_THE_WORKER = ("tezos_batches", "tezos_attempts", "tezos_heads")
# Table, trigger: the definition as PostgreSQL writes it.
_TRIGGERS = {
    ("events", "guard_events"): (
        "CREATE TRIGGER guard_events AFTER INSERT ON indelible.events REFERENCING NEW TABLE AS inserted "
        "FOR EACH STATEMENT EXECUTE FUNCTION indelible.guard_events()"
    ),
    ("events", "guard_sessions"): (
        "CREATE TRIGGER guard_sessions AFTER INSERT ON indelible.events REFERENCING NEW TABLE AS inserted "
        "FOR EACH STATEMENT EXECUTE FUNCTION indelible.guard_sessions()"
    ),
    ("events", "queue_events"): (
        "CREATE TRIGGER queue_events AFTER INSERT ON indelible.events REFERENCING NEW TABLE AS inserted "
        "FOR EACH STATEMENT EXECUTE FUNCTION indelible.queue_events()"
    ),
    ("item_steps", "guard_steps"): (
        "CREATE TRIGGER guard_steps BEFORE INSERT ON indelible.item_steps "
        "FOR EACH ROW EXECUTE FUNCTION indelible.guard_steps()"
    ),
    # The one row that changes: once, when its chain is closed.
    ("session_ends", "guard_session_ends"): (
        "CREATE TRIGGER guard_session_ends BEFORE INSERT OR UPDATE ON indelible.session_ends "
        "FOR EACH ROW EXECUTE FUNCTION indelible.guard_session_ends()"
    ),
    ("session_ends", "refuse_change"): (
        "CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON indelible.session_ends "
        "FOR EACH STATEMENT EXECUTE FUNCTION indelible.refuse_change()"
    ),
    ("session_ends", "refuse_change_of_row"): (
        "CREATE TRIGGER refuse_change_of_row BEFORE DELETE ON indelible.session_ends "
        "FOR EACH ROW EXECUTE FUNCTION indelible.refuse_change()"
    ),
    **{
        (table, "refuse_change"): (
            f"CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON indelible.{table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION indelible.refuse_change()"
        )
        for table in _RECORD
    },
    **{
        (table, "refuse_change_of_row"): (
            f"CREATE TRIGGER refuse_change_of_row BEFORE DELETE OR UPDATE ON indelible.{table} "
            "FOR EACH ROW EXECUTE FUNCTION indelible.refuse_change()"
        )
        for table in _RECORD
    },
    **{
        (table, "guard_organisation"): (
            f"CREATE TRIGGER guard_organisation BEFORE INSERT ON indelible.{table} "
            "FOR EACH ROW EXECUTE FUNCTION indelible.guard_organisation()"
        )
        for table in _OF_ONE_ORGANISATION
    },
}

LEDGER_GUARDS = Guards(
    schema="indelible",
    policies={
        **dict.fromkeys((*_RECORD, *_OF_ONE_ORGANISATION, "outbox"), (OWN_ORGANISATION,)),
        **dict.fromkeys(_OF_THE_WORKER, ()),
    },
    triggers=_TRIGGERS,
    functions=read_sql("0002_guards") + read_sql("0007_sessions"),
    unique=frozenset(
        {"events_chain_key_sequence_key", "events_chain_key_prev_hash_key", "events_chain_key_idempotency_key_key"}
    ),
    forbidden=tuple(
        (table, privilege)
        for table in (*_RECORD, "session_ends")
        for privilege in ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES")
    ),
)
