"""`indelible serve`: the API, the anchoring worker and the messaging of one process, from start to clean stop."""

import asyncio
import gc
import signal
from collections.abc import Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from opentelemetry import trace

from ledger.anchoring.authorities import Authorities, AuthoritiesError, load_authorities
from ledger.anchoring.metrics import AnchoringMetrics
from ledger.anchoring.schedule import run_schedule
from ledger.anchoring.worker import AnchoringWorker
from ledger.chain.receipt import ReceiptSigner
from ledger.database.guards import GuardsMissingError
from ledger.errors import LedgerError
from ledger.identity import Identity, KeyFile
from ledger.messaging.inbox import run_inbox
from ledger.messaging.metrics import InboxMetrics, OutboxMetrics
from ledger.messaging.outbox import run_outbox
from ledger.messaging.trimming import run_trimming
from ledger.service.handlers import INTERFACE, SERVICE, make_handler
from ledger.serving.calls import CallGuard
from ledger.serving.metrics import serve_metrics
from ledger.serving.server import GrpcServer
from ledger.settings import LedgerSettings
from ledger.settings_reader import SettingsError
from ledger.store import LedgerStore
from ledger.telemetry import Metrics, start_tracing
from ledger.verify_links import LinkKeys, LinkKeysError, load_link_keys

API = "api"
ANCHORING = "anchoring"
MESSAGING = "messaging"
PARTS = (API, ANCHORING, MESSAGING)

# How often health asks the database; a load balancer notices an outage about this late.
HEALTH_SECONDS = 2.0
HEALTH_TIMEOUT_SECONDS = 5.0

# Objects made between two looks of the garbage collector; an append makes some dozens that reference counting frees.
_GC_ALLOCATIONS = 20_000

_log = structlog.stdlib.get_logger("ledger.service")


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """The files the settings name, read and found usable."""

    signer: ReceiptSigner
    authorities: Authorities
    link_keys: LinkKeys


def load_materials(settings: LedgerSettings) -> Materials:
    """Read keys and authorities. Raises SettingsError with every problem at once."""
    problems: list[str] = []
    signer = authorities = link_keys = None
    try:
        signer = load_receipt_signer(settings)
    except SettingsError as error:
        problems.extend(error.problems)
    try:
        authorities = Authorities()
        if settings.authorities is not None:
            authorities = load_authorities(
                settings.authorities, worker_dsn=settings.database.worker_dsn, environ=settings.variables
            )
    except AuthoritiesError as error:
        problems.append(f"INDELIBLE_AUTHORITIES: {error}")
    try:
        link_keys = load_link_keys(settings.link_keys)
    except LinkKeysError as error:
        problems.append(f"INDELIBLE_LINK_KEYS: {error}")
    for issuer in (settings.token, settings.gateway):
        if issuer is not None and isinstance(issuer.keys, Path):
            try:
                KeyFile(issuer.keys, variable=issuer.variable)
            except SettingsError as error:
                problems.extend(error.problems)
    if problems or signer is None or authorities is None or link_keys is None:
        raise SettingsError(tuple(problems))
    return Materials(signer=signer, authorities=authorities, link_keys=link_keys)


