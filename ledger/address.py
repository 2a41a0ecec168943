"""Addresses on a network."""

import ipaddress
import re
from dataclasses import dataclass

# Names of hosts as DNS and container networks have them.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A host and a TCP port to listen on or to call."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it."""
        return self.host == "localhost" or (_is_ip(self.host) and ipaddress.ip_address(self.host).is_loopback)

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read HOST:PORT or [IPV6]:PORT. Raises ValueError."""
        host, separator, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        highest = 65_535
        is_host = _NAME.fullmatch(host) or _is_ip(host)
        if not separator or not is_host or not _PORT.fullmatch(port) or int(port) > highest:
            raise ValueError("write it as HOST:PORT, for example 127.0.0.1:50051")
        return cls(host=host, port=int(port))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
