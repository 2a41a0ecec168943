"""Systems that send alerts, and what happens when one arrives."""

from collections.abc import Sequence
from uuid import UUID

from gateway.actions.desk import Desk
from gateway.actions.webhooks import cursor_id, require_webhooks
from gateway.auth.actions import Action
from gateway.auth.values import GatewayCaller, Resource
from gateway.values import Page
from gateway.webhooks import sources
from gateway.webhooks.mapping import AlertMapping
from gateway.webhooks.sealing import Sealer
from gateway.webhooks.secrets_kept import DEFAULT_OVERLAP_SECONDS
from gateway.webhooks.values import AlertSource, Scheme, SourceSecret


def create_source(  # noqa: PLR0913 - what a source is made of
    desk: Desk, caller: GatewayCaller, *, name: str, scheme: Scheme, cameras: Sequence[str], mapping: AlertMapping
) -> SourceSecret:
    """Take alerts from a system. Its secret is shown this once."""
    with desk.authorise(caller, Action.SOURCE_MANAGE, Resource.organisation(caller.organisation_id)):
        _require_clips(desk, caller)
        return sources.create_source(
            desk.parts.records,
            Sealer(require_webhooks(desk).keys),
            caller,
            name=name,
            scheme=scheme,
            cameras=cameras,
            mapping=mapping,
        )


def list_sources(
    desk: Desk, caller: GatewayCaller, *, limit: int = 100, cursor: str | None = None
) -> Page[AlertSource]:
    """A page of the organisation's sources."""
    with desk.authorise(caller, Action.SOURCE_VIEW, Resource.organisation(caller.organisation_id)):
        found = sources.list_sources(
            desk.parts.records, caller.organisation_id, after=cursor_id(cursor), limit=limit + 1
        )
        more = str(found[limit - 1].alert_source_id) if len(found) > limit else None
        return Page(items=tuple(found[:limit]), next_cursor=more)


def get_source(desk: Desk, caller: GatewayCaller, *, alert_source_id: UUID) -> AlertSource:
    """One source."""
    resource = Resource.source(caller.organisation_id, str(alert_source_id))
    with desk.authorise(caller, Action.SOURCE_VIEW, resource):
        found = sources.get_source(desk.parts.records, caller.organisation_id, alert_source_id)
        if found is None:
            raise desk.parts.access.not_found(caller, Action.SOURCE_VIEW, resource)
        return found


def change_source(  # noqa: PLR0913 - what can be changed
    desk: Desk,
    caller: GatewayCaller,
    *,
    alert_source_id: UUID,
    name: str | None = None,
    cameras: Sequence[str] | None = None,
    mapping: AlertMapping | None = None,
) -> AlertSource:
    """Change what is given."""
    resource = Resource.source(caller.organisation_id, str(alert_source_id))
    with desk.authorise(caller, Action.SOURCE_MANAGE, resource):
        _require_clips(desk, caller)
        changed = sources.change_source(
            desk.parts.records, caller, alert_source_id, name=name, cameras=cameras, mapping=mapping
        )
        if changed is None:
            raise desk.parts.access.not_found(caller, Action.SOURCE_MANAGE, resource)
        return changed


def remove_source(desk: Desk, caller: GatewayCaller, *, alert_source_id: UUID) -> None:
    """Take no alerts from it any more."""
    resource = Resource.source(caller.organisation_id, str(alert_source_id))
    with desk.authorise(caller, Action.SOURCE_MANAGE, resource):
        if not sources.remove_source(desk.parts.records, caller, alert_source_id):
            raise desk.parts.access.not_found(caller, Action.SOURCE_MANAGE, resource)


def replace_source_secret(
    desk: Desk, caller: GatewayCaller, *, alert_source_id: UUID, overlap_seconds: int | None = None
) -> SourceSecret:
    """Replace its secret. Until the overlap ends, either is believed."""
    resource = Resource.source(caller.organisation_id, str(alert_source_id))
    with desk.authorise(caller, Action.SOURCE_MANAGE, resource):
        _require_clips(desk, caller)
        replaced = sources.replace_source_secret(
            desk.parts.records,
            Sealer(require_webhooks(desk).keys),
            caller,
            alert_source_id,
            overlap_seconds=DEFAULT_OVERLAP_SECONDS if overlap_seconds is None else overlap_seconds,
        )
        if replaced is None:
            raise desk.parts.access.not_found(caller, Action.SOURCE_MANAGE, resource)
        return replaced


def _require_clips(desk: Desk, caller: GatewayCaller) -> None:
    """Whoever has a source's secret can ask for clips: nobody gets that without the right to. Raises Problem."""
    desk.parts.access.require_grantable_actions(caller, (Action.CLIP_REQUEST,))
