"""What `indelible migrate` needs to know of this schema; `ledger.store.migrate` reads these names."""

from collections.abc import Mapping

SCHEMA = "evidence"
# The package of Alembic's versions; its `sql/roles.sql` makes the login roles.
MIGRATIONS = "media.records.migrations"
CALLER_ROLE = "indelible_evidence"
WORKER_ROLE = "indelible_evidence_worker"
# Each login role, and the variable whose address holds its password.
LOGIN_ROLES: Mapping[str, str] = {CALLER_ROLE: "INDELIBLE_EVIDENCE_DSN", WORKER_ROLE: "INDELIBLE_EVIDENCE_WORKER_DSN"}
