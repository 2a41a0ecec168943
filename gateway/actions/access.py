"""Who has which role, and where: assignments, the organisation's own roles, sites and cameras."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.actions.desk import Desk
from gateway.auth import assignments, places
from gateway.auth.actions import Action
from gateway.auth.places import CameraPlace, Site
from gateway.auth.values import GatewayCaller, Resource
from gateway.values import Page

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """A role that a subject has: in the whole organisation, at a site, or for a camera."""

    assignment_id: str
    subject: str
    role: str
    site_id: str | None
    camera_id: str | None
    assigned_by: str
    assigned_at: datetime
    removed_by: str | None
    removed_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomRole:
    """A role of the organisation's own: the actions that it permits."""

    name: str
    permissions: tuple[str, ...]
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RemovedName:
    """The name of what is no longer there."""

    name: str


def put_assignment(  # noqa: PLR0913 - what an assignment consists of
    desk: Desk,
    caller: GatewayCaller,
    *,
    subject: str,
    role: str,
    site_id: str | None = None,
    camera_id: str | None = None,
) -> Assignment:
    """Give a subject a role that permits no more than the caller may do; again: nothing changes."""
    with desk.authorise(caller, Action.ACCESS_MANAGE, Resource.organisation(caller.organisation_id)):
        given = assignments.put_assignment(
            desk.parts, caller, subject=subject, role=role, site_id=site_id, camera_id=camera_id
        )
        return _assignment(given)


def list_assignments(
    desk: Desk, caller: GatewayCaller, *, subject: str | None = None, limit: int = 100, cursor: str | None = None
) -> Page[Assignment]:
    """A page of the assignments that hold, oldest first."""
    with desk.authorise(caller, Action.ACCESS_VIEW, Resource.organisation(caller.organisation_id)):
        found = assignments.list_assignments(desk.parts, caller, subject=subject, after=cursor, limit=limit + 1)
        more = str(found[limit - 1].assignment_id) if len(found) > limit else None
        return Page(items=tuple(map(_assignment, found[:limit])), next_cursor=more)


def remove_assignment(desk: Desk, caller: GatewayCaller, *, assignment_id: str) -> Assignment:
    """Take a role away."""
    resource = Resource.organisation(caller.organisation_id)
    with desk.authorise(caller, Action.ACCESS_MANAGE, resource):
        removed = assignments.remove_assignment(desk.parts, caller, assignment_id)
        if removed is None:
            raise desk.parts.access.not_found(caller, Action.ACCESS_MANAGE, resource)
        return _assignment(removed)


def put_role(desk: Desk, caller: GatewayCaller, *, name: str, permissions: Sequence[str]) -> CustomRole:
    """Make up a role, or change it; it permits no more than the caller may do."""
    with desk.authorise(caller, Action.ACCESS_MANAGE, Resource.organisation(caller.organisation_id)):
        return _role(assignments.put_role(desk.parts, caller, name=name, permissions=permissions))


def list_roles(desk: Desk, caller: GatewayCaller) -> Page[CustomRole]:
    """The organisation's own roles, by name."""
    with desk.authorise(caller, Action.ACCESS_VIEW, Resource.organisation(caller.organisation_id)):
        return Page(items=tuple(map(_role, assignments.list_roles(desk.parts, caller))), next_cursor=None)


def remove_role(desk: Desk, caller: GatewayCaller, *, name: str) -> RemovedName:
    """Remove a role that is given to nobody."""
    resource = Resource.organisation(caller.organisation_id)
    with desk.authorise(caller, Action.ACCESS_MANAGE, resource):
        if not assignments.remove_role(desk.parts, caller, name):
            raise desk.parts.access.not_found(caller, Action.ACCESS_MANAGE, resource)
        return RemovedName(name=name)


def put_site(desk: Desk, caller: GatewayCaller, *, site_id: str, name: str) -> Site:
    """Add a site, or rename it."""
    with desk.authorise(caller, Action.ACCESS_MANAGE, Resource.organisation(caller.organisation_id)):
        return places.put_site(desk.parts, caller, site_id=site_id, name=name)


def list_sites(desk: Desk, caller: GatewayCaller, *, limit: int = 100, cursor: str | None = None) -> Page[Site]:
    """A page of the organisation's sites, by site_id."""
    with desk.authorise(caller, Action.ACCESS_VIEW, Resource.organisation(caller.organisation_id)):
        found = places.list_sites(desk.parts, caller, after=cursor or "", limit=limit + 1)
        more = found[limit - 1].site_id if len(found) > limit else None
        return Page(items=tuple(found[:limit]), next_cursor=more)


def remove_site(desk: Desk, caller: GatewayCaller, *, site_id: str) -> RemovedName:
    """Remove a site at which no camera stands."""
    resource = Resource.site(caller.organisation_id, site_id)
    with desk.authorise(caller, Action.ACCESS_MANAGE, Resource.organisation(caller.organisation_id)):
        if not places.remove_site(desk.parts, caller, site_id):
            raise desk.parts.access.not_found(caller, Action.ACCESS_MANAGE, resource)
        return RemovedName(name=site_id)


def put_camera(desk: Desk, caller: GatewayCaller, *, camera_id: str, site_id: str) -> CameraPlace:
    """Say at which site a camera stands."""
    with desk.authorise(caller, Action.ACCESS_MANAGE, Resource.organisation(caller.organisation_id)):
        return places.put_camera(desk.parts, caller, camera_id=camera_id, site_id=site_id)


def list_cameras(
    desk: Desk, caller: GatewayCaller, *, limit: int = 100, cursor: str | None = None
) -> Page[CameraPlace]:
    """A page of the cameras whose site is known, by camera_id."""
    with desk.authorise(caller, Action.ACCESS_VIEW, Resource.organisation(caller.organisation_id)):
        found = places.list_cameras(desk.parts, caller, after=cursor or "", limit=limit + 1)
        more = found[limit - 1].camera_id if len(found) > limit else None
        return Page(items=tuple(found[:limit]), next_cursor=more)


def remove_camera(desk: Desk, caller: GatewayCaller, *, camera_id: str) -> RemovedName:
    """Forget at which site a camera stands."""
    resource = Resource.camera_of(caller.organisation_id, camera_id)
    with desk.authorise(caller, Action.ACCESS_MANAGE, Resource.organisation(caller.organisation_id)):
        if not places.remove_camera(desk.parts, caller, camera_id):
            raise desk.parts.access.not_found(caller, Action.ACCESS_MANAGE, resource)
        return RemovedName(name=camera_id)


def _assignment(row: assignments.Assignment) -> Assignment:
    return Assignment(
        assignment_id=str(row.assignment_id),
        subject=row.subject,
        role=row.role,
        site_id=row.site_id,
        camera_id=row.camera_id,
        assigned_by=row.assigned_by,
        assigned_at=_moment(row.assigned_at),
        removed_by=row.removed_by,
        removed_at=None if row.removed_at is None else _moment(row.removed_at),
    )


def _role(row: assignments.CustomRole) -> CustomRole:
    return CustomRole(
        name=row.name,
        permissions=tuple(row.permissions),
        changed_by=row.changed_by,
        changed_at=_moment(row.changed_at),
    )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
