"""Tell an endpoint of events by their place in the chain, and find what is being sent without looking at what waits."""

from gateway.records.migrations import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("0004_webhook_beginnings")
