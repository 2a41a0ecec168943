"""What a public ledger shows, as an entry of the report: alike for an anchor in a bundle and for a file by itself."""

from dataclasses import replace
from datetime import datetime

from verifier.opentimestamps import Network, ProofResult
from verifier.report import TokenReport
from verifier.statement import OPENTIMESTAMPS, TEZOS
from verifier.tezos import ReceiptResult

BITCOIN_ACCURACY_MICROSECONDS = 2 * 60 * 60 * 1_000_000
"""Bitcoin's rules let a miner's clock be wrong by about two hours."""

NOT_QUALIFIED = "NOT-QUALIFIED"
"""The law knows qualified time-stamps of qualified providers; a public ledger is none."""


def tezos_token(result: ReceiptResult, *, authority: str, sequence: int) -> TokenReport:
    """The report entry of a Tezos receipt."""
    receipt = result.receipt
    # Two receipts of one network rest on the same trust, whoever sent them.
    root = f"tezos {receipt.chain_id}" if result.ok and receipt else ""
    return TokenReport(
        ok=result.ok,
        status=result.status,
        backend=TEZOS,
        authority=authority,
        sequence=sequence,
        time=_text(result.time),
        qualified=NOT_QUALIFIED,
        findings=result.findings,
        signer=receipt.signer_address if receipt else "",
        block=result.block_hash,
        root=root,
        signer_key=root,
    )


def opentimestamps_token(
    result: ProofResult, *, authority: str, sequence: int, network: Network = "bitcoin"
) -> TokenReport:
    """The report entry of an OpenTimestamps proof. A proof that no header was given for is "unconfirmed"."""
    token = TokenReport(
        ok=result.ok,
        status="unconfirmed" if result.status == "anchored-unchecked" else result.status,
        backend=OPENTIMESTAMPS,
        authority=authority,
        sequence=sequence,
        time=_text(result.time),
        qualified=NOT_QUALIFIED,
        findings=result.findings,
        block=None if result.height is None else str(result.height),
        root=network if result.ok else "",
        signer_key=network if result.ok else "",
    )
    return replace(token, time_accuracy=BITCOIN_ACCURACY_MICROSECONDS) if result.time else token


def _text(time: datetime | None) -> str | None:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z") if time else None
