"""`indelible evidence serve` and `indelible evidence worker`: one process each, from start to clean stop."""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from opentelemetry import trace

from ledger.database.guards import GuardsMissingError
from ledger.identity import Authenticator, Identity
from ledger.serving.calls import CallGuard
from ledger.serving.metrics import serve_metrics
from ledger.serving.server import GrpcServer
from ledger.settings_reader import SettingsError
from ledger.telemetry import CallMetrics, start_tracing
from media.clips.export import Exporter
from media.clips.footage import Footage
from media.clips.preserve import Workshop
from media.clips.workplace import remove_left_over
from media.errors import MediaError
from media.ledgers import Ledgers
from media.metrics import InboxMetrics, RecordingMetrics, WebhookMetrics, WorkerMetrics
from media.recordings.control import Control
from media.recordings.livekit import LiveKit
from media.recordings.making import Maker
from media.recordings.process import Studio
from media.recordings.watch import watch
from media.records.records import Records
from media.service.clips import Clips
from media.service.handlers import INTERFACE, SERVICE, make_handler
from media.service.inbox import run_inbox, run_process_inbox
from media.service.keeping import Keeping
from media.service.reading import Reading
from media.service.recordings import LiveKitReports, Recordings
from media.settings import EvidenceSettings, ledger_tls
from media.storage.store import EvidenceStore
from media.worker import Worker

# How often health asks the database; a load balancer notices an outage about this late.
HEALTH_SECONDS = 2.0
HEALTH_TIMEOUT_SECONDS = 5.0

_log = structlog.stdlib.get_logger("evidence")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    records: Records
    store: EvidenceStore
    ledgers: Ledgers
    # None: no LiveKit server is configured.
    control: Control | None
    metrics: CallMetrics
    stop: asyncio.Event


async def serve(settings: EvidenceSettings) -> None:
    """Answer calls and take requests from NATS until SIGTERM or SIGINT, then stop cleanly.

    Raises SettingsError, GuardsMissingError when the database does not guard its record, and MediaError.
    """
    async with _parts(settings) as parts:
        identity = await Identity.open(settings.token, settings.gateway)
        authenticator = identity.authenticator
        work = [identity.run(parts.stop), _serve_api(settings, parts, authenticator)]
        if settings.nats_url is not None:
            metrics = InboxMetrics(parts.metrics.registry)
            url, stop = settings.nats_url, parts.stop
            work.append(run_inbox(parts.records, settings.sources, parts.ledgers, authenticator, url, stop, metrics))
            work.append(run_process_inbox(parts.records, authenticator, url, stop, metrics))
        await _run_all(work)
    _log.info("stopped")


async def work(settings: EvidenceSettings) -> None:
    """Make clips, process recordings, and keep store and records in step until SIGTERM or SIGINT. Raises as `serve`."""
    async with _parts(settings) as parts:
        left_over = await asyncio.to_thread(remove_left_over, settings.directory)
        workshop = Workshop(
            records=parts.records,
            store=parts.store,
            sources=settings.sources,
            footage=Footage(),
            directory=settings.directory,
        )
        processing = settings.processing
        studio = Studio(
            jobs=parts.records.recording_jobs,
            store=parts.store,
            maker=Maker(settings=processing.encoding, composite_settings=processing.composite),
            directory=settings.directory,
            waiting=processing.waiting,
        )
        worker = Worker(
            workshop,
            studio,
            parts.ledgers,
            WorkerMetrics(parts.metrics.registry),
            name=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
            lease_seconds=settings.lease_seconds,
            grace_seconds=settings.grace_seconds,
        )
        _log.info("working", lanes=settings.lanes, left_over_directories=left_over)
        running = [worker.run(parts.stop, lanes=settings.lanes)]
        if parts.control is not None:
            running.append(watch(parts.control, RecordingMetrics(parts.metrics.registry), parts.stop))
        await _run_all(running)
    _log.info("stopped")


