"""The ledger's only source of truth: PostgreSQL, and the one place where events are written."""

from ledger.store.store import LedgerStore

__all__ = ["LedgerStore"]
