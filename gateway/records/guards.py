"""What guards the gateway's records in the database (migrations/sql), so that a process can check it before serving."""

from gateway.records.migrations import read_sql
from gateway.records.schema import SCHEMA
from ledger.database.guards import OWN_ORGANISATION, Guards

# Rows are never removed: `SELECT gateway.never_remove(...)`.
NEVER_REMOVED = ("credentials", "credential_secrets", "assignments", "webhook_endpoints", "alert_sources")
_TABLES = (
    *NEVER_REMOVED,
    *("sites", "cameras", "custom_roles", "decisions", "idempotency_keys", "webhook_secrets", "webhook_deliveries"),
    *("webhook_attempts", "webhook_cursors", "alerts_seen"),
)
# The migrations that create functions.
_WITH_FUNCTIONS = ("0001_access",)

GATEWAY_GUARDS = Guards(
    schema=SCHEMA,
    policies=dict.fromkeys(_TABLES, (OWN_ORGANISATION,)),
    triggers={
        **{
            (table, "refuse_removal"): (
                f"CREATE TRIGGER refuse_removal BEFORE DELETE OR TRUNCATE ON gateway.{table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION gateway.refuse_change()"
            )
            for table in NEVER_REMOVED
        },
        ("decisions", "guard_decision"): (
            "CREATE TRIGGER guard_decision BEFORE DELETE ON gateway.decisions "
            "FOR EACH ROW EXECUTE FUNCTION gateway.guard_decision()"
        ),
        ("decisions", "refuse_truncation"): (
            "CREATE TRIGGER refuse_truncation BEFORE TRUNCATE ON gateway.decisions "
            "FOR EACH STATEMENT EXECUTE FUNCTION gateway.refuse_change()"
        ),
    },
    functions="\n".join(read_sql(name) for name in _WITH_FUNCTIONS),
    unique=frozenset(
        {
            "credentials_pkey",
            "credential_secrets_secret_sha256_key",
            "assignments_standing",
            "custom_roles_pkey",
            # What is told twice, or done twice, without them.
            "webhook_deliveries_endpoint_id_message_id_key",
            "webhook_cursors_pkey",
            "alerts_seen_pkey",
        }
    ),
    forbidden=(
        *((table, privilege) for table in NEVER_REMOVED for privilege in ("DELETE", "UPDATE", "TRUNCATE", "TRIGGER")),
        *(("decisions", privilege) for privilege in ("UPDATE", "TRUNCATE", "TRIGGER")),
    ),
)
