import pytest

from ledger.store import LedgerStore


@pytest.fixture
async def visit(store: LedgerStore) -> str:
    await store.open_chain("acme", "visit", b"{}")
    return "visit"
