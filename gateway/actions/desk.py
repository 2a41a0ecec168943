"""What every use case works with: the policy, the records, and the services behind the gateway."""

import hashlib
import uuid
from dataclasses import dataclass
from types import TracebackType

from gateway.auth.actions import Action
from gateway.auth.values import GatewayCaller, Resource
from gateway.calls import EvidenceCalls, Identity, LedgerCalls
from gateway.calls.refusals import problem_of
from gateway.parts import Parts
from gateway.problems import Code, Problem
from ledger.client import ClientError


@dataclass(frozen=True, kw_only=True, slots=True)
class Desk:
    """Shared by all requests and threads."""

    parts: Parts
    ledger: LedgerCalls
    evidence: EvidenceCalls

    @classmethod
    def of(cls, parts: Parts) -> "Desk":
        """The desk of a running gateway."""
        return cls(parts=parts, ledger=parts.ledger, evidence=parts.evidence)

    def authorise(self, caller: GatewayCaller, action: Action, resource: Resource) -> "Permit":
        """Decide, and record what has to be. Raises Problem (FORBIDDEN, INSUFFICIENT_SCOPE, NOT_FOUND).

        Inside `with desk.authorise(...) as identity` the services' refusals are problems, too.
        """
        self.parts.access.authorise(caller, action, resource)
        return Permit(self, caller, action, resource)

    def identity(self, caller: GatewayCaller, action: Action) -> Identity:
        """As whom the services are called: as the caller, with no more rights than the action needs."""
        return Identity(token=self.parts.passes.token_for(caller, action), request_id=caller.request_id)


class Permit:
    """An action that was allowed, while it is carried out."""

    __slots__ = ("_action", "_caller", "_desk", "_resource")

    def __init__(self, desk: Desk, caller: GatewayCaller, action: Action, resource: Resource) -> None:
        self._desk = desk
        self._caller = caller
        self._action = action
        self._resource = resource

    def __enter__(self) -> Identity:
        return self._desk.identity(self._caller, self._action)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """What is not there is told as what belongs to somebody else is; that and refusals of rights are recorded."""
        if isinstance(error, ClientError):
            problem = problem_of(error)
            if error.status == "NOT_FOUND" or problem.code is Code.NOT_FOUND:
                problem = self._desk.parts.access.not_found(self._caller, self._action, self._resource)
            self._note(problem)
            raise problem from error
        if isinstance(error, Problem):
            self._note(error)

    def _note(self, problem: Problem) -> None:
        if problem.code is Code.FORBIDDEN:
            self._desk.parts.access.note_refusal(self._caller, self._action, self._resource)


def service_key(caller: GatewayCaller, key: str | None, about: str) -> str:
    """The idempotency key that a service is given for a caller's: nobody meets another subject's keys.

    `about` is the id of what is changed: one key for several of them (a case, say) means each of them once. Without one
    of the caller's it is a new one, which makes repetitions within one call harmless.
    """
    if key is None:
        return uuid.uuid4().hex
    return hashlib.sha256(f"{caller.subject}\0{about}\0{key}".encode()).hexdigest()
