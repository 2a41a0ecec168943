"""A real ledger that anchors at one authority of each kind, all of which fail on command, and a clock of its own.

Time passes only when a test says so: the database's `now()`, the worker's clock and that of the OpenTimestamps backend
are the machine's, moved forward. Whatever comes due on the way is done by the real worker before time goes on.
"""

import asyncio
import contextlib
import io
import json
import ssl
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from prometheus_client import CollectorRegistry

from ledger.anchoring.authorities import Authorities, load_authorities
from ledger.anchoring.metrics import AnchoringMetrics
from ledger.anchoring.opentimestamps import open_opentimestamps
from ledger.anchoring.port import AnchorBackend, InProgress, Obtained
from ledger.anchoring.rfc3161 import TimestampAuthority
from ledger.anchoring.rfc3161.evidence import EvidenceCollector
from ledger.anchoring.rfc3161.transport import open_client, open_evidence_client
from ledger.anchoring.tezos import open_tezos
from ledger.anchoring.worker import AnchoringWorker
from ledger.bundle import write_bundle
from ledger.store.values import AnchorStatus, AnchorTarget
from sandbox.authorities import Authority, Fault
from sandbox.calendar import CalendarFaults, CalendarSandbox
from sandbox.database import Database
from sandbox.tezos import NodeFaults, TezosSandbox
from tests.anchoring.ledger_under_test import Ledger
from verifier.policy import load_policy
from verifier.report import Report
from verifier.verify import verify_bundle

RFC3161, TEZOS, OPENTIMESTAMPS = "sandbox-two", "tezos", "bitcoin"
EVERYONE = frozenset({RFC3161, TEZOS, OPENTIMESTAMPS})
LOOK = timedelta(hours=1)  # between two looks at what is on its way
SETTLE_SECONDS = 120.0

_CLOCK = """
CREATE SCHEMA clock;
CREATE TABLE clock.moved (by interval NOT NULL);
INSERT INTO clock.moved VALUES ('0');
CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.now() + moved.by FROM clock.moved';
GRANT USAGE ON SCHEMA clock TO PUBLIC;
GRANT SELECT ON clock.moved TO PUBLIC;
"""
_DUE = """
SELECT count(*) FROM indelible.anchor_jobs
 WHERE authority = ANY(%s) AND (next_attempt_at <= now() OR leased_until > now())
"""
_NEXT = "SELECT min(next_attempt_at) - now() FROM indelible.anchor_jobs WHERE authority = ANY(%s)"

# Three ways to be down: no connection, errors, nonsense.
TSA_FAULTS = (Fault.DOWN, Fault.ERROR_500, Fault.GARBAGE)
NODE_FAULTS = (NodeFaults(down_every=1), NodeFaults(status_every=1), NodeFaults(garbage_every=1))
CALENDAR_FAULTS = (CalendarFaults(down=True), CalendarFaults(status=503), CalendarFaults(garbage=True))


