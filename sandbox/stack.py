"""The whole product on one machine: the outside world it needs, and its own services, each a real child process.

Everything lives in one directory and listens on loopback only:

    postgres/ nats/ objects/ authorities/ tezos/    data of the outside world; livekit/ has a log only
    evidence/                                       the camera's footage, and what the evidence service needs
    issuer/ keys/                                   signing keys: whoever reads them can act as anybody here
    authorities.toml                                what the ledger is told about whoever anchors
    trust.toml                                      what an auditor trusts; the verifier reads it
    logs/                                           one file for each of the product's services

Parts are started in the order in which they need each other and stopped in reverse. Whatever ends the block, an error
in the middle included, everything that was started is stopped.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ledger.store.admin import add_organisation
from sandbox.announced import has_ended
from sandbox.authorities import Authorities
from sandbox.database import Database, Databases
from sandbox.evidence import Evidence, Neighbours, why_no_clips
from sandbox.gateway import GatewayFiles, GatewayNeighbours, start_gateway, start_gateway_worker
from sandbox.issuer import Issuer
from sandbox.nats import Nats
from sandbox.objects import Objects
from sandbox.outside import Outside, OutsideOptions
from sandbox.postgres import Postgres
from sandbox.processes import LOOPBACK, Process, StartError
from sandbox.services import LedgerFiles, Ports, start_ledger, start_page

if TYPE_CHECKING:
    from sandbox.livekit import LiveKitSandbox

DATABASE_NAME = "indelible"
# Registered by the commands, so that there is somebody to act for.
ORGANISATION_ID = "example"
ORGANISATION_NAME = "Example Inspections Ltd"
_WATCH_SECONDS = 0.5
_LOOKS_BEFORE_REFRESH = 20  # of the trust policy, which is to know the Bitcoin blocks found since


class Part(StrEnum):
    """What a stack can consist of, in the order of starting."""

    POSTGRES = "PostgreSQL"
    NATS = "NATS JetStream"
    AUTHORITIES = "time-stamp authorities"
    TEZOS = "Tezos network"
    CALENDARS = "OpenTimestamps calendars"
    LEDGER = "ledger service"
    GATEWAY = "gateway"
    GATEWAY_WORKER = "gateway worker"
    PAGE = "verify page"
    OBJECTS = "S3 storage"
    LIVEKIT = "LiveKit"
    EVIDENCE = "evidence service"
    EVIDENCE_WORKER = "evidence worker"


_OF_EVIDENCE = (Part.POSTGRES, Part.NATS, Part.AUTHORITIES, Part.LEDGER, Part.OBJECTS)

NEEDS: Mapping[Part, frozenset[Part]] = MappingProxyType(
    {
        Part.LEDGER: frozenset({Part.POSTGRES, Part.NATS, Part.AUTHORITIES}),
        Part.GATEWAY: frozenset({Part.POSTGRES, Part.NATS, Part.AUTHORITIES, Part.LEDGER}),
        Part.GATEWAY_WORKER: frozenset({Part.POSTGRES, Part.NATS, Part.AUTHORITIES, Part.LEDGER, Part.GATEWAY}),
        Part.PAGE: frozenset({Part.POSTGRES, Part.NATS, Part.AUTHORITIES, Part.LEDGER, Part.GATEWAY}),
        Part.EVIDENCE: frozenset({*_OF_EVIDENCE, Part.EVIDENCE_WORKER}),
        Part.EVIDENCE_WORKER: frozenset({*_OF_EVIDENCE, Part.EVIDENCE}),
    }
)


# Told about each part as soon as it is ready: the part, its address (or why this machine cannot have it), and the
# seconds it took.
Announce = Callable[[Part, str, float], None]


class PartEndedError(RuntimeError):
    """A part ended by itself while it should have been running; the text has the end of its log."""


@contextlib.contextmanager
def running_stack(
    directory: Path,
    *,
    parts: Collection[Part] = tuple(Part),
    ports: Ports | None = None,
    outside: OutsideOptions | None = None,
    announce: Announce = lambda _part, _address, _seconds: None,
) -> Iterator["Stack"]:
    """Run `parts`, and what they need, until the block ends; data that `directory` holds already is used.

    Raises StartError or sandbox.authorities.AuthorityError when a part does not come up.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        directory.chmod(directory.stat().st_mode | 0o711)  # PostgreSQL runs as another user then and must pass through
    stack = Stack(directory.resolve(), ports or Ports(), outside or OutsideOptions())
    wanted = set(parts).union(*(NEEDS.get(part, frozenset()) for part in parts))
    left_out = _left_out(wanted)
    with contextlib.ExitStack() as running:
        if Part.OBJECTS in wanted:
            running.callback(stack.objects.stop)
            stack.objects.spawn()  # the slowest parts become ready while the others start
        if Part.TEZOS in wanted:
            stack.outside.launch_tezos(running)
        for part in Part:
            if part in wanted:
                started = time.monotonic()
                address = f"left out: {left_out[part]}" if part in left_out else stack.start(part, running)
                announce(part, address, time.monotonic() - started)
        yield stack


