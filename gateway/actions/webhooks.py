"""Endpoints that are told of what happens, and what became of each message."""

from collections.abc import Sequence
from uuid import UUID

from gateway.actions.desk import Desk
from gateway.auth.actions import Action, Scope
from gateway.auth.values import OPERATIONS_CHAIN, GatewayCaller, Resource
from gateway.calls import Identity
from gateway.problems import Code, Problem
from gateway.settings import WebhookSettings
from gateway.values import Page
from gateway.webhooks import deliveries, endpoints
from gateway.webhooks.catalogue import EventType
from gateway.webhooks.sealing import Sealer
from gateway.webhooks.secrets_kept import DEFAULT_OVERLAP_SECONDS
from gateway.webhooks.values import Delivery, DeliveryLog, DeliveryState, Endpoint, EndpointSecret
from ledger.client import ClientError


def create_endpoint(
    desk: Desk, caller: GatewayCaller, *, url: str, types: Sequence[EventType], description: str = ""
) -> EndpointSecret:
    """Have an address told of what happens from now on. Its secret is shown this once."""
    with desk.authorise(caller, Action.WEBHOOK_MANAGE, Resource.organisation(caller.organisation_id)):
        settings = require_webhooks(desk)
        return endpoints.create_endpoint(
            desk.parts.records,
            Sealer(settings.keys),
            caller,
            url=url,
            types=types,
            description=description,
            next_sequence=_next_sequence(desk, caller),
            networks=settings.networks,
        )


def list_endpoints(desk: Desk, caller: GatewayCaller, *, limit: int = 100, cursor: str | None = None) -> Page[Endpoint]:
    """A page of the organisation's endpoints."""
    with desk.authorise(caller, Action.WEBHOOK_VIEW, Resource.organisation(caller.organisation_id)):
        found = endpoints.list_endpoints(
            desk.parts.records, caller.organisation_id, after=cursor_id(cursor), limit=limit + 1
        )
        more = str(found[limit - 1].endpoint_id) if len(found) > limit else None
        return Page(items=tuple(found[:limit]), next_cursor=more)


def get_endpoint(desk: Desk, caller: GatewayCaller, *, endpoint_id: UUID) -> Endpoint:
    """One endpoint."""
    resource = Resource.webhook(caller.organisation_id, str(endpoint_id))
    with desk.authorise(caller, Action.WEBHOOK_VIEW, resource):
        found = endpoints.get_endpoint(desk.parts.records, caller.organisation_id, endpoint_id)
        if found is None:
            raise desk.parts.access.not_found(caller, Action.WEBHOOK_VIEW, resource)
        return found


def change_endpoint(  # noqa: PLR0913 - what can be changed
    desk: Desk,
    caller: GatewayCaller,
    *,
    endpoint_id: UUID,
    url: str | None = None,
    types: Sequence[EventType] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
) -> Endpoint:
    """Change what is given. Switched off, an endpoint is not told of what happens meanwhile."""
    resource = Resource.webhook(caller.organisation_id, str(endpoint_id))
    with desk.authorise(caller, Action.WEBHOOK_MANAGE, resource):
        changed = endpoints.change_endpoint(
            desk.parts.records,
            caller,
            endpoint_id,
            networks=require_webhooks(desk).networks,
            url=url,
            types=types,
            description=description,
            enabled=enabled,
        )
        if changed is None:
            raise desk.parts.access.not_found(caller, Action.WEBHOOK_MANAGE, resource)
        return changed


def remove_endpoint(desk: Desk, caller: GatewayCaller, *, endpoint_id: UUID) -> None:
    """Stop telling it, for ever; what was delivered stays in the log."""
    resource = Resource.webhook(caller.organisation_id, str(endpoint_id))
    with desk.authorise(caller, Action.WEBHOOK_MANAGE, resource):
        if not endpoints.remove_endpoint(desk.parts.records, caller, endpoint_id):
            raise desk.parts.access.not_found(caller, Action.WEBHOOK_MANAGE, resource)


def replace_endpoint_secret(
    desk: Desk, caller: GatewayCaller, *, endpoint_id: UUID, overlap_seconds: int | None = None
) -> EndpointSecret:
    """Replace its secret. Until the overlap ends, messages are signed with both."""
    resource = Resource.webhook(caller.organisation_id, str(endpoint_id))
    with desk.authorise(caller, Action.WEBHOOK_MANAGE, resource):
        replaced = endpoints.replace_secret(
            desk.parts.records,
            Sealer(require_webhooks(desk).keys),
            caller,
            endpoint_id,
            overlap_seconds=DEFAULT_OVERLAP_SECONDS if overlap_seconds is None else overlap_seconds,
        )
        if replaced is None:
            raise desk.parts.access.not_found(caller, Action.WEBHOOK_MANAGE, resource)
        return replaced


