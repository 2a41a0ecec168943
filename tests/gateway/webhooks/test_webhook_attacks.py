"""What a compromised neighbour writes or answers must not keep webhooks from everybody else."""

import ipaddress

import pytest

from gateway.webhooks.reach import may_reach
from ledger.client import NewEvent
from tests.gateway.webhooks.world import World
from tests.service.serving import FOREIGN_ORGANISATION


@pytest.mark.parametrize("artefacts", [5, [5], "x", {"a": 1}, [{"name": {"a": []}}]])
async def test_an_event_that_cannot_be_told_keeps_nobody_waiting(world: World, artefacts: object) -> None:
    theirs = await world.endpoint("https://example.com/", organisation_id=FOREIGN_ORGANISATION)
    ours = await world.endpoint("https://example.com/")
    async with world.ledger.client(FOREIGN_ORGANISATION) as client:
        poison = NewEvent(kind="clip.preserved", payload={"clip_id": 7, "artefacts": artefacts})
        await client.append_events("operations", [poison])
    await world.close_session(FOREIGN_ORGANISATION)
    await world.close_session()
    await world.follow()
    assert len(world.deliveries(ours.endpoint.endpoint_id)) == 1
    assert len(world.deliveries(theirs.endpoint.endpoint_id, FOREIGN_ORGANISATION)) == 1


@pytest.mark.parametrize("address", ["fec0::1", "feff::1", "::127.0.0.1", "::ffff:0:7f00:1", "5f00::1", "100::1"])
def test_what_once_was_private_is_out_of_reach(address: str) -> None:
    assert not may_reach(ipaddress.ip_address(address))
