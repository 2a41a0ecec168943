"""Add what the database refuses by itself."""

from media.records.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("0002_guards")
