"""Which roles an organisation has given to whom, and where they hold; and the roles it has made up from permissions.

Whoever gives a role must be permitted everything that role permits: nobody lifts anybody above themselves. None of
these functions authorises; the use case that calls them has done so.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from gateway.auth.actions import Action
from gateway.auth.identifiers import microseconds, read_uuid
from gateway.auth.values import ALERT_SOURCE, GatewayCaller, Role
from gateway.parts import Parts
from gateway.problems import Code, Problem

MAX_SUBJECT_CHARACTERS = 256
# In one organisation: more than anybody can keep in mind.
MAX_ROLES = 200

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)

_FIND = """
SELECT assignment_id, organisation_id, subject, role, site_id, camera_id, assigned_by, assigned_at, removed_by,
       removed_at
  FROM gateway.assignments
 WHERE organisation_id = %s AND assignment_id = %s
"""
_SAME = """
SELECT assignment_id, organisation_id, subject, role, site_id, camera_id, assigned_by, assigned_at, removed_by,
       removed_at
  FROM gateway.assignments
 WHERE organisation_id = %s AND subject = %s AND role = %s AND site_id IS NOT DISTINCT FROM %s
   AND camera_id IS NOT DISTINCT FROM %s AND removed_at IS NULL
"""
_ADD = """
INSERT INTO gateway.assignments (assignment_id, organisation_id, subject, role, site_id, camera_id, assigned_by,
                                 assigned_at)
