import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.app import create_app
from gateway.cli import gateway as command
from gateway.door import BURST_REQUESTS, MAX_DOWNLOADS, MAX_DOWNLOADS_OF_ONE
from gateway.ratelimit import RateLimiter
from gateway.shared import Table
from ledger.client import BlockingLedgerClient
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.processes import Process, find_program, free_port
from tests.service.serving import FOREIGN_ORGANISATION, START_SECONDS, Service, running_service

# What `indelible gateway` runs, without depending on how it is installed.
RUN_GATEWAY = "from gateway.cli import gateway; gateway()"
# The same, which allows an address fewer requests a second than the slowest machine makes.
RUN_STRICT_GATEWAY = f"from gateway import app; app.REQUESTS_PER_SECOND = 2.0; {RUN_GATEWAY}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, module_database: Database, issuer: Issuer) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), module_database, issuer) as running:
        yield running


@pytest.fixture(scope="module")
def ledger(service: Service) -> Iterator[BlockingLedgerClient]:
    with service.blocking_client() as client:
        yield client


class Gateway:
    """`indelible gateway` as a process in front of a ledger's address."""

    def __init__(self, directory: Path, ledger_address: str, run: str = RUN_GATEWAY) -> None:
        self.port = free_port()
        self.log = directory / f"gateway-{self.port}.log"
        self.process = Process(
            "the gateway",
            [
                *(find_program("python"), "-c", run),
                *("--listen", f"127.0.0.1:{self.port}", "--ledger", ledger_address),
            ],
            log=self.log,
        )
        self.process.wait_ready(self._answers, seconds=START_SECONDS)

    def _answers(self) -> bool:
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def get(self, path: str, method: str = "GET", body: bytes | None = None) -> "Answer":
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body=body)
            return Answer(connection.getresponse())
        finally:
            connection.close()


class Answer:
    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()


@pytest.fixture(scope="module")
def gateway(service: Service) -> Iterator[Gateway]:
    running = Gateway(service.directory, service.address)
    yield running
    running.process.stop()
    assert running.process.exit_code == 0


@pytest.fixture
def strict_gateway(service: Service) -> Iterator[Gateway]:
    running = Gateway(service.directory, service.address, RUN_STRICT_GATEWAY)
    yield running
    running.process.stop()


def assert_guarded(answer: Answer) -> None:
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "server" not in answer.headers


def test_a_link_brings_its_bundle(gateway: Gateway, ledger: BlockingLedgerClient, tmp_path: Path) -> None:
    ledger.open_chain("shown")
    link = ledger.create_verify_link("shown")
    answer = gateway.get(f"/verify-links/{link.token}/bundle")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/zip"
    assert_guarded(answer)
    ledger.export_bundle("shown", tmp_path / "bundle.zip")
    assert answer.body == (tmp_path / "bundle.zip").read_bytes()
    assert zipfile.ZipFile(io.BytesIO(answer.body)).testzip() is None


def test_a_revoked_link_is_gone(gateway: Gateway, ledger: BlockingLedgerClient) -> None:
    ledger.open_chain("withdrawn")
    link = ledger.create_verify_link("withdrawn")
    ledger.revoke_verify_link(link.link_id)
    answer = gateway.get(f"/verify-links/{link.token}/bundle")
    assert answer.status == 410
    assert_guarded(answer)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "test.e30.AAAA",
        "%00",
        "a%2Fb",
        "..%2f..%2fetc%2fpasswd",
        "%C3%A9",
        "x" * 1025,
        "%0d%0aSet-Cookie:a",
        "a%20b",
    ],
)
def test_every_forged_link_is_told_the_same(gateway: Gateway, token: str) -> None:
    answer = gateway.get(f"/verify-links/{token}/bundle")
    assert answer.status == 404
    assert_guarded(answer)
    assert "set-cookie" not in answer.headers
    assert json.loads(answer.body)["error"] in {"There is no such verify link.", "Not Found"}


def test_a_changed_token_is_told_nothing_more_than_an_invented_one(
    gateway: Gateway, ledger: BlockingLedgerClient
) -> None:
    ledger.open_chain("guessed")
    token = ledger.create_verify_link("guessed").token
    invented = gateway.get("/verify-links/invented/bundle")
    for position in range(0, len(token) - 2, 25):
        other = "A" if token[position] != "A" else "B"
        changed = gateway.get(f"/verify-links/{token[:position]}{other}{token[position + 1 :]}/bundle")
        assert (changed.status, changed.body) == (invented.status, invented.body)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/verify-links/x/bundle", 405),
        ("DELETE", "/healthz", 405),
        ("GET", "/", 404),
        ("GET", "/verify-links/", 404),
        ("GET", "/static/../../etc/passwd", 404),
        ("GET", "/" + "a" * 10_000, 404),
    ],
)
def test_nothing_else_is_served(gateway: Gateway, method: str, path: str, status: int) -> None:
    answer = gateway.get(path, method)
    assert answer.status == status
    assert_guarded(answer)


