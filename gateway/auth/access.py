"""The one question every REST handler and every GraphQL resolver asks: may this caller do that?

In this order, and whatever refuses first is the answer:
1. What belongs to another organisation does not exist: 404, the same as for what exists nowhere.
2. The token must carry the action's scopes: 403 insufficient_scope (RFC 6750 section 3.1).
3. The policies must permit it to the caller's roles and permissions, at the place of the resource: 403.

A decision on evidence, and every refusal, is in the records before the caller gets an answer.
"""

from collections.abc import Iterable

from gateway.auth.actions import ACTIONS, Action
from gateway.auth.decisions import Outcome, record_decision
from gateway.auth.policies import Decision, Place, Policies, Reach, Reaches
from gateway.auth.standing import Standings
from gateway.auth.values import GatewayCaller, Kind, Resource
from gateway.metrics import GatewayMetrics
from gateway.problems import Code, Problem, not_found
from gateway.records.records import Records


class AccessControl:
    """Decides by the policies, the token and the records."""

    def __init__(self, policies: Policies, records: Records, standings: Standings, metrics: GatewayMetrics) -> None:
        self._policies = policies
        self._records = records
        self._standings = standings
        self._metrics = metrics

    def authorise(self, caller: GatewayCaller, action: Action, resource: Resource) -> None:
        """Return when `caller` may do `action` to `resource`.

        Raises Problem: NOT_FOUND for another organisation's, INSUFFICIENT_SCOPE, FORBIDDEN, and DATABASE_UNAVAILABLE
        when the decision could not be recorded.
        """
        rule = ACTIONS[action]
        lacking = rule.scopes - caller.scopes
        if resource.organisation_id == caller.organisation_id and lacking:
            policies = tuple(f"scope.{scope}" for scope in sorted(lacking))
            self._record(caller, action, resource, Outcome.DENIED, policies)
            raise _insufficient(rule.scopes)
        decision = self._decide(caller, action, resource)
        if decision.allowed:
            if rule.recorded:
                self._record(caller, action, resource, Outcome.ALLOWED, decision.policies)
            else:
                self._count(action, Outcome.ALLOWED)
            return
        foreign = resource.organisation_id != caller.organisation_id
        outcome = Outcome.FOREIGN if foreign else Outcome.DENIED
        self._record(caller, action, resource, outcome, decision.policies)
        raise not_found() if foreign else _forbidden(action)

    def not_found(self, caller: GatewayCaller, action: Action, resource: Resource) -> Problem:
        """The problem to raise when there turns out to be no such resource in the caller's organisation; recorded.

        That may be another organisation's under the same name: the answer is the same for both, and for those alone who
        were permitted to ask.
        """
        self._record(caller, action, resource, Outcome.NOT_FOUND, ())
        return not_found()

    def note_refusal(self, caller: GatewayCaller, action: Action, resource: Resource) -> None:
        """Record that what the policies permit was refused all the same: by a service, or for what it would give."""
        self._record(caller, action, resource, Outcome.DENIED, ())

    def allowed_actions(self, caller: GatewayCaller) -> frozenset[Action]:
        """What the caller may do anywhere in its organisation. Raises Problem (DATABASE_UNAVAILABLE)."""
        rights = self._rights_of(caller.organisation_id, self._standings.of(caller).reaches)
        return frozenset(action for action, _ in rights if ACTIONS[action].scopes <= caller.scopes)

    def require_grantable(self, caller: GatewayCaller, roles: Iterable[str]) -> None:
        """Nobody gives more than they have: raises Problem FORBIDDEN for roles that permit what the caller may not do.

        And INVALID_REQUEST for roles that do not exist.
        """
        for role in roles:
            reaches = self._standings.of_roles(caller.organisation_id, (role,))
            if not reaches:
                raise Problem(Code.INVALID_REQUEST, f"There is no role {role!r} in this organisation.", field="roles")
            self._require_within(caller, reaches)

    def require_grantable_actions(self, caller: GatewayCaller, actions: Iterable[Action]) -> None:
        """Raises Problem (FORBIDDEN) unless the caller's own roles permit `actions`, wherever they apply."""
        self._require_within(caller, frozenset((str(action), Reach(everywhere=True)) for action in actions))

    def require_no_more_than(self, caller: GatewayCaller, other: GatewayCaller) -> None:
        """Raises Problem (FORBIDDEN) when `other`, a credential of the organisation, has rights that the caller lacks.

        Whoever is given its secret can act as it does.
        """
        require_scopes(caller, other.scopes)
        held = self._standings.of(other).reaches
        self._require_within(caller, frozenset((name, Reach(everywhere=True)) for name, _ in held))

    def changed(self) -> None:
        """To be called after roles, assignments, places or credentials were changed: they count at once here."""
        self._standings.forget()

    def _record(
        self, caller: GatewayCaller, action: Action, resource: Resource, outcome: Outcome, policies: tuple[str, ...]
    ) -> None:
        record_decision(self._records, caller, action, resource, outcome, policies)
        self._count(action, outcome)

    def _count(self, action: Action, outcome: Outcome) -> None:
        self._metrics.decisions.labels(action, outcome).inc()

    def _require_within(self, caller: GatewayCaller, reaches: Reaches) -> None:
        """Kind by kind: who may list the events of sessions cannot give a right to those of the operations chain."""
        own = self._rights_of(caller.organisation_id, self._standings.of(caller).reaches)
        beyond = sorted({action for action, _ in self._rights_of(caller.organisation_id, reaches) - own})
        if beyond:
            raise Problem(
                Code.FORBIDDEN,
                f"You cannot give others what you may not do yourself: {', '.join(beyond)}.",
                field="roles",
            )

    def _rights_of(self, organisation_id: str, reaches: Reaches) -> frozenset[tuple[Action, Kind]]:
        return frozenset(
            (action, kind)
            for action, kinds in self._policies.kinds.items()
            for kind in kinds
            if self._policies.decide(
                organisation_id=organisation_id,
                reaches=reaches,
                action=action,
                place=Place(kind=kind, organisation_id=organisation_id),
            ).allowed
        )

    def _decide(self, caller: GatewayCaller, action: Action, resource: Resource) -> Decision:
        standing = self._standings.of(caller)
        own = resource.organisation_id == caller.organisation_id
        return self._policies.decide(
            organisation_id=caller.organisation_id,
            reaches=standing.reaches,
            action=action,
            place=self._place(resource, matters=standing.narrowed and own),
        )

    def _place(self, resource: Resource, *, matters: bool) -> Place:
        """Where the resource is; found out only when it `matters` to the caller's roles."""
        if not matters:
            return Place(kind=resource.kind, organisation_id=resource.organisation_id)
        if resource.kind is Kind.SITE:
            return Place(kind=Kind.SITE, organisation_id=resource.organisation_id, site_id=resource.id)
        camera = resource.camera() if callable(resource.camera) else resource.camera
        return Place(
            kind=resource.kind,
            organisation_id=resource.organisation_id,
            camera_id=camera,
            site_id=None if camera is None else self._standings.site_of(resource.organisation_id, camera),
        )


def require_scopes(caller: GatewayCaller, scopes: Iterable[str]) -> None:
    """Raises Problem (FORBIDDEN) for scopes that the caller's token lacks."""
    beyond = sorted(set(scopes) - caller.scopes)
    if beyond:
        raise Problem(
            Code.FORBIDDEN, f"You cannot give scopes that your own token lacks: {', '.join(beyond)}.", field="scopes"
        )


def _insufficient(scopes: Iterable[str]) -> Problem:
    wanted = " ".join(sorted(scopes))
    return Problem(
        Code.INSUFFICIENT_SCOPE,
        f"This token does not permit that: it needs the scope {wanted}.",
        headers={"WWW-Authenticate": f'Bearer realm="indelible", error="insufficient_scope", scope="{wanted}"'},
        extensions={"scope": wanted},
    )


def _forbidden(action: Action) -> Problem:
    return Problem(
        Code.FORBIDDEN,
        f"Your roles do not permit {action} here. An administrator of your organisation can give you one that does.",
        extensions={"action": str(action)},
    )
