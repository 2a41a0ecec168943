"""Let legal holds stand on recordings as well as on clips."""

from media.records.migrations import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("0007_recording_holds")
