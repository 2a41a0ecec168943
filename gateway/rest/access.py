"""Routes: who has which role, and where."""

from http import HTTPStatus
from typing import Annotated

from pydantic import Field

from gateway.actions import access
from gateway.actions.access import Assignment, CustomRole, RemovedName
from gateway.auth.actions import Action
from gateway.auth.assignments import MAX_SUBJECT_CHARACTERS
from gateway.auth.places import MAX_NAME_CHARACTERS, CameraPlace, Site
from gateway.rest.models import LINE, Identifier, PageQuery, Strict, Uuid
from gateway.rest.routing import Answer, Call, Repeat, Route
from gateway.values import Page

MAX_PERMISSIONS = 64

Subject = Annotated[
    str, Field(min_length=1, max_length=MAX_SUBJECT_CHARACTERS, pattern=LINE, description="The subject of a token.")
]
Permission = Annotated[str, Field(json_schema_extra={"enum": [str(action) for action in Action]}, max_length=64)]


class NewAssignment(Strict):
    """A role to give, in the whole organisation unless a site or a camera is named."""

    subject: Subject
    role: Identifier
    site_id: Identifier | None = None
    camera_id: Identifier | None = None


class AssignmentsQuery(PageQuery):
    """Whose assignments."""

    subject: Subject | None = None


class AssignmentPath(Strict):
    """An assignment."""

    assignment_id: Uuid


class RolePath(Strict):
    """A role of the organisation's own."""

    role: Identifier


class RoleBody(Strict):
    """What a role permits."""

    permissions: list[Permission] = Field(
        min_length=1, max_length=MAX_PERMISSIONS, description="Actions; no more than you may do yourself."
    )


class SitePath(Strict):
    """A site."""

    site_id: Identifier


class SiteBody(Strict):
    """What people call a site."""

    name: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=LINE)


class CameraPath(Strict):
    """A camera."""

    camera_id: Identifier


class CameraBody(Strict):
    """Where a camera stands."""

    site_id: Identifier


def put_assignment(call: Call, body: NewAssignment) -> Answer:
    """Give somebody a role.

    Giving it again changes nothing. Nobody can give a role that permits more than they may do themselves.
    """
    given = access.put_assignment(
        call.desk,
        call.caller,
        subject=body.subject,
        role=body.role,
        site_id=body.site_id,
        camera_id=body.camera_id,
    )
    return Answer(value=given)


def list_assignments(call: Call, query: AssignmentsQuery) -> Answer:
    """List who was given which role, and where."""
    page = access.list_assignments(
        call.desk, call.caller, subject=query.subject, limit=query.limit, cursor=query.cursor
    )
    return Answer(value=page)


def remove_assignment(call: Call, path: AssignmentPath) -> Answer:
    """Take a role away. It counts within seconds."""
    return Answer(value=access.remove_assignment(call.desk, call.caller, assignment_id=path.assignment_id))


def put_role(call: Call, path: RolePath, body: RoleBody) -> Answer:
    """Make up a role, or change it wherever it was given."""
    return Answer(value=access.put_role(call.desk, call.caller, name=path.role, permissions=body.permissions))


def list_roles(call: Call) -> Answer:
    """List the roles of your organisation's own."""
    return Answer(value=access.list_roles(call.desk, call.caller))


def remove_role(call: Call, path: RolePath) -> Answer:
    """Remove a role of your organisation's own that is given to nobody."""
    return Answer(value=access.remove_role(call.desk, call.caller, name=path.role))


def put_site(call: Call, path: SitePath, body: SiteBody) -> Answer:
    """Add a site, or rename it."""
    return Answer(value=access.put_site(call.desk, call.caller, site_id=path.site_id, name=body.name))


def list_sites(call: Call, query: PageQuery) -> Answer:
    """List sites."""
    return Answer(value=access.list_sites(call.desk, call.caller, limit=query.limit, cursor=query.cursor))


def remove_site(call: Call, path: SitePath) -> Answer:
    """Remove a site at which no camera stands."""
    return Answer(value=access.remove_site(call.desk, call.caller, site_id=path.site_id))


def put_camera(call: Call, path: CameraPath, body: CameraBody) -> Answer:
    """Say at which site a camera stands."""
    return Answer(value=access.put_camera(call.desk, call.caller, camera_id=path.camera_id, site_id=body.site_id))


def list_cameras(call: Call, query: PageQuery) -> Answer:
    """List the cameras whose site is known."""
    return Answer(value=access.list_cameras(call.desk, call.caller, limit=query.limit, cursor=query.cursor))


def remove_camera(call: Call, path: CameraPath) -> Answer:
    """Forget at which site a camera stands."""
    return Answer(value=access.remove_camera(call.desk, call.caller, camera_id=path.camera_id))


_TAG = "Access"

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/access/assignments",
        handler=put_assignment,
        uses=(access.put_assignment,),
        answer=Assignment,
        tag=_TAG,
        status=HTTPStatus.CREATED,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/access/assignments",
        handler=list_assignments,
        uses=(access.list_assignments,),
        answer=Page[Assignment],
        tag=_TAG,
    ),
    Route(
        method="DELETE",
        path="/access/assignments/{assignment_id}",
        handler=remove_assignment,
        uses=(access.remove_assignment,),
        answer=Assignment,
        tag=_TAG,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="PUT",
        path="/access/roles/{role}",
        handler=put_role,
        uses=(access.put_role,),
        answer=CustomRole,
        tag=_TAG,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/access/roles",
        handler=list_roles,
        uses=(access.list_roles,),
        answer=Page[CustomRole],
        tag=_TAG,
    ),
    Route(
        method="DELETE",
        path="/access/roles/{role}",
        handler=remove_role,
        uses=(access.remove_role,),
        answer=RemovedName,
        tag=_TAG,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="PUT",
        path="/access/sites/{site_id}",
        handler=put_site,
        uses=(access.put_site,),
        answer=Site,
        tag=_TAG,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/access/sites",
        handler=list_sites,
        uses=(access.list_sites,),
        answer=Page[Site],
        tag=_TAG,
    ),
    Route(
        method="DELETE",
        path="/access/sites/{site_id}",
        handler=remove_site,
        uses=(access.remove_site,),
        answer=RemovedName,
        tag=_TAG,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="PUT",
        path="/access/cameras/{camera_id}",
        handler=put_camera,
        uses=(access.put_camera,),
        answer=CameraPlace,
        tag=_TAG,
        repeat=Repeat.GATEWAY,
    ),
    Route(
        method="GET",
        path="/access/cameras",
        handler=list_cameras,
        uses=(access.list_cameras,),
        answer=Page[CameraPlace],
        tag=_TAG,
    ),
    Route(
        method="DELETE",
        path="/access/cameras/{camera_id}",
        handler=remove_camera,
        uses=(access.remove_camera,),
        answer=RemovedName,
        tag=_TAG,
        repeat=Repeat.GATEWAY,
    ),
)
