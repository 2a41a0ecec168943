"""What `indelible migrate` needs to know of this schema; `ledger.store.migrate` reads these names."""

from collections.abc import Mapping

SCHEMA = "gateway"
# The package of Alembic's versions; its `sql/roles.sql` makes the login roles.
MIGRATIONS = "gateway.records.migrations"
DOOR_ROLE = "indelible_gateway"
WORKER_ROLE = "indelible_gateway_worker"
# Each login role, and the variable whose address holds its password.
LOGIN_ROLES: Mapping[str, str] = {DOOR_ROLE: "INDELIBLE_GATEWAY_DSN", WORKER_ROLE: "INDELIBLE_GATEWAY_WORKER_DSN"}
