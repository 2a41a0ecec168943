"""What the evidence service tells Prometheus, beside what is measured of every gRPC service."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from media.records.values import Pending

JOB_BUCKETS_SECONDS = (1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1_800, 3_600)


class WorkerMetrics:
    """The worker's metrics in `registry`; make one per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.jobs = Counter(
            "indelible_evidence_jobs",
            "Clips worked on, by outcome: preserved, failed, waiting, postponed, lost.",
            ["outcome"],
            registry=registry,
        )
        self.job_seconds = Histogram(
            "indelible_evidence_job_seconds",
            "Seconds from taking a clip up to its preservation.",
            buckets=JOB_BUCKETS_SECONDS,
            registry=registry,
        )
        self.steps = Counter(
            "indelible_evidence_recording_steps",
            "Steps of recordings' processing, by step and outcome: done, waiting, postponed, failed, lost.",
            ["step", "outcome"],
            registry=registry,
        )
        self.swept = Counter("indelible_evidence_swept", "Uploads deleted that no record owned.", registry=registry)
        self._waiting = Gauge("indelible_evidence_waiting_clips", "Clips that are still to be made.", registry=registry)
        self._oldest = Gauge(
            "indelible_evidence_oldest_waiting_seconds", "How long the oldest of them has waited.", registry=registry
        )
        self._steps = Gauge(
            "indelible_evidence_waiting_recording_steps",
            "Steps of recordings' processing that are still to be done.",
            registry=registry,
        )
        self._notes = Gauge(
            "indelible_evidence_waiting_notes", "Events that are still to be told to the ledger.", registry=registry
        )
        self._disposals = Gauge(
            "indelible_evidence_waiting_disposals", "Clips whose bytes are still to be deleted.", registry=registry
        )
        self._unprotected = Gauge(
            "indelible_evidence_unprotected_clips",
            "Clips whose locks in the store are not as on record.",
            registry=registry,
        )

    def count(self, pending: Pending) -> None:
        """What waits now."""
        oldest = pending.oldest_clip_at
        self._waiting.set(pending.clips)
        self._oldest.set(0 if oldest is None else time.time() - oldest / 1_000_000)
        self._steps.set(pending.steps)
        self._notes.set(pending.notes)
        self._disposals.set(pending.disposals)
        self._unprotected.set(pending.unprotected)


class InboxMetrics:
    """Requests that came through NATS, in `registry`.

    The label `outcome` is created, known (it had been asked for, or handed over), postponed or dead.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "indelible_evidence_inbox_requests",
            "Extraction requests taken from NATS, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self.process_requests = Counter(
            "indelible_evidence_inbox_annotations",
            "Annotations of recordings taken from NATS, by outcome.",
            ["outcome"],
            registry=registry,
        )


class RecordingMetrics:
    """Recordings that LiveKit is busy with, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._running = Gauge(
            "indelible_evidence_running_recordings", "Recordings that are running.", registry=registry
        )
        self._stopping = Gauge(
            "indelible_evidence_stopping_recordings",
            "Recordings that were stopped and whose files LiveKit has not finished.",
            registry=registry,
        )
        self._oldest = Gauge(
            "indelible_evidence_oldest_stopping_seconds",
            "How long ago the oldest of them was stopped.",
            registry=registry,
        )

    def count(self, running: int, stopping: int, oldest_stopped_at: int | None) -> None:
        """What LiveKit is busy with now."""
        self._running.set(running)
        self._stopping.set(stopping)
        self._oldest.set(0 if oldest_stopped_at is None else time.time() - oldest_stopped_at / 1_000_000)


class WebhookMetrics:
    """Reports of LiveKit's, in `registry`. The label `outcome` is fresh, known, refused, limited or postponed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reports = Counter(
            "indelible_evidence_livekit_reports", "LiveKit's reports, by outcome.", ["outcome"], registry=registry
        )
