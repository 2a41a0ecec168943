"""Routes: endpoints of webhooks, and what became of each message."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field

from gateway.actions import webhooks
from gateway.rest.models import PageQuery, Strict, Uuid
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.values import Page
from gateway.webhooks.catalogue import EventType
from gateway.webhooks.endpoints import MAX_DESCRIPTION_CHARACTERS
from gateway.webhooks.secrets_kept import MAX_OVERLAP_SECONDS
from gateway.webhooks.sending import MAX_URL_CHARACTERS
from gateway.webhooks.values import (
    Delivery,
    DeliveryLog,
    DeliveryState,
    Endpoint,
    EndpointSecret,
)

MAX_REPLAY_DAYS = 90

Types = Annotated[
    list[Annotated[EventType, BeforeValidator(lambda value: EventType(value) if isinstance(value, str) else value)]],
    Field(min_length=1, max_length=len(EventType)),
]
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARACTERS)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARACTERS, pattern=r"^[^\u0000]*$")]


class NewEndpoint(Strict):
    """Where to tell of what."""

    url: Url = Field(description="Begins with https://; an address in a private network is refused when it is used.")
    types: Types
    description: Description = ""


class EndpointChange(Strict):
    """What to change; the rest stays."""

    url: Url | None = None
    types: Types | None = None
    description: Description | None = None
    enabled: bool | None = Field(default=None, description="Switched off, it is not told of what happens meanwhile.")


class EndpointPath(Strict):
    """An endpoint."""

    endpoint_id: Uuid


class SecretBody(Strict):
    """How a secret is replaced."""

    overlap_seconds: int | None = Field(
        default=None, ge=0, le=MAX_OVERLAP_SECONDS, description="How long the old one stays good; a day when not given."
    )


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    endpoint_id: Uuid | None = None
    state: DeliveryState | None = None


class DeliveryPath(Strict):
    """A delivery."""

    delivery_id: Uuid


class ReplayBody(Strict):
    """What to send again."""

    days: int = Field(ge=1, le=MAX_REPLAY_DAYS, description="Everything that was given up in so many days.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """What is not there any more."""

    removed_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """How many messages are sent again."""

    count: int


def create_endpoint(call: Call, body: NewEndpoint) -> Answer:
    """Have an address told of what happens from now on. The secret it answers with is shown this once."""
    made = webhooks.create_endpoint(
        call.desk, call.caller, url=body.url, types=body.types, description=body.description
    )
    where = f"/api/v1/webhook-endpoints/{made.endpoint.endpoint_id}"
    return Answer(value=made, headers={"Location": where})


def list_endpoints(call: Call, query: PageQuery) -> Answer:
    """List the addresses that are told of what happens."""
    return Answer(value=webhooks.list_endpoints(call.desk, call.caller, limit=query.limit, cursor=query.cursor))


def get_endpoint(call: Call, path: EndpointPath) -> Answer:
    """Get one endpoint."""
    return Answer(value=webhooks.get_endpoint(call.desk, call.caller, endpoint_id=UUID(path.endpoint_id)))


def change_endpoint(call: Call, path: EndpointPath, body: EndpointChange) -> Answer:
    """Change an endpoint; what is not given stays as it is."""
    changed = webhooks.change_endpoint(
        call.desk,
        call.caller,
        endpoint_id=UUID(path.endpoint_id),
        url=body.url,
        types=body.types,
        description=body.description,
        enabled=body.enabled,
    )
    return Answer(value=changed)


def remove_endpoint(call: Call, path: EndpointPath) -> Answer:
    """Stop telling an endpoint, for ever. Its deliveries stay in the log."""
    webhooks.remove_endpoint(call.desk, call.caller, endpoint_id=UUID(path.endpoint_id))
    return Answer(value=Removed(removed_id=UUID(path.endpoint_id)))


def replace_endpoint_secret(call: Call, path: EndpointPath, body: SecretBody) -> Answer:
    """Replace an endpoint's secret. Until the overlap ends, messages carry a signature of each."""
    replaced = webhooks.replace_endpoint_secret(
        call.desk, call.caller, endpoint_id=UUID(path.endpoint_id), overlap_seconds=body.overlap_seconds
    )
    return Answer(value=replaced)


