"""Where webhooks may be sent: the public network, and what the operator allows beside it.

An endpoint's address is a customer's word. Sent without looking, a webhook would carry requests into the operator's own
network, to whatever listens there and trusts its neighbours. What counts is the address that is connected to, so it is
checked at that moment and the connection goes to that very address: a name that resolved well a moment before proves
nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

RESOLVE_SECONDS = 5.0
# A name whose servers never answer keeps a thread for as long as the system asks them, which may be half a minute; all
# names of one organisation together leave threads for those of the others.
MAX_LOOKUPS = 64
_LOOKUPS = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="lookup")
# Addresses in which another one is written: what is behind them is not what they look like.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Addresses of a site's own, until RFC 3879 gave them up: networks that still use them are private.
_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")
_WRAPPING = (
    ipaddress.IPv6Network("2002::/16"),
    ipaddress.IPv6Network("2001::/32"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
)


class OutOfReachError(Exception):
    """An address that webhooks may not be sent to, or a name without one; the text says which."""


def may_reach(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether a webhook may be sent there."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return may_reach(address.ipv4_mapped, allowed)
        if address in _NAT64:
            return may_reach(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), allowed)
    if any(address in network for network in allowed if network.version == address.version):
        return True
    if isinstance(address, ipaddress.IPv6Address) and (
        address.scope_id is not None or any(address in network for network in (*_WRAPPING, _SITE_LOCAL))
    ):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects only where `may_reach` says so, to the address that was looked at."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers. Raises OutOfReachError when any of them may not be reached."""
        addresses = await _resolve(host, port)
        for address in addresses:
            if not may_reach(address, self._allowed):
                # One is enough: a name that mixes public and private addresses is somebody trying.
                raise OutOfReachError(f"{host} is at {address}, where webhooks are not sent")
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or OutOfReachError(f"{host} has no address")

    async def connect_unix_socket(self, *_arguments: Any, **_options: Any) -> httpcore.AsyncNetworkStream:
        """Never: an endpoint is on a network."""
        raise OutOfReachError("webhooks are not sent to sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        """As asyncio's."""
        await asyncio.sleep(seconds)


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look_up)
    except TimeoutError:
        raise OutOfReachError(f"the address of {host} was not found in time") from None
    except (OSError, UnicodeError):
        raise OutOfReachError(f"{host} has no address") from None
    addresses = [ipaddress.ip_address(socket_address[0]) for *_, socket_address in found]
    return list(dict.fromkeys(addresses))