def load_receipt_signer(settings: LedgerSettings) -> ReceiptSigner:
    """The key receipts are signed with. Raises SettingsError."""
    try:
        key = load_pem_private_key(settings.receipt_key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            (f"INDELIBLE_RECEIPT_KEY: {settings.receipt_key} is not an unencrypted private key in PEM",)
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError((f"INDELIBLE_RECEIPT_KEY: {settings.receipt_key} is a key of another kind than Ed25519",))
    try:
        return ReceiptSigner(key=key, name=settings.receipt_key_name)
    except ValueError as error:
        raise SettingsError((f"INDELIBLE_RECEIPT_KEY_NAME: {error}",)) from error


async def serve(settings: LedgerSettings, parts: Collection[str] = PARTS) -> None:
    """Run the given parts until SIGTERM or SIGINT, then stop cleanly: no acknowledged append is ever lost.

    Raises SettingsError, GuardsMissingError when the database does not guard its record, and LedgerError.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    materials = load_materials(settings)
    if not materials.authorities.targets:
        _log.warning("no_authorities", consequence="chains are not anchored; set INDELIBLE_AUTHORITIES")
    metrics = Metrics()
    async with AsyncExitStack() as closing:
        if settings.metrics_listen is not None:
            closing.callback(
                serve_metrics(settings.metrics_listen, metrics.registry, variable="INDELIBLE_METRICS_LISTEN")
            )
        identity = await Identity.open(settings.token, settings.gateway)
        store = await LedgerStore.open(
            runtime_dsn=settings.database.runtime_dsn,
            append_dsn=settings.database.append_dsn,
            worker_dsn=settings.database.worker_dsn,
            signer=materials.signer,
            anchor_targets=materials.authorities.targets,
            anchor_sets=materials.authorities.sets,
        )
        closing.push_async_callback(store.close)
        metrics.queue_depth.set_function(lambda: store.waiting_appends)
        # What was imported stays for ever: the garbage collector need not look at it with every thousand appends.
        gc.freeze()
        gc.set_threshold(_GC_ALLOCATIONS)
        service = _Service(settings, materials, store, identity, metrics, stop)
        try:
            async with asyncio.TaskGroup() as running:
                for name, work in service.work(parts).items():
                    running.create_task(work(), name=name)
        except ExceptionGroup as failures:
            unusable = failures.subgroup(SettingsError)
            if unusable is not None:
                raise unusable.exceptions[0] from None
            raise
    _log.info("stopped")


class _Service:
    """The parts of the process, ready to be run."""

    def __init__(  # noqa: PLR0913, PLR0917 - what the parts share
        self,
        settings: LedgerSettings,
        materials: Materials,
        store: LedgerStore,
        identity: Identity,
        metrics: Metrics,
        stop: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._materials = materials
        self._store = store
        self._identity = identity
        self._metrics = metrics
        self._stop = stop
        self._authenticator = identity.authenticator

    def work(self, parts: Collection[str]) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What to run, by name."""
        chosen: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {"keys": lambda: self._identity.run(self._stop)}
        if API in parts:
            chosen["api"] = self._serve_api
        if ANCHORING in parts:
            chosen["anchoring"] = self._anchor
            chosen["schedule"] = self._schedule
        if MESSAGING in parts and self._settings.nats_url is not None:
            chosen["inbox"] = self._receive
            chosen["outbox"] = self._publish
        elif MESSAGING in parts:
            chosen["outbox"] = self._trim
        return chosen

    async def _serve_api(self) -> None:
        tracer: trace.Tracer | None = None
        async with AsyncExitStack() as closing:
            if self._settings.tracing:
                tracer, end_tracing = start_tracing("ledger")
                closing.callback(end_tracing)
            stopping = asyncio.Event()
            handler = make_handler(
                store=self._store,
                link_keys=self._materials.link_keys,
                public_url=self._settings.public_url,
                guard=CallGuard(INTERFACE, self._authenticator, self._metrics, tracer),
                metrics=self._metrics,
                stopping=stopping,
            )
            server = GrpcServer(
                SERVICE, handler, self._settings.listen, self._settings.tls, variable="INDELIBLE_LISTEN"
            )
            await server.start()
            health = asyncio.create_task(self._report_health(server))
            _log.info("serving", address=str(server.address), tls=self._settings.tls is not None)
            try:
                await self._stop.wait()
                _log.info("draining")
            finally:
                health.cancel()
                await server.drain(stopping)

    async def _report_health(self, server: GrpcServer) -> None:
        """Serving is said only while the database answers and guards its record."""
        usable = True
        while True:
            was_usable, usable = usable, await self._is_ready()
            if usable != was_usable:
                _log.warning("database_usable" if usable else "database_not_usable")
            self._metrics.database_up.set(usable)
            await server.report(serving=usable)
            await asyncio.sleep(HEALTH_SECONDS)

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_SECONDS):
                await self._store.check_ready()
        except GuardsMissingError as error:
            # Somebody with the owner's rights took a guard away while the service was running.
            _log.error("guards_missing", problem=str(error))
            return False
        except (LedgerError, TimeoutError):
            return False
        return True

    async def _anchor(self) -> None:
        metrics = AnchoringMetrics(self._metrics.registry)
        await AnchoringWorker(self._store, self._materials.authorities, metrics=metrics).run(self._stop)

    async def _schedule(self) -> None:
        await run_schedule(
            self._store,
            self._stop,
            interval=timedelta(seconds=self._settings.checkpoint_seconds),
            max_events=self._settings.checkpoint_events,
        )

    async def _receive(self) -> None:
        await run_inbox(
            self._store,
            self._authenticator,
            str(self._settings.nats_url),
            self._stop,
            InboxMetrics(self._metrics.registry),
        )

    async def _publish(self) -> None:
        await run_outbox(
            self._store,
            self._settings.database.worker_dsn,
            str(self._settings.nats_url),
            self._stop,
            OutboxMetrics(self._metrics.registry),
        )

    async def _trim(self) -> None:
        await run_trimming(self._store, self._settings.database.worker_dsn, self._stop)
