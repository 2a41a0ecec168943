"""Create the tables of identity and policy, and what separates organisations."""

from gateway.records.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("0001_access")
