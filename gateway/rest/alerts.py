"""Routes: systems that send alerts."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from pydantic import Field

from gateway.actions import alerts
from gateway.rest.models import TEXT, Identifier, PageQuery, Strict, Uuid
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.rest.webhooks import Removed, SecretBody
from gateway.values import Page
from gateway.webhooks.mapping import GENERIC, AlertMapping
from gateway.webhooks.sources import MAX_CAMERAS
from gateway.webhooks.values import AlertSource, Scheme, SourceSecret

MAX_NAME_CHARACTERS = 100
# A mapping may translate hundreds of names.
MAX_MAPPING_BYTES = 256 * 1024

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=TEXT)]
Cameras = Annotated[list[Identifier], Field(min_length=1, max_length=MAX_CAMERAS)]


class NewSource(Strict):
    """A system that sends alerts."""

    name: Name
    cameras: Cameras = Field(description="Its alerts may ask for clips of these only.")
    scheme: Scheme = Field(
        default="standard",
        description="How it signs: as Standard Webhooks, or the body alone (X-Signature: sha256=HMAC in hexadecimal).",
    )
    mapping: AlertMapping = Field(default=GENERIC, description="Where its alerts say what; docs/guides/webhooks.md.")


class SourceChange(Strict):
    """What to change; the rest stays."""

    name: Name | None = None
    cameras: Cameras | None = None
    mapping: AlertMapping | None = None


class SourcePath(Strict):
    """A source of alerts."""

    alert_source_id: Uuid


def create_alert_source(call: Call, body: NewSource) -> Answer:
    """Take alerts from a system. The secret it answers with is shown this once."""
    made = alerts.create_source(
        call.desk, call.caller, name=body.name, scheme=body.scheme, cameras=body.cameras, mapping=body.mapping
    )
    where = f"/api/v1/alert-sources/{made.source.alert_source_id}"
    return Answer(value=made, headers={"Location": where})


def list_alert_sources(call: Call, query: PageQuery) -> Answer:
    """List the systems that send alerts."""
    return Answer(value=alerts.list_sources(call.desk, call.caller, limit=query.limit, cursor=query.cursor))


def get_alert_source(call: Call, path: SourcePath) -> Answer:
    """Get one source of alerts."""
    return Answer(value=alerts.get_source(call.desk, call.caller, alert_source_id=UUID(path.alert_source_id)))


def change_alert_source(call: Call, path: SourcePath, body: SourceChange) -> Answer:
    """Change a source of alerts; what is not given stays as it is."""
    changed = alerts.change_source(
        call.desk,
        call.caller,
        alert_source_id=UUID(path.alert_source_id),
        name=body.name,
        cameras=body.cameras,
        mapping=body.mapping,
    )
    return Answer(value=changed)


def remove_alert_source(call: Call, path: SourcePath) -> Answer:
    """Take no alerts from a source any more."""
    alerts.remove_source(call.desk, call.caller, alert_source_id=UUID(path.alert_source_id))
    return Answer(value=Removed(removed_id=UUID(path.alert_source_id)))


def replace_alert_source_secret(call: Call, path: SourcePath, body: SecretBody) -> Answer:
    """Replace a source's secret. Until the overlap ends, either is believed."""
    replaced = alerts.replace_source_secret(
        call.desk, call.caller, alert_source_id=UUID(path.alert_source_id), overlap_seconds=body.overlap_seconds
    )
    return Answer(value=replaced)


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/alert-sources",
        handler=create_alert_source,
        uses=(alerts.create_source,),
        answer=SourceSecret,
        tag="Alert sources",
        status=HTTPStatus.CREATED,
        repeat=Repeat.GATEWAY,
        secret=True,
        max_body_bytes=MAX_MAPPING_BYTES,
    ),
    Route(
        method="GET",
        path="/alert-sources",
        handler=list_alert_sources,
        uses=(alerts.list_sources,),
        answer=Page[AlertSource],
        tag="Alert sources",
    ),
    Route(
        method="GET",
        path="/alert-sources/{alert_source_id}",
        handler=get_alert_source,
        uses=(alerts.get_source,),
        answer=AlertSource,
        tag="Alert sources",
    ),
    Route(
        method="PATCH",
        path="/alert-sources/{alert_source_id}",
        handler=change_alert_source,
        uses=(alerts.change_source,),
        answer=AlertSource,
        tag="Alert sources",
        repeat=Repeat.GATEWAY,
        max_body_bytes=MAX_MAPPING_BYTES,
    ),
    Route(
        method="DELETE",
        path="/alert-sources/{alert_source_id}",
        handler=remove_alert_source,
        uses=(alerts.remove_source,),
        answer=Removed,
        tag="Alert sources",
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="POST",
        path="/alert-sources/{alert_source_id}/secret",
        handler=replace_alert_source_secret,
        uses=(alerts.replace_source_secret,),
        answer=SourceSecret,
        tag="Alert sources",
        repeat=Repeat.GATEWAY,
        secret=True,
    ),
)
