"""Asking GraphQL, as one who has a token."""

from dataclasses import dataclass, replace
from typing import Any

from tests.gateway.rest.world import Caller, Reply

PATH = "/graphql"


@dataclass(frozen=True)
class Asker:
    """Somebody who asks."""

    caller: Caller

    @classmethod
    def of(cls, caller: Caller) -> "Asker":
        """A caller of REST, at the other door."""
        return cls(replace(caller, root=""))

    def send(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> Reply:
        """The answer, whatever it is."""
        return self.caller.ask("POST", PATH, {"query": query, "variables": variables or {}}, **headers)

    def data(self, query: str, **variables: Any) -> Any:
        """What was asked for; nothing may have gone wrong."""
        answer = self.send(query, variables)
        assert answer.status_code == 200, answer.text
        assert "errors" not in answer.json, answer.text
        return answer.json["data"]

    def code(self, query: str, **variables: Any) -> str:
        """The code of the one thing that went wrong."""
        return str(self.error(query, **variables)["extensions"]["code"])

    def error(self, query: str, **variables: Any) -> Any:
        """The one thing that went wrong."""
        answer = self.send(query, variables)
        assert len(answer.json["errors"]) == 1, answer.text
        return answer.json["errors"][0]
