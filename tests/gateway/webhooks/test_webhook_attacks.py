"""What a compromised neighbour writes or answers must not keep webhooks from everybody else."""

import ipaddress
import json
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from gateway.problems import Problem
from gateway.webhooks import endpoints, queue
from gateway.webhooks.deliveries import replay_delivery
from gateway.webhooks.endpoints import change_endpoint, remove_endpoint, replace_secret
from gateway.webhooks.reach import may_reach
from gateway.webhooks.worker import LANES
from ledger.client import NewEvent
from tests.gateway.webhooks.world import LOOPBACK, World, caller
from tests.service.serving import FOREIGN_ORGANISATION, ORGANISATION


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


@pytest.fixture
async def _nothing_waits(world: World) -> None:
    """Tests share a database: what the one before left is not this one's."""
    async with world.pool.connection() as connection:
        await connection.execute("DELETE FROM gateway.webhook_deliveries")
        await connection.execute(
            "UPDATE gateway.webhook_endpoints SET disabled_at = 1, disabled_by = 'test' WHERE disabled_at IS NULL"
        )


async def test_a_secret_that_was_to_end_soon_does_not_live_longer_by_the_next_replacement(world: World) -> None:
    made = await world.endpoint("https://example.com/")
    endpoint_id = made.endpoint.endpoint_id
    for overlap_seconds in (60, 30 * 24 * 3600):
        replaced = replace_secret(world.records, world.sealer, caller(), endpoint_id, overlap_seconds=overlap_seconds)
        assert replaced is not None
    async with world.pool.connection() as connection:
        found = await connection.execute(
            "SELECT ends_at - created_at FROM gateway.webhook_secrets WHERE endpoint_id = %s ORDER BY created_at",
            (endpoint_id,),
        )
        leaked, between, newest = [row[0] for row in await found.fetchall()]
    assert leaked <= 70 * 1_000_000
    assert between > 29 * 24 * 3600 * 1_000_000
    assert newest is None


@pytest.mark.parametrize("hours", [-1, 1])
async def test_what_an_endpoint_is_told_of_does_not_depend_on_whose_clock_is_ahead(
    world: World, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    await world.close_session()
    wrong_ns = time.time_ns() + hours * 3_600_000_000_000
    with monkeypatch.context() as patch:
        patch.setattr(endpoints, "time", SimpleNamespace(time_ns=lambda: wrong_ns))
        made = await world.endpoint("https://example.com/")
    session = await world.close_session()
    await world.follow()
    (delivery,) = world.deliveries(made.endpoint.endpoint_id)
    assert json.loads(world.log(delivery).body)["data"]["chain_id"] == session


@pytest.mark.usefixtures("_nothing_waits")
async def test_an_organisation_whose_endpoints_all_dawdle_leaves_room_for_the_others(world: World) -> None:
    for number in range(3):
        await world.endpoint(f"https://tarpit-{number}.example/")
    for _ in range(queue.IN_FLIGHT_PER_ENDPOINT):
        await world.close_session()
    await world.follow()
    await world.endpoint("https://example.com/", organisation_id=FOREIGN_ORGANISATION)
    await world.close_session(FOREIGN_ORGANISATION)
    await world.follow()
    claimed = []
    while (parcel := await queue.claim(world.pool)) is not None:
        claimed.append(parcel.organisation_id)
    assert Counter(claimed) == {ORGANISATION: queue.IN_FLIGHT_PER_ORGANISATION, FOREIGN_ORGANISATION: 1}
    assert queue.IN_FLIGHT_PER_ENDPOINT < queue.IN_FLIGHT_PER_ORGANISATION < LANES


@pytest.mark.usefixtures("_nothing_waits")
async def test_what_waits_for_an_endpoint_that_is_not_told_any_more_keeps_nobody_busy(world: World) -> None:
    made = await world.endpoint("https://example.com/")
    endpoint_id = made.endpoint.endpoint_id
    await world.close_session()
    await world.follow()
    assert (await queue.backlog(world.pool)).pending == 1
    change_endpoint(world.records, caller(), endpoint_id, networks=LOOPBACK, enabled=False)
    waiting = await queue.backlog(world.pool)
    assert (waiting.pending, waiting.oldest_pending_us) == (0, 0)
    await queue.prune(world.pool)
    (delivery,) = world.deliveries(endpoint_id)
    assert delivery.state == "pending", "it may be switched on again"

    assert remove_endpoint(world.records, caller(), endpoint_id)
    await queue.prune(world.pool)
    (delivery,) = world.deliveries(endpoint_id)
    assert (delivery.state, delivery.ended_at is None) == ("dead", False)
    with pytest.raises(Problem, match="removed"):
        replay_delivery(world.records, caller(), delivery.delivery_id)
    assert replay_delivery(world.records, caller(FOREIGN_ORGANISATION), delivery.delivery_id) is None
