"""Keep the block headers that anchors led to."""

from ledger.store.migrations import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("0006_block_headers")
