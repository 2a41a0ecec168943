"""What the tests of webhooks do over and over."""

import ipaddress
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from gateway.auth.values import GatewayCaller
from gateway.records.records import Records
from gateway.webhooks import queue
from gateway.webhooks.catalogue import EventType
from gateway.webhooks.deliveries import get_delivery, list_deliveries
from gateway.webhooks.endpoints import create_endpoint
from gateway.webhooks.following import follow_once
from gateway.webhooks.queue import claim, settle
from gateway.webhooks.sealing import Sealer
from gateway.webhooks.sending import Attempt, Sender
from gateway.webhooks.values import Delivery, DeliveryLog, EndpointSecret
from ledger.client import ClientError, LedgerClient
from ledger.database.connections import Pool
from tests.service.serving import ORGANISATION, Service

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


def caller(organisation_id: str = ORGANISATION) -> GatewayCaller:
    return GatewayCaller(
        organisation_id=organisation_id,
        subject="ann",
        roles=frozenset({"org_admin"}),
        scopes=frozenset(),
        expires_at=4e9,
        request_id="r-1",
    )


@dataclass(frozen=True)
class World:
    """A ledger, the records, and a worker's tools."""

    ledger: Service
    records: Records
    pool: Pool
    keys: tuple[bytes, ...]
    sealer: Sealer
    sender: Sender

    async def endpoint(
        self,
        url: str,
        types: Sequence[EventType] = (EventType.SESSION_CLOSED,),
        organisation_id: str = ORGANISATION,
    ) -> EndpointSecret:
        """A new endpoint, told of what happens from now on."""
        async with self.ledger.client(organisation_id) as client:
            try:
                next_sequence = (await client.get_chain("operations")).event_count + 1
            except ClientError:
                next_sequence = 1
        return create_endpoint(
            self.records,
            self.sealer,
            caller(organisation_id),
            url=url,
            types=types,
            description="",
            next_sequence=next_sequence,
            networks=LOOPBACK,
        )

    async def close_session(self, organisation_id: str = ORGANISATION) -> str:
        """Something to tell: a session that was opened and closed. Its name."""
        name = f"s-{secrets.token_hex(6)}"
        async with self.ledger.client(organisation_id) as client:
            await client.open_chain(name)
            await client.close_chain(name)
        return name

    @asynccontextmanager
    async def ledger_of(self, organisation_id: str) -> AsyncIterator[LedgerClient]:
        async with self.ledger.client(organisation_id) as client:
            yield client

    async def follow(self) -> None:
        """Every organisation's chain is read to its end."""
        await self.due_now()
        while await follow_once(self.pool, self.ledger_of) is not None:
            pass

    async def due_now(self) -> None:
        """No pause is waited for."""
        async with self.pool.connection() as connection:
            await connection.execute("UPDATE gateway.webhook_cursors SET next_look_at = now() - interval '1 s'")
            await connection.execute(
                "UPDATE gateway.webhook_deliveries SET next_attempt_at = now() - interval '1 s' WHERE state = 'PENDING'"
            )

    async def send_once(self) -> tuple[queue.Parcel, Attempt, str] | None:
        """One turn of a worker's lane."""
        parcel = await claim(self.pool)
        if parcel is None:
            return None
        secrets_of = [self.sealer.open(one) for one in parcel.sealed_secrets]
        attempt = await self.sender.send(parcel.url, secrets_of, parcel.message_id, parcel.body)
        return parcel, attempt, await settle(self.pool, parcel, attempt)

    def deliveries(self, endpoint_id: UUID, organisation_id: str = ORGANISATION) -> list[Delivery]:
        return list_deliveries(
            self.records, organisation_id, endpoint_id=endpoint_id, state=None, before=None, limit=100
        )

    def log(self, delivery: Delivery) -> DeliveryLog:
        found = get_delivery(self.records, ORGANISATION, delivery.delivery_id)
        assert found is not None
        return found