def replay_dead(call: Call, path: EndpointPath, body: ReplayBody) -> Answer:
    """Send everything again that an endpoint did not take and that was given up."""
    count = webhooks.replay_dead(call.desk, call.caller, endpoint_id=UUID(path.endpoint_id), days=body.days)
    return Answer(value=Replayed(count=count))


def list_deliveries(call: Call, query: DeliveriesQuery) -> Answer:
    """List deliveries, the newest first; `state=dead` lists those that were given up."""
    page = webhooks.list_deliveries(
        call.desk,
        call.caller,
        endpoint_id=None if query.endpoint_id is None else UUID(query.endpoint_id),
        state=query.state,
        limit=query.limit,
        cursor=query.cursor,
    )
    return Answer(value=page)


def get_delivery(call: Call, path: DeliveryPath) -> Answer:
    """Get one delivery: what was sent, and how each attempt went."""
    return Answer(value=webhooks.get_delivery(call.desk, call.caller, delivery_id=UUID(path.delivery_id)))


def replay_delivery(call: Call, path: DeliveryPath) -> Answer:
    """Send a message again, under its first id."""
    return Answer(value=webhooks.replay_delivery(call.desk, call.caller, delivery_id=UUID(path.delivery_id)))


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/webhook-endpoints",
        handler=create_endpoint,
        uses=(webhooks.create_endpoint,),
        answer=EndpointSecret,
        tag="Webhooks",
        status=HTTPStatus.CREATED,
        repeat=Repeat.GATEWAY,
        secret=True,
    ),
    Route(
        method="GET",
        path="/webhook-endpoints",
        handler=list_endpoints,
        uses=(webhooks.list_endpoints,),
        answer=Page[Endpoint],
        tag="Webhooks",
    ),
    Route(
        method="GET",
        path="/webhook-endpoints/{endpoint_id}",
        handler=get_endpoint,
        uses=(webhooks.get_endpoint,),
        answer=Endpoint,
        tag="Webhooks",
    ),
    Route(
        method="PATCH",
        path="/webhook-endpoints/{endpoint_id}",
        handler=change_endpoint,
        uses=(webhooks.change_endpoint,),
        answer=Endpoint,
        tag="Webhooks",
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="DELETE",
        path="/webhook-endpoints/{endpoint_id}",
        handler=remove_endpoint,
        uses=(webhooks.remove_endpoint,),
        answer=Removed,
        tag="Webhooks",
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="POST",
        path="/webhook-endpoints/{endpoint_id}/secret",
        handler=replace_endpoint_secret,
        uses=(webhooks.replace_endpoint_secret,),
        answer=EndpointSecret,
        tag="Webhooks",
        repeat=Repeat.GATEWAY,
        secret=True,
    ),
    Route(
        method="POST",
        path="/webhook-endpoints/{endpoint_id}/replay",
        handler=replay_dead,
        uses=(webhooks.replay_dead,),
        answer=Replayed,
        tag="Webhooks",
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/webhook-deliveries",
        handler=list_deliveries,
        uses=(webhooks.list_deliveries,),
        answer=Page[Delivery],
        tag="Webhooks",
    ),
    Route(
        method="GET",
        path="/webhook-deliveries/{delivery_id}",
        handler=get_delivery,
        uses=(webhooks.get_delivery,),
        answer=DeliveryLog,
        tag="Webhooks",
    ),
    Route(
        method="POST",
        path="/webhook-deliveries/{delivery_id}/replay",
        handler=replay_delivery,
        uses=(webhooks.replay_delivery,),
        answer=Delivery,
        tag="Webhooks",
        repeat=Repeat.GATEWAY,
    ),
)
