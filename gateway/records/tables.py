"""Every table of the gateway. Each part declares its own; the migrations build the same: a test compares."""

from gateway.records import access_tables, repeats_tables, webhook_tables
from gateway.records.base import metadata

__all__ = ["access_tables", "metadata", "repeats_tables", "webhook_tables"]
