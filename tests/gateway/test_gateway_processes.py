"""`indelible gateway` as several processes that act as one, also when one of them dies."""

import os
import re
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest

from gateway.auth.signing import make_key, write_keys
from gateway.processes import STOP_SECONDS
from gateway.shared import Counter, Numbers, Table
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.processes import Process, find_program, free_port
from sandbox.services import answers
from tests.gateway.auth.bench import settings_of
from tests.gateway.rest.world import token

PROCESSES = 3
# Enough for each process to get some of them.
CONNECTIONS = 24
START_SECONDS = 120


class Gateway:
    """A gateway of several processes, and many connections to it."""

    def __init__(self, directory: Path, environment: Mapping[str, str], issuer: Issuer) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.bearer = token(issuer)
        self.log = directory / "gateway.log"
        self.process = Process(
            "the gateway",
            [find_program("indelible"), "gateway", "serve"],
            log=self.log,
            env={
                "INDELIBLE_GATEWAY_PROCESSES": str(PROCESSES),
                "INDELIBLE_GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
                "INDELIBLE_GATEWAY_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
                **environment,
            },
        )
        self.process.wait_ready(lambda: len(self.workers()) > PROCESSES and answers(self.port), seconds=START_SECONDS)

    def workers(self) -> list[psutil.Process]:
        """Those that serve, and the one that tells metrics."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return found

    def connect(self, stack: ExitStack) -> list[HTTPConnection]:
        """Connections that stay open, each at one process for good."""
        opened = [HTTPConnection("127.0.0.1", self.port, timeout=120) for _ in range(CONNECTIONS)]
        for one in opened:
            stack.callback(one.close)
            one.connect()
        return opened

    def ask(self, line: HTTPConnection, path: str, bearer: str = "", method: str = "GET", body: str = "") -> Any:
        line.request(method, path, body or None, {"Authorization": f"Bearer {bearer or self.bearer}", **_type(body)})
        answer = line.getresponse()
        return answer.status, answer.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in text.splitlines() if re.match(rf"{name}[{{ ]", line)]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(one in line for one in wanted))


def _type(body: str) -> dict[str, str]:
    return {"Content-Type": "application/json"} if body else {}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> dict[str, str]:
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    write_keys(keys, [make_key()])
    return settings_of(module_database, issuer, keys)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str], issuer: Issuer) -> Iterator[Gateway]:
    running = Gateway(tmp_path_factory.mktemp("gateway"), environment, issuer)
    yield running
    running.process.stop()


def test_what_one_process_revokes_no_process_believes_any_more(gateway: Gateway) -> None:
    with ExitStack() as stack:
        lines = gateway.connect(stack)
        body = '{"name":"till","roles":["auditor"],"scopes":["gateway:read"]}'
        status, made = gateway.ask(lines[0], "/api/v1/credentials", method="POST", body=body)
        assert status == 201, made
        client, secret = (re.findall(rf'"{name}":"([^"]+)"', made)[0] for name in ("client_id", "client_secret"))
        form = f"grant_type=client_credentials&client_id={client}&client_secret={secret}"
        lines[0].request("POST", "/oauth/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
        machine = re.findall(r'"access_token":"([^"]+)"', lines[0].getresponse().read().decode())[0]
        assert {gateway.ask(line, "/api/v1/credentials", machine)[0] for line in lines} == {200}
        path = f"/api/v1/credentials/{client.rpartition('.')[2]}/revocation"
        status, said = gateway.ask(lines[0], path, method="POST", body='{"reason":"lost"}')
        assert status == 200, said
        assert {gateway.ask(line, "/api/v1/credentials", machine)[0] for line in lines} == {401}


def test_a_limit_is_one_limit_and_metrics_add_up_over_all_processes(
    tmp_path: Path, environment: dict[str, str], issuer: Issuer
) -> None:
    slow = {**environment, "INDELIBLE_GATEWAY_REQUESTS_PER_SECOND": "1"}
    gateway = Gateway(tmp_path, slow, issuer)
    try:
        with ExitStack() as stack:
            began = time.monotonic()
            given = [gateway.ask(line, "/api/v1/credentials")[0] for line in gateway.connect(stack)]
            took = time.monotonic() - began
        assert 5 <= given.count(200) <= 6 + took
        assert set(given) == {200, 429}
        labels = {"method": "GET", "route": "/api/v1/credentials"}
        for status in (200, 429):
            counted = gateway.metric("indelible_gateway_requests_total", **labels, status=str(status))
            assert counted == given.count(status)
        assert gateway.metric("indelible_gateway_request_seconds_count", **labels) == CONNECTIONS
        decided = gateway.metric("indelible_gateway_decisions_total", action="credential.view", outcome="allowed")
        assert decided == given.count(200)
    finally:
        gateway.process.stop()


def test_no_process_outlives_the_first(tmp_path: Path, environment: dict[str, str], issuer: Issuer) -> None:
    gateway = Gateway(tmp_path, environment, issuer)
    workers = gateway.workers()
    os.kill(gateway.process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=STOP_SECONDS + 40)
    assert not alive


def test_addresses_and_methods_that_callers_make_up_make_no_metrics(gateway: Gateway) -> None:
    with ExitStack() as stack:
        line = gateway.connect(stack)[0]
        for number in range(5):
            gateway.ask(line, f"/made-up-{number}", method=f"MADEUP{number}")
            gateway.ask(line, f"/api/v1/sessions/made-up-{number}/events")
    assert gateway.metric("indelible_gateway_requests_total", method="other", route="unknown") == 5
    route = "/api/v1/sessions/<session_id>/events"
    assert gateway.metric("indelible_gateway_requests_total", route=route) == 5


def test_a_second_gateway_at_the_same_address_does_not_take_its_callers(
    gateway: Gateway, environment: dict[str, str], tmp_path: Path
) -> None:
    second = Process(
        "a second gateway",
        [find_program("indelible"), "gateway", "serve"],
        log=tmp_path / "second.log",
        env={**environment, "INDELIBLE_GATEWAY_LISTEN": f"127.0.0.1:{gateway.port}"},
    )
    assert second.wait(START_SECONDS) == 2
    assert "cannot listen" in second.log.read_text()
    assert "Traceback" not in second.log.read_text()


def test_a_process_that_dies_is_replaced_and_the_others_go_on(gateway: Gateway) -> None:
    before = {one.pid for one in gateway.workers()}
    # The first of them tells metrics.
    victim = max(before)
    os.kill(victim, signal.SIGKILL)
    with ExitStack() as stack:
        assert {gateway.ask(line, "/api/v1/credentials")[0] for line in gateway.connect(stack)} == {200}
    deadline = time.monotonic() + START_SECONDS
    while len({one.pid for one in gateway.workers()} - {victim}) <= PROCESSES:
        assert time.monotonic() < deadline, "the process that died was not replaced"
        time.sleep(0.1)
    assert "gateway_process_ended" in gateway.log.read_text()


def test_a_request_under_way_is_answered_before_the_gateway_ends(
    tmp_path: Path, environment: dict[str, str], issuer: Issuer
) -> None:
    """The ledger is somebody who takes calls and hangs up once the gateway was told to end."""
    with socket.create_server(("127.0.0.1", 0)) as dawdler:
        called, told = threading.Event(), threading.Event()
        threading.Thread(target=_dawdle, args=(dawdler, called, told), daemon=True).start()
        ledger = f"127.0.0.1:{dawdler.getsockname()[1]}"
        gateway = Gateway(tmp_path, {**environment, "INDELIBLE_LEDGER": ledger}, issuer)
        with ExitStack() as stack:
            stack.callback(told.set)
            line = gateway.connect(stack)[0]
            called.clear()
            line.request("GET", "/api/v1/sessions/x", headers={"Authorization": f"Bearer {gateway.bearer}"})
            assert called.wait(60), "the ledger was not asked"
            # As a service manager does: to all of them, and the first one passes it on.
            for one in (*gateway.workers(), psutil.Process(gateway.process.pid)):
                one.terminate()
            told.set()
            assert line.getresponse().status == 503
        assert gateway.process.wait(STOP_SECONDS + 40) == 0


def _dawdle(listening: socket.socket, called: threading.Event, told: threading.Event) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        called.set()
        told.wait(60)
        connection.close()


def test_what_is_shared_is_the_same_in_every_process_and_has_no_lock_that_outlives_its_holder() -> None:
    table, counter = Table(10), Counter()
    child = os.fork()
    if child == 0:
        counter.add()
        table.update("key", lambda _: (1.0, 2.0))
        table.update("other", lambda _: os._exit(0))
    os.waitpid(child, 0)
    assert counter.read() == 1
    assert [look(table, key) for key in ("key", "other")] == [(1.0, 2.0), None]


def test_no_count_is_lost_between_threads_and_processes() -> None:
    table, each = Table(4), 2_000

    def count() -> None:
        for number in range(each):
            table.update(f"key-{number % 2}", lambda known: ((known or (0.0, 0.0))[0] + 1, 0.0))

    child = os.fork()
    if child == 0:
        count()
        os._exit(0)
    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert sum((look(table, f"key-{number}") or (0.0, 0.0))[0] for number in range(2)) == each * 3


def look(table: Table, key: str) -> Numbers | None:
    """What a table knows of a key."""
    found: list[Numbers | None] = []

    def keep(known: Numbers | None) -> Numbers:
        found.append(known)
        return known or (0.0, 0.0)

    table.update(key, keep)
    return found[0]
