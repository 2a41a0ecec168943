"""Everything that happened is told to whoever asked for it: at least once, under one id, to nobody else."""

import json
from datetime import timedelta

import psycopg
import pytest
from cryptography.fernet import Fernet
from standardwebhooks import Webhook

from gateway.problems import Problem
from gateway.webhooks import endpoints, queue
from gateway.webhooks.catalogue import EventType
from gateway.webhooks.deliveries import get_delivery, list_deliveries, replay_dead, replay_delivery
from gateway.webhooks.endpoints import change_endpoint, list_endpoints, remove_endpoint, replace_secret
from gateway.webhooks.following import follow_once
from gateway.webhooks.queue import PAUSES_SECONDS, claim, pause_after, settle
from gateway.webhooks.sealing import Sealer, SealingError
from gateway.webhooks.sending import Attempt
from gateway.webhooks.signing import read_secret
from tests.gateway.webhooks.receiver import Receiver, answer
from tests.gateway.webhooks.world import LOOPBACK, World, caller
from tests.service.serving import FOREIGN_ORGANISATION, ORGANISATION

FAILED = Attempt(status=500, seconds=0.1, problem="answered with status 500", answer="")


@pytest.fixture(autouse=True)
async def _a_clean_table(world: World) -> None:
    """Tests share a database: what the one before left waiting is not this one's."""
    async with world.pool.connection() as connection:
        await connection.execute("DELETE FROM gateway.webhook_deliveries")
        await connection.execute(
            "UPDATE gateway.webhook_endpoints SET disabled_at = 1, disabled_by = 'test' WHERE disabled_at IS NULL"
        )


