"""What operators watch of webhooks."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class WebhookMetrics:
    """Counters and gauges of one worker; the gauges say the same in every one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "indelible_webhook_attempts",
            "Attempts at delivering a webhook, by outcome: accepted or failed.",
            ["outcome"],
            registry=registry,
        )
        self.pending = Gauge("indelible_webhooks_pending", "Webhooks still to be delivered.", registry=registry)
        self.dead = Gauge("indelible_webhooks_dead", "Webhooks given up, and still kept.", registry=registry)
        self.oldest_pending_seconds = Gauge(
            "indelible_webhooks_oldest_pending_seconds",
            "Age of the oldest webhook that is still to be delivered; 0 when none is.",
            registry=registry,
        )
