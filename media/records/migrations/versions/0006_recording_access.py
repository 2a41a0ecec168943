"""Grant each role what it needs of recordings."""

from media.records.migrations import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("0006_recording_access")
