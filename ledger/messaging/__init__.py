"""NATS JetStream at the ledger's edge: append requests in (`inbox`), committed events out (`outbox`).

NATS is delivery, never evidence. PostgreSQL alone decides what was appended: a request is acknowledged after its commit
only, and an event is published after its commit only. Either side may die at any moment; what was not acknowledged is
delivered again, and idempotency keys (in) and message ids (out) make the repetition harmless.
"""
