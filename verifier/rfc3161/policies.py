"""Certificate policies along a path (RFC 5280, 6.1), for a verifier that accepts any policy but obeys constraints.

With any policy acceptable, only the set of policies still valid is needed, not the tree that leads to them (RFC 9618).
"""

from verifier.rfc3161.certificate import Certificate
from verifier.rfc3161.names import same_name

ANY_POLICY = "2.5.29.32.0"


class PolicyWalk:
    """The policy part of the path validation state, fed with one certificate after another below the anchor."""

    def __init__(self, length: int) -> None:
        """Start a walk over `length` certificates, the anchor not counted."""
        self._valid = frozenset({ANY_POLICY})
        self._explicit = self._mapping = self._any = length + 1

    def step(self, certificate: Certificate, *, last: bool) -> bool:
        """Process the next certificate; False when the path breaks a policy constraint."""
        policies = certificate.policies
        self_issued = same_name(certificate.issuer, certificate.subject)
        self._valid = self._narrowed(policies.asserted, any_counts=self._any > 0 or (self_issued and not last))
        if not self._valid and self._explicit == 0:
            return False
        if last:
            # 6.1.5 (a) and (b): the final certificate can still require an explicit policy of itself.
            required = self._explicit - 1 <= 0 or policies.require_explicit == 0
            return bool(self._valid) or not required
        if any(ANY_POLICY in pair for pair in policies.mappings):
            return False
        self._map(policies.mappings)
        step = 0 if self_issued else 1
        self._explicit = _lower(self._explicit - step, policies.require_explicit)
        self._mapping = _lower(self._mapping - step, policies.inhibit_mapping)
        self._any = _lower(self._any - step, policies.inhibit_any)
        return True

    def _narrowed(self, asserted: frozenset[str] | None, *, any_counts: bool) -> frozenset[str]:
        if asserted is None:
            return frozenset()
        named = asserted - {ANY_POLICY}
        kept = named if ANY_POLICY in self._valid else named & self._valid
        return kept | self._valid if ANY_POLICY in asserted and any_counts else kept

    def _map(self, mappings: tuple[tuple[str, str], ...]) -> None:
        mapped = {pair for pair in mappings if pair[0] in self._valid or ANY_POLICY in self._valid}
        removed = {issuer for issuer, _ in mapped}
        added = {subject for _, subject in mapped} if self._mapping > 0 else set()
        self._valid = (self._valid - removed) | added


def _lower(counter: int, bound: int | None) -> int:
    counter = max(counter, 0)
    return counter if bound is None else min(counter, max(bound, 0))
