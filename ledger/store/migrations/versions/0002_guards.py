"""Make the database guard its record."""

from ledger.store.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("0002_guards")
