"""The tokens with which the gateway calls the ledger and the evidence service for somebody.

Each names the organisation and the subject it acts for, and carries the scopes of one action and nothing else. So
whoever got hold of one could do that, for that organisation, for a few minutes; and a caller's own token is never
passed on.
"""

import secrets
import time
from collections.abc import Callable, Iterable

from gateway.auth.actions import ACTIONS, Action
from gateway.auth.memory import Memory
from gateway.auth.signing import SigningKeys
from gateway.auth.values import GatewayCaller
from gateway.settings import Issuing

# The services refuse tokens of the gateway that are made to last longer than 300 seconds.
LIFETIME_SECONDS = 240
# A token is used until this long before it expires: the longest call begins with a valid one.
REUSED_SECONDS = 180
MAX_REMEMBERED = 10_000


class ServicePasses:
    """Makes and remembers them; for any number of threads."""

    def __init__(self, issuing: Issuing, keys: SigningKeys, clock: Callable[[], float] = time.time) -> None:
        self._issuing = issuing
        self._keys = keys
        self._clock = clock
        self._made: Memory[tuple[str, str, frozenset[str], int], str] = Memory(
            seconds=REUSED_SECONDS, size=MAX_REMEMBERED, clock=clock
        )

    def token_for(self, caller: GatewayCaller, action: Action) -> str:
        """The token for what `caller` was authorised to do."""
        return self.token(caller.organisation_id, caller.subject, ACTIONS[action].scopes)

    def token(self, organisation_id: str, subject: str, scopes: Iterable[str]) -> str:
        """The token for work in the name of `subject`."""
        narrow = frozenset(scopes)
        key = (organisation_id, subject, narrow, self._keys.version)
        return self._made.get(key, lambda: self._make(organisation_id, subject, narrow))

    def _make(self, organisation_id: str, subject: str, scopes: frozenset[str]) -> str:
        now = int(self._clock())
        return self._keys.sign(
            {
                "iss": self._issuing.issuer,
                "aud": self._issuing.services_audience,
                "sub": subject,
                "org": organisation_id,
                "scope": " ".join(sorted(scopes)),
                "iat": now,
                "nbf": now,
                "exp": now + LIFETIME_SECONDS,
                "jti": secrets.token_hex(16),
                # RFC 8693 section 4.1: who really calls.
                "act": {"sub": self._issuing.issuer},
            }
        )