def list_deliveries(  # noqa: PLR0913 - the filters of the list
    desk: Desk,
    caller: GatewayCaller,
    *,
    endpoint_id: UUID | None = None,
    state: DeliveryState | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Delivery]:
    """A page of deliveries, the newest first. Those that were given up are `dead`; those of a removed endpoint stay."""
    with desk.authorise(caller, Action.WEBHOOK_VIEW, Resource.organisation(caller.organisation_id)):
        records = desk.parts.records
        if endpoint_id is not None and not endpoints.is_endpoint(records, caller.organisation_id, endpoint_id):
            resource = Resource.webhook(caller.organisation_id, str(endpoint_id))
            raise desk.parts.access.not_found(caller, Action.WEBHOOK_VIEW, resource)
        found = deliveries.list_deliveries(
            records,
            caller.organisation_id,
            endpoint_id=endpoint_id,
            state=state,
            before=cursor_id(cursor),
            limit=limit + 1,
        )
        more = str(found[limit - 1].delivery_id) if len(found) > limit else None
        return Page(items=tuple(found[:limit]), next_cursor=more)


def get_delivery(desk: Desk, caller: GatewayCaller, *, delivery_id: UUID) -> DeliveryLog:
    """One delivery: what was sent, and how every attempt went."""
    resource = Resource.organisation(caller.organisation_id)
    with desk.authorise(caller, Action.WEBHOOK_VIEW, resource):
        found = deliveries.get_delivery(desk.parts.records, caller.organisation_id, delivery_id)
        if found is None:
            raise desk.parts.access.not_found(caller, Action.WEBHOOK_VIEW, resource)
        return found


def replay_delivery(desk: Desk, caller: GatewayCaller, *, delivery_id: UUID) -> Delivery:
    """Send a message again, under its first id."""
    resource = Resource.organisation(caller.organisation_id)
    with desk.authorise(caller, Action.WEBHOOK_MANAGE, resource):
        replayed = deliveries.replay_delivery(desk.parts.records, caller, delivery_id)
        if replayed is None:
            raise desk.parts.access.not_found(caller, Action.WEBHOOK_MANAGE, resource)
        return replayed


def replay_dead(desk: Desk, caller: GatewayCaller, *, endpoint_id: UUID, days: int) -> int:
    """Send everything again that an endpoint did not take in the last days, and that was given up. How many."""
    resource = Resource.webhook(caller.organisation_id, str(endpoint_id))
    with desk.authorise(caller, Action.WEBHOOK_MANAGE, resource):
        if endpoints.get_endpoint(desk.parts.records, caller.organisation_id, endpoint_id) is None:
            raise desk.parts.access.not_found(caller, Action.WEBHOOK_MANAGE, resource)
        return deliveries.replay_dead(desk.parts.records, caller, endpoint_id, days=days)


def require_webhooks(desk: Desk) -> WebhookSettings:
    """The settings of webhooks. Raises Problem where the operator set none up."""
    settings = desk.parts.settings.webhooks
    if settings is None:
        raise Problem(
            Code.WEBHOOKS_NOT_CONFIGURED, "This gateway has no webhooks: its operator has not set up their keys."
        )
    return settings


def cursor_id(cursor: str | None) -> UUID | None:
    """The id that a page ended with. Raises Problem (INVALID_REQUEST)."""
    if cursor is None:
        return None
    try:
        return UUID(cursor)
    except ValueError:
        raise Problem(
            Code.INVALID_REQUEST, "The cursor is not one of this list. Leave it out to begin anew.", field="cursor"
        ) from None


def _next_sequence(desk: Desk, caller: GatewayCaller) -> int:
    """Where the operations chain goes on from here."""
    token = desk.parts.passes.token(caller.organisation_id, caller.subject, {Scope.LEDGER_READ})
    try:
        chain = desk.ledger.get_session(Identity(token=token, request_id=caller.request_id), OPERATIONS_CHAIN)
    except ClientError as error:
        if error.reason != "CHAIN_NOT_FOUND":
            raise
        # The organisation's first event makes it.
        return 1
    return chain.event_count + 1
