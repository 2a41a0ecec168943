"""Webhooks never go into private networks: not by address, not by name, not by a name that changes its mind."""

import asyncio
import ipaddress
import socket
import threading
from typing import Any

import httpcore
import pytest

from gateway.webhooks import reach
from gateway.webhooks.queue import IN_FLIGHT_PER_ORGANISATION
from gateway.webhooks.reach import GuardedBackend, OutOfReachError, may_reach
from gateway.webhooks.sending import check_url


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
        "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_out_of_reach(address: str) -> None:
    assert not may_reach(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_a_public_address_is_within_reach(address: str) -> None:
    assert may_reach(ipaddress.ip_address(address))


def test_what_the_operator_allows_is_within_reach_and_its_neighbour_is_not() -> None:
    allowed = [ipaddress.ip_network("10.1.2.0/24"), ipaddress.ip_network("fd00:1::/32")]
    assert may_reach(ipaddress.ip_address("10.1.2.3"), allowed)
    assert may_reach(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)
    assert may_reach(ipaddress.ip_address("fd00:1::5"), allowed)
    assert not may_reach(ipaddress.ip_address("10.1.3.1"), allowed)
    assert not may_reach(ipaddress.ip_address("127.0.0.1"), allowed)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0", "2130706433", "0x7f.1", "127.1"])
async def test_nothing_is_connected_to_however_the_address_is_spelt(host: str) -> None:
    async with _listening() as (port, connections):
        with pytest.raises((OutOfReachError, httpcore.ConnectError)):
            await GuardedBackend().connect_tcp(host, port, timeout=1)
        assert connections == []


async def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolves_to(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(OutOfReachError, match=r"10\.0\.0\.1"):
        await GuardedBackend().connect_tcp("mixed.example", 443, timeout=1)


async def test_a_name_that_changes_after_it_was_looked_up_leads_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([["127.0.0.2"], ["127.0.0.1"]])

    def resolve(*_arguments: Any, **_options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in next(answers)]

    async with _listening() as (port, connections):
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with pytest.raises(httpcore.ConnectError):
            await GuardedBackend([ipaddress.ip_network("127.0.0.2")]).connect_tcp("rebinding.example", port, timeout=1)
        assert connections == []


async def test_names_whose_servers_never_answer_keep_nobody_from_finding_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering = threading.Event()

    def resolve(host: str, *_arguments: Any, **_options: Any) -> list[Any]:
        if host == "tarpit.example":
            answering.wait(120)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(reach, "RESOLVE_SECONDS", 0.5)
    try:
        # As many as one organisation keeps asking about, at a time, if each question hangs for half a minute.
        hanging = 6 * IN_FLIGHT_PER_ORGANISATION
        hopeless = [GuardedBackend().connect_tcp("tarpit.example", 443, timeout=1) for _ in range(hanging)]
        refused = await asyncio.gather(*hopeless, return_exceptions=True)
        assert all("in time" in str(one) for one in refused)
        # Less than the others hang, and more than a busy machine takes to begin with a question.
        monkeypatch.setattr(reach, "RESOLVE_SECONDS", 60.0)
        with pytest.raises(OutOfReachError, match=r"10\.0\.0\.1"):
            await GuardedBackend().connect_tcp("quick.example", 443, timeout=1)
    finally:
        answering.set()


async def test_no_socket_of_this_machine_is_connected_to() -> None:
    with pytest.raises(OutOfReachError):
        await GuardedBackend().connect_unix_socket("/run/postgresql/.s.PGSQL.5432")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.com/", "https"),
        ("ftp://example.com/", "https"),
        ("https://", "no host"),
        ("https:///hooks", "no host"),
        ("https://ann:secret@example.com/", "user name"),
        ("https://example.com/#part", "#"),
        ("https://example.com:0/", "no host"),
        ("https://example.com:99999/", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://exa mple.com/", "spaces"),
        ("https://example.com/\r\nX: y", "printable"),
        ("https://b\u00fccher.example/", "ASCII"),
        ("https://example.com/" + "a" * 2048, "2048"),
        ("", "no host"),
    ],
)
def test_an_address_that_no_endpoint_may_have_is_refused_with_what_to_change(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_url(url)


def test_plain_http_is_for_networks_that_the_operator_allowed() -> None:
    check_url("https://example.com/hooks?x=1")
    check_url("http://10.1.2.3/hooks", [ipaddress.ip_network("10.0.0.0/8")])


class _listening:  # noqa: N801 - reads as a statement
    """A listener on loopback, and who connected to it."""

    async def __aenter__(self) -> tuple[int, list[object]]:
        self.connections: list[object] = []
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1], self.connections

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _accept(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        writer.close()


def _resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def resolve(*_arguments: Any, **_options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
