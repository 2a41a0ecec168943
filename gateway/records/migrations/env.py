"""Alembic's entry point: runs the versions on the connection that `indelible migrate` hands over."""

from alembic import context

from gateway.records.schema import SCHEMA
from gateway.records.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    # A failed version leaves nothing behind.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
