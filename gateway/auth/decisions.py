"""The record of what was decided: written before the answer goes out, relayed to the operations chain by the worker."""

from enum import StrEnum

from gateway.auth.actions import Action
from gateway.auth.identifiers import microseconds
from gateway.auth.values import GatewayCaller, Resource
from gateway.records.records import Records

# Of what others name: enough to recognise it, and PostgreSQL and the ledger can hold it.
MAX_IDENTIFIER_CHARACTERS = 256

_ADD = """
INSERT INTO gateway.decisions (organisation_id, decided_at, subject, credential_id, action, kind, resource_id, outcome,
                               policies, request_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class Outcome(StrEnum):
    """What became of a request. `foreign`: what it asked for belongs to another organisation."""

    ALLOWED = "allowed"
    DENIED = "denied"
    FOREIGN = "foreign"
    NOT_FOUND = "not_found"


def record_decision(  # noqa: PLR0913, PLR0917 - the parts of one row
    records: Records,
    caller: GatewayCaller,
    action: Action,
    resource: Resource,
    outcome: Outcome,
    policies: tuple[str, ...],
) -> None:
    """Keep a decision, in the caller's own organisation whatever was asked for. Raises Problem: then do not answer."""
    records.write(
        caller.organisation_id,
        _ADD,
        (
            caller.organisation_id,
            microseconds(),
            caller.subject,
            caller.credential_id,
            action,
            resource.kind,
            _harmless(resource.id),
            outcome,
            list(policies),
            caller.request_id,
        ),
    )


def _harmless(identifier: str) -> str:
    """As others wrote it, without what neither PostgreSQL nor a JSON text can hold."""
    kept = identifier[:MAX_IDENTIFIER_CHARACTERS].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return kept.encode("utf-8", "replace").decode("utf-8")