async def test_a_closed_session_is_told_with_its_head_and_the_event_that_proves_it(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.endpoint(receiver.url)
        session = await world.close_session()
        await world.follow()
        sent = await world.send_once()
        assert sent is not None
        assert sent[2] == "DELIVERED"
        assert await world.send_once() is None
    (received,) = receiver.received
    message = Webhook(made.secret).verify(received.body, received.headers)
    assert message["type"] == "session.closed"
    assert message["data"]["chain_id"] == session
    assert message["data"]["organisation_id"] == ORGANISATION
    async with world.ledger.client() as client:
        chain = await client.get_chain(session)
        noted = [event async for event in client.list_events("operations", kinds=["ledger.chain_closed"])][-1]
    assert message["data"]["head"] == chain.head.hex()
    assert message["data"]["event"]["hash"] == noted.hash.hex()
    assert received.headers["webhook-id"] == f"evt_{noted.hash.hex()}"
    (delivery,) = world.deliveries(made.endpoint.endpoint_id)
    assert (delivery.state, delivery.attempts) == ("delivered", 1)
    log = world.log(delivery)
    assert json.loads(log.body) == message
    assert [(one.number, one.status, one.problem) for one in log.attempts] == [(1, 200, "")]


async def test_only_what_was_asked_for_is_told_and_nothing_from_before(world: World) -> None:
    await world.close_session()
    made = await world.endpoint("https://example.com/")
    other = await world.endpoint("https://example.com/", [EventType.HOLD_PLACED])
    session = await world.close_session()
    await world.follow()
    (delivery,) = world.deliveries(made.endpoint.endpoint_id)
    assert json.loads(world.log(delivery).body)["data"]["chain_id"] == session
    assert world.deliveries(other.endpoint.endpoint_id) == []


async def test_reading_the_chain_again_tells_nothing_twice(world: World) -> None:
    made = await world.endpoint("https://example.com/")
    await world.close_session()
    await world.follow()
    async with world.pool.connection() as connection:
        await connection.execute("UPDATE gateway.webhook_cursors SET next_sequence = 1")
    await world.follow()
    assert len(world.deliveries(made.endpoint.endpoint_id)) == 1


async def test_a_worker_that_dies_while_it_follows_a_chain_has_done_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await world.endpoint("https://example.com/")
    await world.close_session()
    await world.due_now()

    dying = "SELECT pg_terminate_backend(pg_backend_pid()), %s, %s, %s"
    with monkeypatch.context() as patch:
        patch.setattr("gateway.webhooks.following._MOVE", dying)
        with pytest.raises(psycopg.Error):
            await follow_once(world.pool, world.ledger_of)
    assert world.deliveries(made.endpoint.endpoint_id) == []
    await world.follow()
    assert len(world.deliveries(made.endpoint.endpoint_id)) == 1


async def test_a_worker_that_dies_after_sending_leaves_a_message_that_is_sent_again_under_its_id(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.endpoint(receiver.url)
        await world.close_session()
        await world.follow()
        first = await claim(world.pool)
        assert first is not None
        assert await claim(world.pool) is None
        await world.sender.send(receiver.url, [b"x" * 32], first.message_id, first.body)
        async with world.pool.connection() as connection:
            await connection.execute("UPDATE gateway.webhook_deliveries SET leased_until = now() - interval '1 s'")
        again = await world.send_once()
    assert again is not None
    assert again[2] == "DELIVERED"
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1
    # The one who was thought dead and comes back settles nothing any more.
    await settle(world.pool, first, FAILED)
    assert world.deliveries(made.endpoint.endpoint_id)[0].state == "delivered"


async def test_a_receiver_that_fails_is_tried_for_about_a_day_and_then_given_up_until_it_is_asked_for(
    world: World,
) -> None:
    async with Receiver([answer(500, b"sorry")]) as receiver:
        made = await world.endpoint(receiver.url)
        await world.close_session()
        await world.follow()
        states = []
        while (sent := await world.send_once()) is not None:
            states.append(sent[2])
            await world.due_now()
        assert states == ["PENDING"] * len(PAUSES_SECONDS) + ["DEAD"]
        (delivery,) = world.deliveries(made.endpoint.endpoint_id)
        assert (delivery.state, delivery.attempts) == ("dead", len(PAUSES_SECONDS) + 1)
        assert world.log(delivery).attempts[0].answer == "sorry"
        receiver.answers = [answer(204)]
        replayed = replay_delivery(world.records, caller(), delivery.delivery_id)
        assert replayed is not None
        assert replayed.state == "pending"
        sent = await world.send_once()
        assert sent is not None
        assert sent[2] == "DELIVERED"
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1
    assert 20 * 3600 < sum(PAUSES_SECONDS) < 28 * 3600


async def test_all_that_was_given_up_can_be_sent_again_at_once(world: World) -> None:
    async with Receiver([answer(410)]) as receiver:
        made = await world.endpoint(receiver.url)
        await world.close_session()
        await world.follow()
        await world.send_once()
        change_endpoint(world.records, caller(), made.endpoint.endpoint_id, networks=LOOPBACK, enabled=True)
        assert replay_dead(world.records, caller(FOREIGN_ORGANISATION), made.endpoint.endpoint_id, days=1) == 0
        assert replay_dead(world.records, caller(), made.endpoint.endpoint_id, days=1) == 1
        receiver.answers = [answer(200)]
        sent = await world.send_once()
        assert sent is not None
        assert sent[2] == "DELIVERED"


async def test_a_receiver_that_says_it_is_gone_is_not_told_any_more(world: World) -> None:
    async with Receiver([answer(410)]) as receiver:
        made = await world.endpoint(receiver.url)
        await world.close_session()
        await world.follow()
        sent = await world.send_once()
        assert sent is not None
        assert sent[2] == "DEAD"
        await world.close_session()
        await world.follow()
        assert await world.send_once() is None
    (endpoint,) = [
        one
        for one in list_endpoints(world.records, ORGANISATION, after=None, limit=100)
        if one.endpoint_id == made.endpoint.endpoint_id
    ]
    assert endpoint.disabled_reason is not None
    assert "410" in endpoint.disabled_reason
    assert len(world.deliveries(made.endpoint.endpoint_id)) == 1


@pytest.mark.parametrize(("tries", "seconds"), [(1, 5), (2, 30), (10, 36_000), (99, 36_000)])
def test_pauses_grow_and_are_never_shorter_than_the_receiver_asks(tries: int, seconds: int) -> None:
    assert timedelta(seconds=seconds) <= pause_after(tries, FAILED) <= timedelta(seconds=seconds * 1.2)
    patient = Attempt(
        status=429, seconds=0.1, problem="answered with status 429", answer="", retry_after_seconds=86_400
    )
    assert pause_after(tries, patient) == timedelta(days=1)


async def test_one_endpoint_that_is_slow_does_not_hold_up_the_others(world: World) -> None:
    slow = await world.endpoint("https://slow.example/")
    for _ in range(queue.IN_FLIGHT_PER_ENDPOINT + 3):
        await world.close_session()
    quick = await world.endpoint("https://quick.example/")
    await world.close_session()
    await world.follow()
    claimed = []
    while (parcel := await claim(world.pool)) is not None:
        claimed.append(parcel.endpoint_id)
    assert claimed.count(slow.endpoint.endpoint_id) == queue.IN_FLIGHT_PER_ENDPOINT
    assert claimed.count(quick.endpoint.endpoint_id) == 1


async def test_no_organisation_sees_or_is_told_of_anothers(world: World) -> None:
    mine = await world.endpoint("https://example.com/")
    theirs = await world.endpoint("https://example.com/", organisation_id=FOREIGN_ORGANISATION)
    await world.close_session()
    await world.close_session(FOREIGN_ORGANISATION)
    await world.follow()
    for made, organisation_id, other in (
        (mine, ORGANISATION, FOREIGN_ORGANISATION),
        (theirs, FOREIGN_ORGANISATION, ORGANISATION),
    ):
        endpoint_id = made.endpoint.endpoint_id
        (delivery,) = world.deliveries(endpoint_id, organisation_id)
        found = get_delivery(world.records, organisation_id, delivery.delivery_id)
        assert found is not None
        assert json.loads(found.body)["data"]["organisation_id"] == organisation_id
        stranger = caller(other)
        assert endpoints.get_endpoint(world.records, other, endpoint_id) is None
        assert get_delivery(world.records, other, delivery.delivery_id) is None
        assert replay_delivery(world.records, stranger, delivery.delivery_id) is None
        assert change_endpoint(world.records, stranger, endpoint_id, networks=LOOPBACK, enabled=False) is None
        assert replace_secret(world.records, world.sealer, stranger, endpoint_id) is None
        assert not remove_endpoint(world.records, stranger, endpoint_id)
        everything = list_deliveries(world.records, other, endpoint_id=None, state=None, before=None, limit=1000)
        assert delivery.delivery_id not in {one.delivery_id for one in everything}


async def test_while_a_secret_is_replaced_both_are_good_and_then_only_the_new_one(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.endpoint(receiver.url)
        replaced = replace_secret(
            world.records, world.sealer, caller(), made.endpoint.endpoint_id, overlap_seconds=3600
        )
        assert replaced is not None
        await world.close_session()
        await world.follow()
        await world.send_once()
        for secret in (made.secret, replaced.secret):
            Webhook(secret).verify(receiver.received[0].body, receiver.received[0].headers)
        last = replace_secret(world.records, world.sealer, caller(), made.endpoint.endpoint_id, overlap_seconds=0)
        assert last is not None
        await world.close_session()
        await world.follow()
        await world.send_once()
    headers = receiver.received[1].headers
    assert headers["webhook-signature"].count("v1,") == 1
    Webhook(last.secret).verify(receiver.received[1].body, headers)


async def test_no_secret_lies_in_the_database_as_it_is(world: World) -> None:
    made = await world.endpoint("https://example.com/")
    async with world.pool.connection() as connection:
        rows = await connection.execute(
            "SELECT sealed FROM gateway.webhook_secrets WHERE endpoint_id = %s", (made.endpoint.endpoint_id,)
        )
        ((sealed,),) = await rows.fetchall()
    secret = read_secret(made.secret)
    assert secret not in bytes(sealed)
    assert made.secret.encode() not in bytes(sealed)
    assert world.sealer.open(bytes(sealed)) == secret
    assert Sealer([Fernet.generate_key(), *world.keys]).open(bytes(sealed)) == secret
    with pytest.raises(SealingError):
        Sealer([Fernet.generate_key()]).open(bytes(sealed))


async def test_an_endpoint_that_was_removed_is_told_nothing_and_cannot_be_deleted_behind_our_back(world: World) -> None:
    made = await world.endpoint("https://example.com/")
    assert remove_endpoint(world.records, caller(), made.endpoint.endpoint_id)
    assert not remove_endpoint(world.records, caller(), made.endpoint.endpoint_id)
    await world.close_session()
    await world.follow()
    assert world.deliveries(made.endpoint.endpoint_id) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege), world.records.transaction(ORGANISATION) as connection:
        connection.execute("DELETE FROM gateway.webhook_endpoints")


async def test_there_are_never_more_endpoints_than_the_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 0)
    with pytest.raises(Problem, match="already"):
        await world.endpoint("https://example.com/")


async def test_what_ended_long_ago_is_forgotten_and_what_waits_never_is(world: World) -> None:
    made = await world.endpoint("https://example.com/")
    await world.close_session()
    await world.close_session()
    await world.follow()
    async with world.pool.connection() as connection:
        await connection.execute(
            "UPDATE gateway.webhook_deliveries SET state = 'DELIVERED', ended_at = 1"
            " WHERE delivery_id = (SELECT min(delivery_id::text)::uuid FROM gateway.webhook_deliveries)"
        )
    assert await queue.prune(world.pool) == 1
    assert [one.state for one in world.deliveries(made.endpoint.endpoint_id)] == ["pending"]
    assert (await queue.backlog(world.pool)).pending == 1
