"""Logs, metrics and traces of the product's services.

Nothing here ever carries a payload or a token: events are evidence and personal data, and logs go to many more eyes.
For the same reason an unexpected error is logged by its type and place, never by its text, which for a database error
may quote the row it is about.
"""

import logging
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from psycopg import Error as DatabaseError

from ledger.settings_reader import LogSettings

# From a single durable insert on a fast disk to the longest call the service allows.
LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# An outage is told again this often.
POOL_WARNING_SECONDS = 60.0
BATCH_BUCKETS_EVENTS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000)


# Libraries whose lines about requests may hold credentials: addresses with signatures or passwords, signed headers.
_TALKATIVE = ("httpx", "httpcore", "botocore", "boto3", "s3transfer", "urllib3")


def configure_logging(settings: LogSettings) -> None:
    """Send every log line of this process, libraries' included, to standard error as `settings` says."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    logging.captureWarnings(capture=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.getLogger("psycopg.pool").addFilter(_PoolWarnings())


class _PoolWarnings(logging.Filter):
    """Lets a connection pool give the reason why it cannot connect once a minute, and not at every attempt."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line says something new."""
        if str(record.msg).startswith("reconnection attempt"):
            return False  # the line before it said why
        text, now = record.getMessage(), time.monotonic()
        self._said = {earlier: when for earlier, when in self._said.items() if now - when < POOL_WARNING_SECONDS}
        return self._said.setdefault(text, now) == now


def describe_error(error: BaseException) -> dict[str, object]:
    """What may be logged of an unexpected error: its type, where it happened, and PostgreSQL's codes."""
    frames = traceback.extract_tb(error.__traceback__)
    described: dict[str, object] = {
        "error_type": type(error).__qualname__,
        "error_at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]],
    }
    if isinstance(error, DatabaseError):
        described["sqlstate"] = error.sqlstate
        described["constraint"] = error.diag.constraint_name
    if error.__cause__ is not None:
        described["error_cause"] = type(error.__cause__).__qualname__
    return described


def _describe_exception(_logger: object, _name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    raised = line.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    error = raised[1] if isinstance(raised, tuple) else raised
    if isinstance(error, BaseException):
        line.update(describe_error(error))
    return line


class CallMetrics:
    """What is measured of every gRPC service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "indelible_requests",
            "Finished calls by method and gRPC status.",
            ["method", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "indelible_request_seconds",
            "Seconds from a call's arrival to its answer; for streams, to its end.",
            ["method"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.exports_running = Gauge("indelible_exports_running", "Bundles being written now.", registry=self.registry)
        self.database_up = Gauge(
            "indelible_database_up", "1 while the database answers, else 0.", registry=self.registry
        )

    def for_method(self, method: str) -> "MethodMetrics":
        """The metrics of one method, with its labels looked up once and not on every call."""
        return MethodMetrics(self, method)


class Metrics(CallMetrics):
    """The ledger service's Prometheus metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.append_events = Histogram(
            "indelible_append_events",
            "Events in each acknowledged append.",
            buckets=BATCH_BUCKETS_EVENTS,
            registry=self.registry,
        )
        self.joint_appends = Counter(
            "indelible_joint_appends",
            "Appends that came through AppendEventStream and BatchAppendEvents, by outcome.",
            ["reason"],
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "indelible_append_queue_depth", "Appends waiting for their transaction.", registry=self.registry
        )


class MethodMetrics:
    """Counts and times the calls of one method."""

    def __init__(self, metrics: CallMetrics, method: str) -> None:
        self._count: Callable[[str], Counter] = lambda code: metrics.requests.labels(method, code)
        self._counters: dict[str, Counter] = {"OK": self._count("OK")}
        self._seconds = metrics.request_seconds.labels(method)

    def finished(self, code: str, seconds: float) -> None:
        """One call ended with the gRPC status named `code`."""
        counter = self._counters.get(code)
        if counter is None:
            counter = self._counters[code] = self._count(code)
        counter.inc()
        self._seconds.observe(seconds)


def start_tracing(service: str) -> tuple[trace.Tracer, Callable[[], None]]:
    """A tracer of `service` that exports over OTLP, and what to call before the process ends.

    OpenTelemetry reads its own OTEL_* variables: address, headers, sampling, resource attributes.
    """
    provider = TracerProvider(resource=Resource.create({"service.name": f"indelible-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer(f"indelible.{service}"), provider.shutdown