@dataclass(frozen=True, kw_only=True)
class Outsiders:
    """The three authorities, as servers."""

    authority: Authority
    tezos: TezosSandbox
    calendars: CalendarSandbox

    def fail(self, names: Collection[str], how: int) -> None:
        if RFC3161 in names:
            self.authority.misbehave(TSA_FAULTS[how])
        if TEZOS in names:
            self.tezos.misbehave(NODE_FAULTS[how], nodes=range(3))
        if OPENTIMESTAMPS in names:
            self.calendars.misbehave(CALENDAR_FAULTS[how], calendars=range(3), explorers=range(3))

    def heal(self) -> None:
        self.authority.misbehave(Fault.NONE)
        self.tezos.heal()
        self.calendars.heal()

    def configure(self, folder: Path) -> Path:
        """The ledger's authorities file."""
        path = folder / "authorities.toml"
        tezos = self.tezos.configuration(
            TEZOS, self.tezos.contract, folder / "key", confirmations=2, maximum_wait_seconds=0.0, poll_seconds=0.1
        )
        looks = f"first_look_seconds = 600\nlook_seconds = {LOOK.total_seconds():g}\n"
        calendars = self.calendars.configuration(OPENTIMESTAMPS)
        kept = "".join(line for line in calendars.splitlines(keepends=True) if "look_seconds" not in line)
        path.write_text("\n".join([f"{self.authority.configuration()}timeout_seconds = 20\n", tezos, kept + looks]))
        return path

    def verify(self, bundle: io.BytesIO, folder: Path) -> Report:
        """What a reader finds who trusts the root, the blocks that the nodes show, and the calendars' headers."""
        receipts = [json.loads(raw) for name, raw in _files(bundle) if name.endswith(".tezos.json")]
        blocks = [self.tezos.block_hash(receipt["level"]) for receipt in receipts]
        (folder / "headers.txt").write_text(self.calendars.headers())
        bitcoin = f'[authorities.{OPENTIMESTAMPS}]\nbackend = "opentimestamps"\n'
        (folder / "trust.toml").write_text(
            'format = "indelible-trust/1"\n'
            f"{self.authority.trust()}{self.tezos.trust(TEZOS, self.tezos.contract, block_hashes=blocks)}"
            f'{bitcoin}headers = "headers.txt"\nnetwork = "regtest"\n'
        )
        return verify_bundle(bundle, policy=load_policy(folder / "trust.toml"))


@dataclass
class World:
    """The ledger among the outsiders, and its clock."""

    ledger: Ledger
    outsiders: Outsiders
    folder: Path
    moved: timedelta = field(default_factory=timedelta)
    _watch: psycopg.AsyncConnection | None = None

    def clock(self) -> datetime:
        return datetime.now(tz=UTC) + self.moved

    @contextlib.asynccontextmanager
    async def working(self, names: Collection[str] = EVERYONE) -> AsyncIterator[None]:
        """A worker that serves `names`, until the block ends."""
        stop = asyncio.Event()
        source = _Source(self, load_authorities(self.folder / "authorities.toml"), names)
        metrics = AnchoringMetrics(CollectorRegistry())
        worker = AnchoringWorker(self.ledger.store, source, metrics=metrics, clock=self.clock)
        dsn = self.ledger.database.admin_dsn
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as self._watch:
            running = asyncio.create_task(worker.run(stop))
            try:
                yield
            finally:
                stop.set()
                await running

    async def settle(self, names: Collection[str] = EVERYONE) -> None:
        """Until everything that is due for `names` was attempted."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while await self._ask(_DUE, list(names)):  # noqa: ASYNC110 - the worker has no event to wait for
                await asyncio.sleep(0.02)

    async def advance(self, step: timedelta) -> None:
        """Move the clock; meanwhile each network finds a block."""
        self.moved += step
        await self._ask("UPDATE clock.moved SET by = %s RETURNING 0", self.moved)
        await asyncio.to_thread(self.outsiders.tezos.bake)
        await asyncio.to_thread(self.outsiders.calendars.mine)

    async def pass_time(
        self, duration: timedelta, names: Collection[str] = EVERYONE, *, step: timedelta = LOOK
    ) -> None:
        """Let the clock run for `duration`, from one due attempt to the next, though by no less than `step`."""
        end = self.moved + duration
        while True:
            await self.settle(names)
            pause = await self._ask(_NEXT, list(names))
            if not isinstance(pause, timedelta) or self.moved + max(pause, step) >= end:
                break
            await self.advance(max(pause, step))
        await self.advance(end - self.moved)
        await self.settle(names)

    async def _ask(self, query: str, parameter: object) -> object:
        assert self._watch is not None
        row = await (await self._watch.execute(query.encode(), (parameter,))).fetchone()
        assert row is not None
        value: object = row[0]
        return value

    async def export(self, chain_id: str) -> Report:
        """A bundle of the chain, verified."""
        bundle = io.BytesIO()
        store, organisation = self.ledger.store, self.ledger.organisation
        await write_bundle(store, organisation, chain_id, include_disclosures=False, target=bundle)
        return await asyncio.to_thread(self.outsiders.verify, bundle, self.folder)

    async def statuses(self, chain_id: str) -> Mapping[str, AnchorStatus]:
        return await self.ledger.anchors(chain_id)

    async def require_once(self, chains: Sequence[str], names: Collection[str] = EVERYONE) -> None:
        """Every chain was anchored once by each of `names`: stored once, noted once, and paid for once."""
        stored: Counter[tuple[str, str]] = Counter()
        for chain_id in chains:
            anchors = await self.ledger.store.stored_anchors(self.ledger.organisation, chain_id)
            stored.update((chain_id, anchor.authority) for anchor in anchors)
        assert stored == dict.fromkeys(((chain, name) for chain in chains for name in names), 1)
        events = await self.ledger.store.list_events(
            self.ledger.organisation, "operations", from_sequence=1, limit=1000, kinds=["ledger.anchor_obtained"]
        )
        notes = [json.loads(event.payload) for event in events]
        assert Counter((note["chain_id"], note["authority"]) for note in notes) == stored
        values = [call["parameters"]["value"]["bytes"] for call in self._calls()]
        assert len(values) == len(set(values))

    def _calls(self) -> list[Mapping[str, dict[str, dict[str, str]]]]:
        operations = self.outsiders.tezos.status()["operations"]
        contents = [content for operation in operations for content in operation["contents"]]
        return [content for content in contents if content.get("destination") == self.outsiders.tezos.contract]


def give_clock(database: Database) -> None:
    """Let the database's `now()` be one that can be moved, for whoever connects from now on."""
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute(_CLOCK)
        connection.execute(f'ALTER DATABASE "{database.name}" SET search_path = clock, pg_catalog, public'.encode())


