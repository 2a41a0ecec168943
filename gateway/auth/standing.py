"""What the gateway's records say about a caller: whether its credential still stands, and how far its roles reach.

Looked up for every request and remembered for a few seconds: a revocation or a removed role takes effect everywhere
within `REMEMBER_SECONDS`, and at once in the gateway that carried it out, in all of its processes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from gateway.auth.memory import Memory
from gateway.auth.policies import Reach, Reaches
from gateway.auth.values import ALERT_SOURCE, GatewayCaller, Role
from gateway.records.records import Records
from gateway.shared import Counter

REMEMBER_SECONDS = 5.0
# Callers of a busy gateway; each takes about a kilobyte.
MAX_REMEMBERED = 10_000

_BUILT_IN: frozenset[str] = frozenset(Role)
_ASSIGNED = """
SELECT role, site_id, camera_id FROM gateway.assignments
 WHERE organisation_id = %s AND subject = %s AND removed_at IS NULL
"""
_CUSTOM = "SELECT name, permissions FROM gateway.custom_roles WHERE organisation_id = %s AND name = ANY(%s)"
_REVOKED = "SELECT revoked_at IS NOT NULL FROM gateway.credentials WHERE organisation_id = %s AND credential_id = %s"
_SITE = "SELECT site_id FROM gateway.cameras WHERE organisation_id = %s AND camera_id = %s"

_Key = tuple[str, str, str | None, frozenset[str], frozenset[str] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """`reaches`: every role and every permission of custom roles, with where it holds. `revoked`: of the credential.

    `narrowed`: some of them hold at sites or cameras only, so that it matters where a resource is.
    """

    reaches: Reaches
    revoked: bool
    narrowed: bool


class Standings:
    """Finds and remembers standings."""

    def __init__(self, records: Records, changes: Counter) -> None:
        self._records = records
        self._changes = changes
        self._known: Memory[_Key, Standing] = Memory(seconds=REMEMBER_SECONDS, size=MAX_REMEMBERED, changes=changes)
        self._sites: Memory[tuple[str, str], str | None] = Memory(
            seconds=REMEMBER_SECONDS, size=MAX_REMEMBERED, changes=changes
        )

    def of(self, caller: GatewayCaller) -> Standing:
        """The caller's standing. Raises Problem (DATABASE_UNAVAILABLE)."""
        key = (caller.organisation_id, caller.subject, caller.credential_id, caller.roles, caller.cameras)
        return self._known.get(key, lambda: self._find(caller))

    def of_roles(self, organisation_id: str, roles: Iterable[str]) -> Reaches:
        """What roles would reach if they were given in the whole organisation. Raises Problem."""
        everywhere = [(role, Reach(everywhere=True)) for role in roles]
        with self._records.transaction(organisation_id) as connection:
            names = [role for role, _ in everywhere]
            custom = dict(connection.execute(_CUSTOM, (organisation_id, names)).fetchall())
        return _reaches(everywhere, custom, _BUILT_IN)

    def site_of(self, organisation_id: str, camera_id: str) -> str | None:
        """The site a camera stands at; None for a camera that no site is known of. Raises Problem."""

        def find() -> str | None:
            with self._records.transaction(organisation_id) as connection:
                row = connection.execute(_SITE, (organisation_id, camera_id)).fetchone()
            return row[0] if row else None

        return self._sites.get((organisation_id, camera_id), find)

    def forget(self) -> None:
        """Have every process of this gateway look everything up anew: the records were changed."""
        self._changes.add()

    def _find(self, caller: GatewayCaller) -> Standing:
        organisation_id = caller.organisation_id
        reach = Reach(everywhere=True) if caller.cameras is None else Reach(cameras=caller.cameras)
        held = [(role, reach) for role in caller.roles]
        revoked = False
        with self._records.transaction(organisation_id) as connection:
            if caller.credential_id is not None:
                row = connection.execute(_REVOKED, (organisation_id, UUID(caller.credential_id))).fetchone()
                revoked = row is None or row[0]
            held += [
                (
                    role,
                    Reach(
                        everywhere=site_id is None and camera_id is None,
                        sites=frozenset({site_id} - {None}),
                        cameras=frozenset({camera_id} - {None}),
                    ),
                )
                for role, site_id, camera_id in connection.execute(_ASSIGNED, (organisation_id, caller.subject))
            ]
            names = [role for role, _ in held if role not in _BUILT_IN]
            custom = dict(connection.execute(_CUSTOM, (organisation_id, names)).fetchall()) if names else {}
        # What a source of alerts has is no token's to say.
        built_in = _BUILT_IN if caller.cameras is None else _BUILT_IN | {ALERT_SOURCE}
        reaches = _reaches(held, custom, built_in)
        return Standing(reaches=reaches, revoked=revoked, narrowed=any(not reach.everywhere for _, reach in reaches))


def _reaches(held: Iterable[tuple[str, Reach]], custom: dict[str, list[str]], built_in: frozenset[str]) -> Reaches:
    """Built-in roles by their names, custom roles by their permissions; a role that no longer exists gives nothing."""
    reaches: dict[str, Reach] = {}
    for role, reach in held:
        for name in (role,) if role in built_in else custom.get(role, ()):
            reaches[name] = reaches.get(name, Reach()) | reach
    return frozenset(reaches.items())
