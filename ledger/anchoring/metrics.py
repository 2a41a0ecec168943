"""What the anchoring worker tells Prometheus. The ages of what waits are what to watch and to alert on."""

from collections.abc import Collection, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ledger.store.values import AnchorTarget

# Authorities answer in tenths of seconds; a backend that must wait for a block, in minutes.
_LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class AnchoringMetrics:
    """The worker's metrics in `registry`; make one per registry.

    The label `outcome` is obtained, in_progress, refused, unavailable, defect, not_stored, or duplicate (another
    worker had stored it first).
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.oldest_unanchored_seconds = Gauge(
            "indelible_anchoring_oldest_unanchored_seconds",
            "Age of the oldest checkpoint that a configured authority has still to anchor; 0 when none waits.",
            registry=registry,
        )
        self.oldest_pending_seconds = Gauge(
            "indelible_anchoring_oldest_pending_seconds",
            "Age of the oldest checkpoint that this configured authority has still to anchor; 0 when none waits.",
            ["backend", "authority"],
            registry=registry,
        )
        self.pending = Gauge(
            "indelible_anchoring_pending",
            "Checkpoints that wait for this authority, also when it is no longer configured.",
            ["backend", "authority"],
            registry=registry,
        )
        self.attempts = Counter(
            "indelible_anchoring_attempts",
            "Attempts to get an anchor, by outcome.",
            ["backend", "authority", "outcome"],
            registry=registry,
        )
        self.latency_seconds = Histogram(
            "indelible_anchoring_latency_seconds",
            "Time from asking an authority to its verified answer.",
            ["backend", "authority"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )

    def show_waiting(
        self,
        targets: Collection[AnchorTarget],
        *,
        oldest: Mapping[AnchorTarget, datetime],
        counts: Mapping[AnchorTarget, int],
        now: datetime,
    ) -> None:
        """Set the gauges of what waits: since when, for configured `targets`; how many, for others as well.

        Jobs of an authority that is no longer configured wait for ever; they are counted here, not in the ages.
        """
        ages = {target: max((now - asked_for).total_seconds(), 0.0) for target, asked_for in oldest.items()}
        self.oldest_unanchored_seconds.set(max(ages.values(), default=0.0))
        for target in {*targets, *ages}:
            self.oldest_pending_seconds.labels(target.backend, target.authority).set(ages.get(target, 0.0))
        for target in {*targets, *counts}:
            self.pending.labels(target.backend, target.authority).set(counts.get(target, 0))
