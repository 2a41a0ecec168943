"""What the verify page is told at start: where bundles come from, whom it trusts, how much it accepts."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

MEBIBYTE = 1024 * 1024

# A session of 200,000 events packs to about 30 MiB; twice that leaves room, and little to a flood.
DEFAULT_MAX_UPLOAD_BYTES = 64 * MEBIBYTE
# A gateway's bundles may hold clips beside the events, and come from a service the operator chose.
DEFAULT_MAX_GATEWAY_BYTES = 256 * MEBIBYTE
# Several people of one court share one address; a reader needs about two requests a page.
DEFAULT_REQUESTS_PER_MINUTE = 240
DEFAULT_BURST = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class WebSettings:
    """Settings of one verify page.

    `bundles` is a folder of `CHAIN.zip` or `ORGANISATION/CHAIN.zip` files; `gateway` the base address of a service
    that hands out the bundle of a verify link: one or the other, or neither (then only uploads are checked).
    `trust` is a trust policy (TOML); without one nothing can be VERIFIED. `link_keys` is the TOML file of link
    keys. `proxy_hops` is the number of trusted reverse proxies in front, each adding to `X-Forwarded-For`.

    Raises `ValueError` with a clear text when the settings contradict each other.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    bundles: Path | None = None
    gateway: str | None = None
    trust: Path | None = None
    link_keys: Path | None = None
    max_upload_bytes: int = DEFAULT_MAX_UPLOAD_BYTES
    max_gateway_bytes: int = DEFAULT_MAX_GATEWAY_BYTES
    requests_per_minute: int = DEFAULT_REQUESTS_PER_MINUTE
    burst: int = DEFAULT_BURST
    proxy_hops: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be served."""
        if self.bundles is not None and self.gateway is not None:
            raise ValueError("give either a folder of bundles or a gateway, not both")
        if self.bundles is not None and not self.bundles.is_dir():
            raise ValueError(f"the folder of bundles does not exist: {self.bundles}")
        if self.link_keys is not None and self.bundles is None and self.gateway is None:
            raise ValueError("link keys are of use only with a folder of bundles or a gateway")
        if self.gateway is not None:
            _require_plain_address(self.gateway)
        for name in ("max_upload_bytes", "max_gateway_bytes", "requests_per_minute", "burst"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.proxy_hops < 0:
            raise ValueError("proxy_hops must not be negative")


def _require_plain_address(address: str) -> None:
    wrong = "the gateway must be an http:// or https:// address"
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        raise ValueError(wrong) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(wrong)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("the gateway's address must hold no user name, query or fragment")
