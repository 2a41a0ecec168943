"""One authority on the local calendars, driven round by round, with a clock that the test moves."""

import asyncio
import base64
import contextlib
import json
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.anchoring.opentimestamps import OpenTimestampsBackend, OpenTimestampsConfiguration, open_opentimestamps
from ledger.anchoring.port import InProgress, Obtained
from sandbox.calendar import CalendarSandbox
from verifier.opentimestamps import ProofResult, check_proof, load_headers

State = Mapping[str, Any]


def new_head() -> bytes:
    return secrets.token_bytes(32)


@dataclass
class Anchoring:
    sandbox: CalendarSandbox
    now: datetime = field(default_factory=lambda: datetime.now(tz=UTC))

    def configuration(self, **changes: Any) -> OpenTimestampsConfiguration:
        members: dict[str, Any] = {
            "name": "bitcoin",
            "calendars": self.sandbox.calendars,
            "minimum_calendars": 2,
            "header_urls": self.sandbox.explorers,
            "confirmations": 1,
            "network": "regtest",
            "timeout_seconds": 20.0,  # a busy machine is not an outage
        }
        return OpenTimestampsConfiguration(**members | changes)

    @contextlib.asynccontextmanager
    async def backend(self, **changes: Any) -> AsyncIterator[OpenTimestampsBackend]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used on this machine, and without roots made at once
        async with open_opentimestamps(self.configuration(**changes), tls, clock=lambda: self.now) as backend:
            yield backend

    async def mine(self, count: int = 1) -> None:
        await asyncio.to_thread(self.sandbox.mine, count)

    def pass_time(self, **time: float) -> None:
        self.now += timedelta(**time)

    def check(self, proof: bytes, head: bytes, *, upto: int | None = None) -> ProofResult:
        """The verifier's word on a proof, with all headers there are."""
        headers = load_headers(self.sandbox.headers().encode().splitlines(), network="regtest")
        known = {height: header for height, header in headers.items() if upto is None or height <= upto}
        return check_proof(proof, digest=head, headers=known, network="regtest")


async def round_of(backend: OpenTimestampsBackend, head: bytes, state: State | None = None) -> State:
    """One round that is not the last; the state as the database would give it back."""
    outcome = await backend.anchor(head, state)
    assert isinstance(outcome, InProgress)
    stored: State = json.loads(json.dumps(dict(outcome.state)))
    return stored


async def last_round_of(backend: OpenTimestampsBackend, head: bytes, state: State | None) -> Obtained:
    outcome = await backend.anchor(head, state)
    assert isinstance(outcome, Obtained), outcome
    return outcome


def proof_in(state: State) -> bytes:
    return base64.b64decode(state["proof"])
