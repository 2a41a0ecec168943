"""Grant each role what it needs and separate organisations."""

from media.records.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("0003_access")