def targets() -> list[AnchorTarget]:
    """One authority of each kind."""
    return [
        AnchorTarget(backend="rfc3161", authority=RFC3161),
        AnchorTarget(backend="tezos", authority=TEZOS),
        AnchorTarget(backend="opentimestamps", authority=OPENTIMESTAMPS),
    ]


class _Source:
    """The real backends of `names`, with the world's clock."""

    def __init__(self, world: World, authorities: Authorities, names: Collection[str]) -> None:
        self._world = world
        self._authorities = authorities
        self._names = names

    @contextlib.asynccontextmanager
    async def open_backends(self) -> AsyncIterator[Sequence[AnchorBackend]]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used on this machine, and without roots made at once
        dsn = self._world.ledger.database.worker_dsn
        async with contextlib.AsyncExitStack() as stack:
            evidence = EvidenceCollector(await stack.enter_async_context(open_evidence_client(20.0, tls)))
            [rfc3161], [tezos], [bitcoin] = (
                self._authorities.configurations,
                self._authorities.tezos,
                self._authorities.opentimestamps,
            )
            client = await stack.enter_async_context(open_client(rfc3161, tls))
            backends: list[AnchorBackend] = [
                TimestampAuthority(rfc3161, client, evidence),
                _LooksSeldom(
                    await stack.enter_async_context(open_tezos(replace(tezos, poll_seconds=0.0), dsn, tls)), self._world
                ),
                await stack.enter_async_context(open_opentimestamps(bitcoin, tls, clock=self._world.clock)),
            ]
            yield [backend for backend in backends if backend.target.authority in self._names]


class _LooksSeldom:
    """A backend whose next look is by the world's clock, and so late that a day has few of them."""

    def __init__(self, backend: AnchorBackend, world: World) -> None:
        self._backend = backend
        self._world = world
        self.target = backend.target
        self.concurrency = backend.concurrency
        self.min_interval_seconds = backend.min_interval_seconds
        self.attempt_seconds = backend.attempt_seconds

    async def anchor(self, digest: bytes, state: Mapping[str, object] | None) -> Obtained | InProgress:
        outcome = await self._backend.anchor(digest, state)
        return replace(outcome, again_at=self._world.clock() + LOOK) if isinstance(outcome, InProgress) else outcome


def _files(bundle: io.BytesIO) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(bundle) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def status_of(report: Report) -> dict[str, str]:
    """What the verifier says of each anchor of a chain with one checkpoint."""
    return {token.authority: token.status for token in report.tokens}
