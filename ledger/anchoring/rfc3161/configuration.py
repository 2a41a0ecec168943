"""What the operator configures for one time-stamp authority, as values that were already checked."""

from dataclasses import dataclass, field
from pathlib import Path

from ledger.store.values import AnchorTarget

BACKEND = "rfc3161"

DEFAULT_TIMEOUT_SECONDS = 15.0  # real authorities answer within one or two
DEFAULT_CONCURRENCY = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class BasicAuth:
    """Name and password for HTTP basic authentication. Neither shows when the value is printed or logged."""

    name: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class AuthorityConfiguration:
    """One authority. `roots` and `intermediates` are DER; `policies` dotted OIDs, empty for any.

    `timeout_seconds` bounds one request as a whole; `min_interval_seconds` is the pause from one request to the
    next in one worker process.
    """

    name: str
    url: str
    roots: tuple[bytes, ...]
    intermediates: tuple[bytes, ...] = ()
    policies: frozenset[str] = frozenset()
    basic_auth: BasicAuth | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    min_interval_seconds: float = 0.0
    concurrency: int = DEFAULT_CONCURRENCY

    @property
    def target(self) -> AnchorTarget:
        """How anchor jobs name this authority."""
        return AnchorTarget(backend=BACKEND, authority=self.name)
