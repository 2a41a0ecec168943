"""Authorities that misbehave, and the ledger's side of asking them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.anchoring import worker
from sandbox.authorities import Authorities, Fault, start_authorities


@pytest.fixture(scope="session")
def rogue_authorities(sandbox_directory: Path) -> Iterator[Authorities]:
    """Two authorities for the tests of misbehaviour only."""
    with start_authorities(sandbox_directory / "rogue-authorities") as running:
        yield running


@pytest.fixture
def rogues(rogue_authorities: Authorities) -> Iterator[Authorities]:
    """The same, behaving at the beginning of each test."""
    rogue_authorities.two.misbehave(Fault.NONE)
    yield rogue_authorities
    rogue_authorities.two.misbehave(Fault.NONE)


@pytest.fixture(autouse=True)
def _busy_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers within the tests' process look for work at once: a test closes chains one by one and waits for each."""
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.05)