def _left_out(wanted: Collection[Part]) -> dict[Part, str]:
    """What this machine cannot have, and why."""
    clips = {Part.LIVEKIT, Part.EVIDENCE, Part.EVIDENCE_WORKER}.intersection(wanted)
    why = why_no_clips() if clips else ""
    return dict.fromkeys(clips, why) if why else {}


class Stack:
    """The running parts and what is needed to reach them."""

    def __init__(self, directory: Path, ports: Ports, outside: OutsideOptions) -> None:
        """Choose an address for everything; `running_stack` starts it."""
        self.directory = directory
        self.ports = ports
        self.postgres = Postgres(directory / "postgres")
        self.nats = Nats(directory / "nats")
        self.objects = Objects(directory / "objects")
        self.issuer = Issuer(directory / "issuer")
        self.files = LedgerFiles.prepare(directory)
        self.gateway_files = GatewayFiles.prepare(directory)
        self.trust_policy = directory / "trust.toml"
        self.ledger_address = f"{LOOPBACK}:{ports.ledger}"
        self.gateway_url = f"http://{LOOPBACK}:{ports.gateway}"
        self.page_url = f"http://{LOOPBACK}:{ports.page}"
        self.evidence = Evidence(directory / "evidence", ORGANISATION_ID, ports)
        self.outside = Outside(directory, self.files.authorities, self.trust_policy, outside)
        # None while it does not run; it is one of the parts that need PyAV.
        self.livekit: LiveKitSandbox | None = None
        self._database: Database | None = None
        self._processes: dict[Part, Process] = {}

    @property
    def database(self) -> Database:
        """The ledger's database. Raises StartError while PostgreSQL is not part of the stack."""
        if self._database is None:
            raise StartError("the stack was started without PostgreSQL")
        return self._database

    @property
    def authorities(self) -> Authorities:
        """The local time-stamp authorities. Raises StartError while they are not part of the stack."""
        if self.outside.authorities is None:
            raise StartError("the stack was started without time-stamp authorities")
        return self.outside.authorities

    @property
    def makes_clips(self) -> bool:
        """Whether the evidence service and its worker run."""
        return Part.EVIDENCE_WORKER in self._processes

    def process(self, part: Part) -> Process:
        """The process of a running part, for tests that kill it. Raises KeyError when it does not run."""
        return self._processes[part]

    def add_organisation(self, organisation_id: str, name: str) -> None:
        """Register an organisation, as an operator does with `indelible organisation add`."""
        add_organisation(self.database.admin_dsn, organisation_id, name)
        self.evidence.admit(organisation_id, self.issuer)

    def watch(self) -> None:
        """Return never; keep the trust policy up to date. Raises PartEndedError when a part ends by itself."""
        for look in itertools.count(1):
            self.check()
            time.sleep(_WATCH_SECONDS)
            if look % _LOOKS_BEFORE_REFRESH == 0:
                self.outside.write_trust(self.trust_policy)

    def check(self) -> None:
        """Raises PartEndedError if a part has ended by itself."""
        for part, process in self._processes.items():
            if process.exit_code is not None:
                raise PartEndedError(f"The {part} ended by itself (exit code {process.exit_code}).{process.tail()}")
        for what in self.outside.ended():
            raise PartEndedError(f"{what} ended by itself.")
        if self.livekit is not None and has_ended(self.livekit.process_id):
            raise PartEndedError("LiveKit ended by itself.")

    def start(self, part: Part, running: contextlib.ExitStack) -> str:
        """Start one part, have `running` stop it at the end, and return its address."""
        if part is Part.AUTHORITIES:
            return self.outside.start_authorities(running)
        if part is Part.TEZOS:
            return self.outside.wait_for_tezos()
        if part is Part.CALENDARS:
            return self.outside.start_calendars(running)
        if part is Part.LIVEKIT:
            return self._start_livekit(running)
        if part is Part.EVIDENCE:
            running.callback(self.evidence.stop)
        if part is Part.POSTGRES:
            running.callback(self.postgres.stop)  # the migration that follows its start may fail
        process, address = self._starter(part)()
        running.callback(process.stop)
        self._processes[part] = process
        return address

    def _starter(self, part: Part) -> Callable[[], tuple[Process, str]]:
        return {
            Part.POSTGRES: self._start_postgres,
            Part.NATS: lambda: (self.nats.start().process, f"{LOOPBACK}:{self.nats.port}"),
            Part.OBJECTS: lambda: (self.objects.wait_ready().process, self.objects.url),
            Part.LEDGER: self._start_ledger,
            Part.GATEWAY: lambda: (start_gateway(*self._gateway()), self.gateway_url),
            Part.GATEWAY_WORKER: self._start_gateway_worker,
            Part.EVIDENCE: lambda: (self.evidence.start(self._neighbours()), self.evidence.address),
            Part.EVIDENCE_WORKER: lambda: (self.evidence.wait_for_worker(), self.evidence.worker_metrics_url),
            Part.PAGE: lambda: (start_page(self.directory, self.trust_policy, self.ports), self.page_url),
        }[part]

    def _start_postgres(self) -> tuple[Process, str]:
        process = self.postgres.start().process
        self._database = Databases(self.postgres).migrated(DATABASE_NAME)
        return process, f"{LOOPBACK}:{self.postgres.port}"

    def _start_ledger(self) -> tuple[Process, str]:
        trust = self.gateway_files.trust()
        process = start_ledger(self.files, self.database, self.issuer, self.nats.url, self.ports, trust=trust)
        return process, self.ledger_address

    def _start_gateway_worker(self) -> tuple[Process, str]:
        process = start_gateway_worker(*self._gateway())
        return process, f"http://{LOOPBACK}:{self.ports.gateway_worker_metrics}/metrics"

    def _gateway(self) -> tuple[Path, GatewayFiles, GatewayNeighbours, Ports]:
        neighbours = GatewayNeighbours(
            database=self.database,
            issuer=self.issuer,
            ledger_address=self.ledger_address,
            evidence_address=self.evidence.address,
        )
        return self.directory, self.gateway_files, neighbours, self.ports

    def _start_livekit(self, running: contextlib.ExitStack) -> str:
        from sandbox.livekit import start_livekit  # noqa: PLC0415 - PyAV may be missing

        reports = f"{self.gateway_url}/webhooks/in/livekit"
        self.livekit = running.enter_context(start_livekit(self.directory / "livekit", webhook_urls=[reports]))
        return self.livekit.url

    def _neighbours(self) -> Neighbours:
        return Neighbours(
            database=self.database,
            objects=self.objects,
            issuer=self.issuer,
            ledger_address=self.ledger_address,
            nats_url=self.nats.url,
            trust=self.gateway_files.trust(),
            livekit=self.livekit,
        )