VALUES (uuidv7(), %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
_PAGE = """
SELECT assignment_id, organisation_id, subject, role, site_id, camera_id, assigned_by, assigned_at, removed_by,
       removed_at
  FROM gateway.assignments
 WHERE organisation_id = %s AND assignment_id > %s AND (%s::text IS NULL OR subject = %s) AND removed_at IS NULL
 ORDER BY assignment_id
 LIMIT %s
"""
_REMOVE = """
UPDATE gateway.assignments SET removed_by = %s, removed_at = %s
 WHERE organisation_id = %s AND assignment_id = %s AND removed_at IS NULL
"""
_PUT_ROLE = """
INSERT INTO gateway.custom_roles (organisation_id, name, permissions, changed_by, changed_at)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (organisation_id, name)
DO UPDATE SET permissions = excluded.permissions, changed_by = excluded.changed_by, changed_at = excluded.changed_at
"""
_ROLES = """
SELECT organisation_id, name, permissions, changed_by, changed_at FROM gateway.custom_roles
 WHERE organisation_id = %s ORDER BY name
"""
_REMOVE_ROLE = "DELETE FROM gateway.custom_roles WHERE organisation_id = %s AND name = %s"
_IN_USE = "SELECT 1 FROM gateway.assignments WHERE organisation_id = %s AND role = %s AND removed_at IS NULL LIMIT 1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """A role somebody has: in the whole organisation, at a site, or for a camera. Times in microseconds since 1970."""

    assignment_id: UUID
    organisation_id: str
    subject: str
    role: str
    site_id: str | None
    camera_id: str | None
    assigned_by: str
    assigned_at: int
    removed_by: str | None
    removed_at: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomRole:
    """A role the organisation made up: a name, and the actions it permits."""

    organisation_id: str
    name: str
    permissions: list[str]
    changed_by: str
    changed_at: int


def put_assignment(  # noqa: PLR0913 - the parts of one row
    parts: Parts,
    caller: GatewayCaller,
    *,
    subject: str,
    role: str,
    site_id: str | None = None,
    camera_id: str | None = None,
) -> Assignment:
    """Give a role; giving it again changes nothing. Raises Problem: INVALID_REQUEST, FORBIDDEN."""
    if not subject.strip() or len(subject) > MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        raise Problem(
            Code.INVALID_REQUEST, f"Give 1 to {MAX_SUBJECT_CHARACTERS} printable characters.", field="subject"
        )
    if site_id is not None and camera_id is not None:
        raise Problem(Code.INVALID_REQUEST, "Name a site or a camera, not both.", field="camera_id")
    for field, name in (("role", role), ("site_id", site_id), ("camera_id", camera_id)):
        if name is not None:
            check_name(field, name)
    parts.access.require_grantable(caller, (role,))
    row = (caller.organisation_id, subject, role, site_id, camera_id)
    with parts.records.transaction(caller.organisation_id) as connection:
        connection.execute(_ADD, (*row, caller.subject, microseconds()))
        given = _one(connection, _SAME, row)
    if given is None:
        raise Problem(Code.CONFLICT, "This role was taken away again just now.")
    parts.access.changed()
    return given


def list_assignments(
    parts: Parts, caller: GatewayCaller, *, subject: str | None = None, after: str | None = None, limit: int = 100
) -> list[Assignment]:
    """The organisation's assignments, or those of one subject, oldest first. Raises Problem (INVALID_REQUEST)."""
    start = read_uuid(after) if after else UUID(int=0)
    if start is None:
        raise Problem(Code.INVALID_REQUEST, "The cursor is not one of this list.", field="cursor")
    with parts.records.transaction(caller.organisation_id) as connection:
        cursor = connection.cursor(row_factory=class_row(Assignment))
        return cursor.execute(_PAGE, (caller.organisation_id, start, subject, subject, limit)).fetchall()


def remove_assignment(parts: Parts, caller: GatewayCaller, assignment_id: str) -> Assignment | None:
    """Take a role away; None when there is no such assignment. Raises Problem."""
    found = read_uuid(assignment_id)
    if found is None:
        return None
    with parts.records.transaction(caller.organisation_id) as connection:
        connection.execute(_REMOVE, (caller.subject, microseconds(), caller.organisation_id, found))
        removed = _one(connection, _FIND, (caller.organisation_id, found))
    parts.access.changed()
    return removed


def put_role(parts: Parts, caller: GatewayCaller, *, name: str, permissions: Iterable[str]) -> CustomRole:
    """Make up a role, or change it: it then counts everywhere it was given. Raises Problem."""
    check_name("name", name)
    if name in set(Role) | {ALERT_SOURCE}:
        raise Problem(Code.CONFLICT, f"{name} is a role every organisation has; it cannot be changed.", field="name")
    wanted = sorted(set(permissions))
    unknown = sorted(set(wanted) - set(Action))
    if unknown or not wanted:
        raise Problem(
            Code.INVALID_REQUEST, f"Give permissions from this list: {', '.join(sorted(Action))}.", field="permissions"
        )
    parts.access.require_grantable_actions(caller, [Action(one) for one in wanted])
    now = microseconds()
    with parts.records.transaction(caller.organisation_id) as connection:
        connection.execute(_PUT_ROLE, (caller.organisation_id, name, wanted, caller.subject, now))
        if len(connection.execute(_ROLES, (caller.organisation_id,)).fetchall()) > MAX_ROLES:
            raise Problem(Code.CONFLICT, f"An organisation has at most {MAX_ROLES} roles of its own.")
    parts.access.changed()
    return CustomRole(
        organisation_id=caller.organisation_id, name=name, permissions=wanted, changed_by=caller.subject, changed_at=now
    )


def list_roles(parts: Parts, caller: GatewayCaller) -> list[CustomRole]:
    """The roles the organisation made up, by name. Raises Problem."""
    with parts.records.transaction(caller.organisation_id) as connection:
        cursor = connection.cursor(row_factory=class_row(CustomRole))
        return cursor.execute(_ROLES, (caller.organisation_id,)).fetchall()


def remove_role(parts: Parts, caller: GatewayCaller, name: str) -> bool:
    """Remove a role the organisation made up; False when there is none. Raises Problem (CONFLICT) while it is given."""
    organisation_id = caller.organisation_id
    with parts.records.transaction(organisation_id) as connection:
        if connection.execute(_IN_USE, (organisation_id, name)).fetchone() is not None:
            raise Problem(Code.CONFLICT, "This role is given to somebody; take it away first.")
        removed = connection.execute(_REMOVE_ROLE, (organisation_id, name)).rowcount > 0
    parts.access.changed()
    return removed


def check_name(field: str, name: str) -> None:
    """Raises Problem (INVALID_REQUEST) for what is no name of a role, a site or a camera."""
    if _NAME.fullmatch(name) is None:
        raise Problem(
            Code.INVALID_REQUEST,
            "Give 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit.",
            field=field,
        )


def _one(connection: psycopg.Connection[Any], query: str, parameters: tuple[object, ...]) -> Assignment | None:
    cursor = connection.cursor(row_factory=class_row(Assignment))
    return cursor.execute(query.encode(), parameters).fetchone()
