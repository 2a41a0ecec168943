"""What every handler of the gateway works with: the policy, the records, and the tokens for the services behind it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from gateway.auth.access import AccessControl
from gateway.auth.callers import Callers
from gateway.auth.passes import ServicePasses
from gateway.auth.policies import load_policies
from gateway.auth.signing import KeysError, SigningKeys
from gateway.auth.standing import Standings
from gateway.calls import EvidenceCalls, LedgerCalls, Line
from gateway.records.records import Records
from gateway.settings import GatewaySettings, Issuing
from ledger.settings_reader import SettingsError


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Shared by all requests and threads."""

    settings: GatewaySettings
    records: Records
    keys: SigningKeys
    callers: Callers
    access: AccessControl
    passes: ServicePasses
    ledger: LedgerCalls
    evidence: EvidenceCalls


@contextmanager
def opened_parts(settings: GatewaySettings) -> Iterator[Parts]:
    """Everything, ready until the block ends.

    Raises SettingsError for policies, keys or issuers that cannot be used, psycopg.Error, and GuardsMissingError for a
    database that does not guard its records.
    """
    policies = load_policies(settings.policies)
    keys = open_signing_keys(settings.issuing)
    with ExitStack() as closing:
        records = Records.open(settings.records_dsn)
        closing.callback(records.close)
        standings = Standings(records)
        callers = closing.enter_context(Callers(settings, keys, standings))
        line = closing.enter_context(Line())
        ledger, evidence = settings.ledger, settings.evidence
        yield Parts(
            settings=settings,
            records=records,
            keys=keys,
            callers=callers,
            access=AccessControl(policies, records, standings),
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
