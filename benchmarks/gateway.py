"""One event read, and one appended, for each request: through the gateway, against the same call by gRPC.

Both go to the same ledger service, with as many callers; the gateway, with the processes it makes by itself, is on the
same machine.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import compared, figure, show
from benchmarks.stage import ORGANISATION, Stage
from sandbox.gateway import GatewayFiles, GatewayNeighbours
from sandbox.issuer import Issuer
from sandbox.processes import LOOPBACK, Process, accepts_connections, find_program, free_port
from sandbox.services import LedgerFiles, answers

CALLERS = 32
SECONDS = 5.0
EVENTS = 1_000
_READY_SECONDS = 60
# No caller of this benchmark shall be slowed down.
_UNLIMITED = "1000000"


@dataclass(frozen=True, kw_only=True, slots=True)
class Doors:
    """Where the same ledger is reached: by gRPC, and by HTTP through the gateway."""

    ledger: str
    gateway: str
    token: str


def gateway(stage: Stage, in_turns: Callable[..., list[dict[str, Any]]], rounds: int) -> None:
    """GET and POST of one event."""
    with running_doors(stage) as doors:
        grpc = {"callers": CALLERS, "seconds": SECONDS, "address": doors.ledger, "token": doors.token}
        http = {**grpc, "address": doors.gateway}
        stage.run("gateway_clients", "fill", address=doors.ledger, token=doors.token, chain="read", events=EVENTS)
        reading = {"chain": "read", "events": EVENTS}
        got, got_through, appended, appended_through = in_turns(
            rounds,
            lambda _: stage.run("gateway_clients", "grpc_get", **grpc, **reading),
            lambda _: stage.run("gateway_clients", "http_get", **http, **reading),
            lambda n: stage.run("clients", "append_unary", **grpc, prefix=f"direct-{n}", chains=CALLERS),
            lambda n: stage.run("gateway_clients", "http_post", **http, prefix=f"through-{n}"),
        )
    _show_pair("get_event", got, got_through)
    _show_pair("post_event", appended, appended_through)


def _show_pair(name: str, direct: dict[str, Any], through: dict[str, Any]) -> None:
    floor = figure(f"grpc_{name}", direct.pop("per_second"), "calls/s", **direct)
    show(floor)
    show(compared(figure(f"gateway_{name}", through.pop("per_second"), "requests/s", **through), floor, at_least=0.4))


@contextmanager
def running_doors(stage: Stage) -> Iterator[Doors]:
    """A ledger that trusts a gateway, and the gateway, on the database of the stage."""
    directory = stage.directory / "gateway"
    directory.mkdir(exist_ok=True)
    issuer = Issuer(stage.directory / "issuer")
    files = GatewayFiles.prepare(directory)
    ledger = f"{LOOPBACK}:{free_port()}"
    port = free_port()
    neighbours = GatewayNeighbours(
        database=stage.database,
        issuer=issuer,
        ledger_address=ledger,
        evidence_address=f"{LOOPBACK}:{free_port()}",
    )
    with ExitStack() as stack:
        stack.enter_context(_ledger(directory, stage, issuer, files, ledger))
        process = Process(
            "the gateway",
            [find_program("indelible"), "gateway", "--listen", f"{LOOPBACK}:{port}"],
            log=directory / "gateway.log",
            env={**neighbours.environment(files), "INDELIBLE_GATEWAY_REQUESTS_PER_SECOND": _UNLIMITED},
        )
        stack.callback(process.stop)
        process.wait_ready(lambda: answers(port), seconds=_READY_SECONDS)
        token = issuer.mint(ORGANISATION, seconds=24 * 3600, subject="bench", roles=["operator"])
        yield Doors(ledger=ledger, gateway=f"{LOOPBACK}:{port}", token=token)


@contextmanager
def _ledger(directory: Path, stage: Stage, issuer: Issuer, files: GatewayFiles, address: str) -> Iterator[None]:
    keys = LedgerFiles.prepare(directory)
    process = Process(
        "the ledger service",
        [find_program("indelible"), "serve", "--only", "api"],
        log=directory / "ledger.log",
        env={**keys.environment(stage.database, issuer, address), **files.trust()},
    )
    try:
        process.wait_ready(lambda: accepts_connections(int(address.rpartition(":")[2])), seconds=_READY_SECONDS)
        yield
    finally:
        process.stop()
