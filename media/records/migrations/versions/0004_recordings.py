"""Create the tables of recordings."""

from media.records.migrations import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("0004_recordings")