def test_a_request_with_a_large_body_is_refused_before_it_is_read(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"POST /verify-links/x/bundle HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
        assert b" 413 " in connection.recv(200)
    assert gateway.get("/healthz").status == 200


def test_headers_beyond_the_limit_are_refused(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Padding: " + b"x" * 30_000 + b"\r\n\r\n")
        assert b" 431 " in connection.recv(200)
    assert gateway.get("/healthz").status == 200


def test_too_many_requests_are_slowed_down_but_health_is_not(strict_gateway: Gateway) -> None:
    burst = [strict_gateway.get("/verify-links/x/bundle") for _ in range(BURST_REQUESTS)]
    assert {answer.status for answer in burst} == {404}
    # However slowly this machine asks: while it does, more requests are allowed, though fewer than it makes.
    more = (strict_gateway.get("/verify-links/x/bundle") for _ in range(10 * BURST_REQUESTS))
    slowed = next(answer for answer in more if answer.status != 404)
    assert slowed.status == 429
    assert int(slowed.headers["retry-after"]) >= 1
    assert strict_gateway.get("/healthz").status == 200
    time.sleep(1)
    assert strict_gateway.get("/verify-links/x/bundle").status == 404


def test_a_ledger_that_is_away_is_told_with_when_to_come_back(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, f"127.0.0.1:{free_port()}")
    try:
        answer = gateway.get("/verify-links/test.e30.AAAA/bundle")
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert_guarded(answer)
        assert gateway.get("/healthz").status == 200
        assert "Traceback" not in gateway.log.read_text()
    finally:
        gateway.process.stop()


def test_many_readers_at_once_all_get_the_whole_bundle(gateway: Gateway, ledger: BlockingLedgerClient) -> None:
    ledger.open_chain("popular")
    token = ledger.create_verify_link("popular").token
    bodies: list[tuple[int, bytes]] = []

    def read() -> None:
        answer = gateway.get(f"/verify-links/{token}/bundle")
        bodies.append((answer.status, answer.body))

    threads = [threading.Thread(target=read) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in bodies} == {200}
    assert len({body for _, body in bodies}) == 1


def test_slow_readers_of_one_organisations_links_leave_room_for_those_of_another(
    service: Service, ledger: BlockingLedgerClient
) -> None:
    app = create_app(ledger)
    with service.blocking_client(FOREIGN_ORGANISATION) as other, ExitStack() as reading:

        def read(client: BlockingLedgerClient, name: str) -> int:
            client.open_chain(name)
            path = f"/verify-links/{client.create_verify_link(name).token}/bundle"
            answer = app.test_client().get(path, buffered=False)
            reading.callback(answer.close)
            return answer.status_code

        ours = [read(ledger, f"slow-{number}") for number in range(MAX_DOWNLOADS_OF_ONE + 1)]
        assert ours == [200] * MAX_DOWNLOADS_OF_ONE + [429]
        theirs = [read(other, f"slow-{number}") for number in range(MAX_DOWNLOADS - MAX_DOWNLOADS_OF_ONE + 1)]
        assert theirs == [200] * (MAX_DOWNLOADS - MAX_DOWNLOADS_OF_ONE) + [503]
        reading.close()
        assert read(ledger, "slow-again") == 200


def test_an_address_in_use_is_one_clear_line(gateway: Gateway, tmp_path: Path) -> None:
    second = Process(
        "a second gateway",
        [find_program("python"), "-c", RUN_GATEWAY, "--listen", f"127.0.0.1:{gateway.port}"],
        log=tmp_path / "second.log",
    )
    assert second.wait(START_SECONDS) == 2
    assert "cannot listen" in (tmp_path / "second.log").read_text()
    assert "Traceback" not in (tmp_path / "second.log").read_text()


@pytest.mark.parametrize("proxy", ["proxy.example.org", "*", "10.0.0.0/8"])
def test_a_trusted_proxy_is_one_ip_address(proxy: str) -> None:
    result = CliRunner().invoke(command, ["--listen", "127.0.0.1:0", "--trusted-proxy", proxy])
    assert result.exit_code == 2
    assert "give its IP address" in result.output


def test_a_rate_limiter_forgets_old_addresses_and_nothing_else() -> None:
    now = [0.0]
    limiter = RateLimiter(per_second=1, burst=2, table=Table(3), clock=lambda: now[0])
    assert [limiter.wait_seconds("a") for _ in range(3)] == [0, 0, 1]
    for key in ("b", "c", "d"):
        now[0] += 0.001
        limiter.wait_seconds(key)
    assert limiter.wait_seconds("a") == 0
    assert limiter.wait_seconds("d") == 0
    assert limiter.wait_seconds("d") == 1
    now[0] += 0.5
    assert limiter.wait_seconds("d") == pytest.approx(0.5)
    now[0] += 0.5
    assert limiter.wait_seconds("d") == 0
