"""The names of the ledger's roles in PostgreSQL (store/migrations/sql/roles.sql says what each may do)."""

OWNER_ROLE = "indelible_owner"
RUNTIME_ROLE = "indelible_runtime"
APPEND_ROLE = "indelible_append"
WORKER_ROLE = "indelible_worker"
