"""What every handler of the gateway works with: the policy, the records, and the tokens for the services behind it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from gateway.auth.access import AccessControl
from gateway.auth.callers import Callers
from gateway.auth.passes import ServicePasses
from gateway.auth.policies import Policies, load_policies
from gateway.auth.signing import KeysError, SigningKeys
from gateway.auth.standing import Standings
from gateway.calls import EvidenceCalls, LedgerCalls, Line
from gateway.metrics import GatewayMetrics
from gateway.records.records import Records
from gateway.settings import GatewaySettings, Issuing
from gateway.shared import Shared
from ledger.settings_reader import SettingsError


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Shared by all requests and threads; `shared` by all processes of the gateway."""

    settings: GatewaySettings
    shared: Shared
    metrics: GatewayMetrics
    records: Records
    keys: SigningKeys
    callers: Callers
    access: AccessControl
    passes: ServicePasses
    ledger: LedgerCalls
    evidence: EvidenceCalls


@contextmanager
def opened_parts(
    settings: GatewaySettings, *, policies: Policies | None = None, shared: Shared | None = None
) -> Iterator[Parts]:
    """Everything, ready until the block ends.

    `policies` are those that the settings name, where they were read already. Without `shared`, this process shares
    with no other.

    Raises SettingsError for policies, keys or issuers that cannot be used, psycopg.Error, and GuardsMissingError for a
    database that does not guard its records.
    """
    policies = policies or load_policies(settings.policies)
    keys = open_signing_keys(settings.issuing)
    shared = shared or Shared()
    metrics = GatewayMetrics()
    with ExitStack() as closing:
        records = Records.open(settings.records_dsn)
        closing.callback(records.close)
        standings = Standings(records, shared.changes)
        callers = closing.enter_context(Callers(settings, keys, standings, shared.refused_tokens))
        line = closing.enter_context(Line())
        ledger, evidence = settings.ledger, settings.evidence
        yield Parts(
            settings=settings,
            shared=shared,
            metrics=metrics,
            records=records,
            keys=keys,
            callers=callers,
            access=AccessControl(policies, records, standings, metrics),
            passes=ServicePasses(settings.issuing, keys),
            ledger=LedgerCalls(line.connect(ledger.address, tls=ledger.tls, service="ledger")),
            evidence=EvidenceCalls(line.connect(evidence.address, tls=evidence.tls, service="evidence service")),
        )


def open_signing_keys(issuing: Issuing) -> SigningKeys:
    """The gateway's own keys. Raises SettingsError."""
    try:
        return SigningKeys(issuing.keys)
    except (KeysError, OSError) as error:
        raise SettingsError((f"INDELIBLE_GATEWAY_KEYS: {error}",)) from error
