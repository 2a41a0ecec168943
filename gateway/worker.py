"""`indelible gateway worker`: what the gateway does when nobody asks. Any number may run, on any number of machines."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import structlog
from prometheus_client import CollectorRegistry

from gateway.auth.actions import Scope
from gateway.auth.passes import ServicePasses
from gateway.auth.relay import RelayMetrics, relay_decisions
from gateway.auth.signing import SigningKeys
from gateway.parts import open_signing_keys
from gateway.records.guards import GATEWAY_GUARDS
from gateway.settings import METRICS_VARIABLE, WorkerSettings
from gateway.webhooks.metrics import WebhookMetrics
from gateway.webhooks.sealing import Sealer
from gateway.webhooks.sending import Sender
from gateway.webhooks.worker import run_webhooks
from ledger.client import LedgerClient
from ledger.database.connections import Pool, make_pool
from ledger.serving.metrics import serve_metrics

POOL_SIZE = 12
# As whom the worker reads the operations chains that it tells of.
WEBHOOKS_SUBJECT = "gateway:webhooks"
CALL_SECONDS = 20.0

_log = structlog.stdlib.get_logger("gateway.worker")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerParts:
    """What the tasks work with. `pool` is of the worker's role, which sees the rows of every organisation."""

    settings: WorkerSettings
    pool: Pool
    passes: ServicePasses
    registry: CollectorRegistry
    _ledgers: dict[tuple[str, str, frozenset[str]], LedgerClient] = field(default_factory=dict)

    def ledger_of(self, organisation_id: str, subject: str, scopes: Collection[str]) -> LedgerClient:
        """The ledger, as `subject` of an organisation with these scopes; open until the worker ends."""
        narrow = frozenset(scopes)
        key = (organisation_id, subject, narrow)
        if key not in self._ledgers:
            self._ledgers[key] = LedgerClient(
                self.settings.ledger.address,
                token=lambda: self.passes.token(organisation_id, subject, narrow),
                tls=self.settings.ledger.tls,
                timeout_seconds=CALL_SECONDS,
            )
        return self._ledgers[key]

    async def close(self) -> None:
        """Hang up."""
        for client in self._ledgers.values():
            await client.close()
        self._ledgers.clear()


async def _relay(parts: WorkerParts, stop: asyncio.Event) -> None:
    await relay_decisions(parts.pool, parts.ledger_of, RelayMetrics(parts.registry), stop)


async def _tell(parts: WorkerParts, stop: asyncio.Event) -> None:
    settings = parts.settings.webhooks
    if settings is None:
        await stop.wait()
        return

    @asynccontextmanager
    async def ledger_of(organisation_id: str) -> AsyncIterator[LedgerClient]:
        yield parts.ledger_of(organisation_id, WEBHOOKS_SUBJECT, {Scope.LEDGER_READ})

    await run_webhooks(
        parts.pool,
        ledger_of,
        stop,
        sealer=Sealer(settings.keys),
        sender=Sender(settings.networks),
        metrics=WebhookMetrics(parts.registry),
    )


# Each runs until it is told to stop.
TASKS: tuple[Callable[[WorkerParts, asyncio.Event], Awaitable[None]], ...] = (_relay, _tell)


def run_worker(settings: WorkerSettings) -> None:
    """Work until SIGTERM or SIGINT.

    Raises SettingsError, psycopg.Error, and GuardsMissingError for a database that does not guard its records.
    """
    asyncio.run(_work(settings, open_signing_keys(settings.issuing)))


async def _work(settings: WorkerSettings, keys: SigningKeys) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as closing:
        registry = CollectorRegistry()
        if settings.metrics_listen is not None:
            closing.callback(serve_metrics(settings.metrics_listen, registry, variable=METRICS_VARIABLE))
        pool = make_pool(settings.worker_dsn, "gateway-worker", size=POOL_SIZE, check=True)
        closing.push_async_callback(pool.close)
        await pool.open()
        async with pool.connection() as connection:
            await GATEWAY_GUARDS.check(connection)
            await GATEWAY_GUARDS.check_role(connection, bypasses_row_security=True)
        passes = ServicePasses(settings.issuing, keys)
        parts = WorkerParts(settings=settings, pool=pool, passes=passes, registry=registry)
        closing.push_async_callback(parts.close)
        _log.info("working", tasks=len(TASKS))
        async with asyncio.TaskGroup() as running:
            for task in TASKS:
                running.create_task(_as_coroutine(task(parts, stop)))
    _log.info("stopped")


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work
