"""Events to append, and what became of them."""

import pytest

from ledger.errors import LedgerError
from ledger.store import LedgerStore
from ledger.store.values import NewEvent

EVENT = NewEvent(kind="door.opened", payload=b'{"door":"north"}')
OTHER = NewEvent(kind="door.opened", payload=b'{"door":"south"}')
SEALED = NewEvent(kind="visitor.named", payload=b'{"name":"Ann","door":"north"}', sealed_members=("name",))


async def refused(work: object) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        await work  # type: ignore[misc]  # any of the store's calls
    return caught.value


async def payloads(store: LedgerStore, chain_id: str) -> list[str]:
    events = await store.list_events("acme", chain_id, from_sequence=2, limit=1000)
    return [event.payload for event in events]
