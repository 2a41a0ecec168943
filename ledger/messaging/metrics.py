"""What messaging tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class InboxMetrics:
    """The inbox's metrics in `registry`; make one per registry.

    The label `outcome` is appended, replayed (its idempotency key was known), postponed or dead.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "indelible_inbox_requests", "Append requests taken from NATS, by outcome.", ["outcome"], registry=registry
        )


class OutboxMetrics:
    """The outbox's metrics in `registry`; make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter("indelible_outbox_published", "Events published to NATS.", registry=registry)
        self.active = Gauge(
            "indelible_outbox_active", "1 while this process is the one that publishes.", registry=registry
        )
        self.waiting = Gauge(
            "indelible_outbox_waiting",
            "Appends found waiting when the outbox was last read, at most one reading's worth.",
            registry=registry,
        )
