"""Know what is pending on session chains, and guard what follows the end of a session."""

from ledger.store.migrations import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("0007_sessions")
