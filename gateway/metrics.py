"""What operators watch of the gateway: requests, decisions, and what takes long.

Several processes serve, and each counts for itself in files of one directory, as prometheus-client does it; whoever
asks is told the sums.
"""

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.settings import METRICS_VARIABLE
from ledger.address import Address
from ledger.serving.metrics import serve_metrics
from ledger.telemetry import LATENCY_BUCKETS_SECONDS

# Others are counted together: whoever makes up methods must not make up time series.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class GatewayMetrics:
    """The metrics of one process that serves; those of all add up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "indelible_gateway_requests",
            "Answered requests by method, address and status; 429 tells of those that were slowed down.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "indelible_gateway_request_seconds",
            "From a request's headers to its answer's; files are sent after that.",
            ("method", "route"),
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.decisions = Counter(
            "indelible_gateway_decisions",
            "Answers of the policy by action and outcome.",
            ("action", "outcome"),
            registry=self.registry,
        )
        self.slots_in_use = Gauge(
            "indelible_gateway_slots_in_use",
            "Files being sent or checked: of the API, and of verify links.",
            ("of",),
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.slots_refused = Counter(
            "indelible_gateway_slots_refused",
            "What was refused because all slots were taken, or the organisation had its share.",
            ("of", "why"),
            registry=self.registry,
        )


def count_requests(app: Flask, metrics: GatewayMetrics) -> None:
    """Count every answer of `app`, by the template of its address: never by what callers wrote."""

    @functools.cache
    def meters(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        """They are as many as there are series: looking them up anew would cost more than counting."""
        return metrics.requests.labels(method, route, str(status)), metrics.seconds.labels(method, route)

    @app.after_request
    def count(response: Response) -> Response:
        method = request.method if request.method in _METHODS else "other"
        route = request.url_rule.rule if request.url_rule is not None else "unknown"
        requests, seconds = meters(method, route, response.status_code)
        requests.inc()
        seconds.observe(time.perf_counter() - g.began)
        return response


def share_metrics(directory: Path) -> None:
    """Have the metrics that this process and its children make from now on be kept in `directory`."""
    os.environ[_DIRECTORY] = str(directory)  # noqa: TID251 - prometheus-client reads it nowhere else
    # It looked when it was imported, which may have been before.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # it says nothing of types here


def forget_process(directory: Path, process_id: int) -> None:
    """A process has ended: what it counted stays, what it had in hand is over."""
    mark_process_dead(process_id, str(directory))  # type: ignore[no-untyped-call]  # it says nothing of types here


def tell_metrics(listen: Address, directory: Path) -> Callable[[], None]:
    """Serve the sums over all processes; what is returned ends that. Raises SettingsError."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]  # it says nothing of types here
    return serve_metrics(listen, registry, variable=METRICS_VARIABLE)
