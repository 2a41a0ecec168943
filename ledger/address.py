"""Addresses on a network."""

import ipaddress
from dataclasses import dataclass


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
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read HOST:PORT or [IPV6]:PORT. Raises ValueError."""
        host, separator, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        highest = 65_535
        if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > highest:
            raise ValueError("write it as HOST:PORT, for example 127.0.0.1:50051")
        return cls(host=host, port=int(port))
