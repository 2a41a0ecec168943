"""What the gateway remembers, in PostgreSQL: credentials, who may do what, and decisions on their way to the ledger."""