@asynccontextmanager
async def _parts(settings: EvidenceSettings) -> AsyncIterator[_Parts]:
    """What both kinds of process work with."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = CallMetrics()
    async with AsyncExitStack() as closing:
        if settings.metrics_listen is not None:
            variable = "INDELIBLE_EVIDENCE_METRICS_LISTEN"
            closing.callback(serve_metrics(settings.metrics_listen, metrics.registry, variable=variable))
        try:
            ledgers = Ledgers(settings.ledger.address, ledger_tls(settings.ledger), settings.ledger.tokens)
        except ValueError as error:
            raise SettingsError((f"INDELIBLE_LEDGER_CA: {error}",)) from error
        closing.push_async_callback(ledgers.close)
        records = await Records.open(evidence_dsn=settings.evidence_dsn, worker_dsn=settings.worker_dsn)
        closing.push_async_callback(records.close)
        store = EvidenceStore(settings.store)
        await asyncio.to_thread(store.capabilities)
        control = None
        if settings.recording is not None:
            livekit = await closing.enter_async_context(LiveKit(settings.recording.livekit))
            control = Control(
                records=records,
                ledgers=ledgers,
                livekit=livekit,
                layout_url=settings.recording.layout_url,
                limits=settings.recording.limits,
            )
        yield _Parts(records=records, store=store, ledgers=ledgers, control=control, metrics=metrics, stop=stop)


async def _serve_api(settings: EvidenceSettings, parts: _Parts, authenticator: Authenticator) -> None:
    tracer: trace.Tracer | None = None
    async with AsyncExitStack() as closing:
        if settings.tracing:
            tracer, end_tracing = start_tracing("evidence")
            closing.callback(end_tracing)
        exporter = Exporter(records=parts.records, store=parts.store, ledgers=parts.ledgers)
        handler = make_handler(
            clips=Clips(parts.records, settings.sources, parts.ledgers),
            keeping=Keeping(parts.records, parts.store),
            reading=Reading(exporter, parts.metrics, settings.directory),
            recordings=Recordings(
                parts.records, parts.store, settings.sources, parts.control, _reports(settings, parts)
            ),
            guard=CallGuard(INTERFACE, authenticator, parts.metrics, tracer),
        )
        server = GrpcServer(SERVICE, handler, settings.listen, settings.tls, variable="INDELIBLE_EVIDENCE_LISTEN")
        await server.start()
        health = asyncio.create_task(_report_health(parts, server))
        _log.info("serving", address=str(server.address), tls=settings.tls is not None)
        try:
            await parts.stop.wait()
            _log.info("draining")
        finally:
            health.cancel()
            await server.drain(parts.stop)


def _reports(settings: EvidenceSettings, parts: _Parts) -> LiveKitReports | None:
    if settings.recording is None:
        return None
    return LiveKitReports(keys=settings.recording.livekit.keys, metrics=WebhookMetrics(parts.metrics.registry))


async def _report_health(parts: _Parts, server: GrpcServer) -> None:
    """Serving is said only while the database answers and guards its record."""
    usable = True
    while True:
        was_usable, usable = usable, await _is_ready(parts.records)
        if usable != was_usable:
            _log.warning("database_usable" if usable else "database_not_usable")
        parts.metrics.database_up.set(usable)
        await server.report(serving=usable)
        await asyncio.sleep(HEALTH_SECONDS)


async def _is_ready(records: Records) -> bool:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_SECONDS):
            await records.check()
    except GuardsMissingError as error:
        # Somebody with the owner's rights took a guard away while the service was running.
        _log.error("guards_missing", problem=str(error))
        return False
    except Exception as error:  # noqa: BLE001 - whatever keeps the database from answering
        _log.debug("database_does_not_answer", error=type(error).__name__)
        return False
    return True


async def _run_all(work: list[Coroutine[Any, Any, None]]) -> None:
    try:
        async with asyncio.TaskGroup() as running:
            for one in work:
                running.create_task(one)
    except ExceptionGroup as failures:
        unusable = failures.subgroup((SettingsError, MediaError))
        if unusable is not None:
            raise unusable.exceptions[0] from None
        raise
