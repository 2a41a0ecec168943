"""Add what the database refuses by itself about recordings."""

from media.records.migrations import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("0005_recording_guards")
