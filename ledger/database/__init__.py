"""PostgreSQL as every package here uses it: connections, the schema's history, and guards that are checked."""
