"""Sites of an organisation and the cameras that stand at them: the places a role can be narrowed to.

A camera that no site is known of belongs to the organisation alone. None of these functions authorises; the use case
that calls them has done so.
"""

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from gateway.auth.assignments import check_name
from gateway.auth.values import GatewayCaller
from gateway.parts import Parts
from gateway.problems import Code, Problem

MAX_NAME_CHARACTERS = 200

_PUT_SITE = """
INSERT INTO gateway.sites (organisation_id, site_id, name) VALUES (%s, %s, %s)
ON CONFLICT (organisation_id, site_id) DO UPDATE SET name = excluded.name
"""
_SITES = "SELECT site_id, name FROM gateway.sites WHERE organisation_id = %s AND site_id > %s ORDER BY site_id LIMIT %s"
_REMOVE_SITE = "DELETE FROM gateway.sites WHERE organisation_id = %s AND site_id = %s"
_PUT_CAMERA = """
INSERT INTO gateway.cameras (organisation_id, camera_id, site_id) VALUES (%s, %s, %s)
ON CONFLICT (organisation_id, camera_id) DO UPDATE SET site_id = excluded.site_id
"""
# Who has one of these at the site has it for the camera as well.
_ROLES_AT = (
    "SELECT DISTINCT role FROM gateway.assignments WHERE organisation_id = %s AND site_id = %s AND removed_at IS NULL"
)
_CAMERAS = """
SELECT camera_id, site_id FROM gateway.cameras
 WHERE organisation_id = %s AND camera_id > %s ORDER BY camera_id LIMIT %s
"""
_REMOVE_CAMERA = "DELETE FROM gateway.cameras WHERE organisation_id = %s AND camera_id = %s"


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A site and what people call it."""

    site_id: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraPlace:
    """A camera and the site it stands at."""

    camera_id: str
    site_id: str


def put_site(parts: Parts, caller: GatewayCaller, *, site_id: str, name: str) -> Site:
    """Add a site, or rename it. Raises Problem (INVALID_REQUEST)."""
    check_name("site_id", site_id)
    if not name.strip() or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise Problem(Code.INVALID_REQUEST, f"Give 1 to {MAX_NAME_CHARACTERS} printable characters.", field="name")
    with parts.records.transaction(caller.organisation_id) as connection:
        connection.execute(_PUT_SITE, (caller.organisation_id, site_id, name))
    return Site(site_id=site_id, name=name)


def list_sites(parts: Parts, caller: GatewayCaller, *, after: str = "", limit: int = 100) -> list[Site]:
    """The organisation's sites in order of their names, from the one after `after` on. Raises Problem."""
    with parts.records.transaction(caller.organisation_id) as connection:
        cursor = connection.cursor(row_factory=class_row(Site))
        return cursor.execute(_SITES, (caller.organisation_id, after, limit)).fetchall()


def remove_site(parts: Parts, caller: GatewayCaller, site_id: str) -> bool:
    """Remove a site; False when there is none. Raises Problem (CONFLICT) while cameras stand there."""
    try:
        with parts.records.transaction(caller.organisation_id) as connection:
            removed = connection.execute(_REMOVE_SITE, (caller.organisation_id, site_id)).rowcount > 0
    except psycopg.errors.ForeignKeyViolation as error:
        raise Problem(Code.CONFLICT, "Cameras stand at this site; move or remove them first.") from error
    parts.access.changed()
    return removed


def put_camera(parts: Parts, caller: GatewayCaller, *, camera_id: str, site_id: str) -> CameraPlace:
    """Say at which site a camera stands.

    Raises Problem: INVALID_REQUEST, also for a site that is not there; FORBIDDEN when somebody has a role at the site
    that the caller could not give.
    """
    check_name("camera_id", camera_id)
    check_name("site_id", site_id)
    with parts.records.transaction(caller.organisation_id) as connection:
        roles = [row[0] for row in connection.execute(_ROLES_AT, (caller.organisation_id, site_id))]
    parts.access.require_grantable(caller, roles)
    try:
        with parts.records.transaction(caller.organisation_id) as connection:
            connection.execute(_PUT_CAMERA, (caller.organisation_id, camera_id, site_id))
    except psycopg.errors.ForeignKeyViolation as error:
        raise Problem(Code.INVALID_REQUEST, "There is no site of that name; add it first.", field="site_id") from error
    parts.access.changed()
    return CameraPlace(camera_id=camera_id, site_id=site_id)


def list_cameras(parts: Parts, caller: GatewayCaller, *, after: str = "", limit: int = 100) -> list[CameraPlace]:
    """The cameras whose site is known, in order of their names, from the one after `after` on. Raises Problem."""
    with parts.records.transaction(caller.organisation_id) as connection:
        cursor = connection.cursor(row_factory=class_row(CameraPlace))
        return cursor.execute(_CAMERAS, (caller.organisation_id, after, limit)).fetchall()


def remove_camera(parts: Parts, caller: GatewayCaller, camera_id: str) -> bool:
    """Forget where a camera stands; False when that was not known. Raises Problem."""
    with parts.records.transaction(caller.organisation_id) as connection:
        removed = connection.execute(_REMOVE_CAMERA, (caller.organisation_id, camera_id)).rowcount > 0
    parts.access.changed()
    return removed
