"""The `tezos` and `ots` commands: one receipt or proof of a public ledger, judged by itself."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from verifier.layout import fact, findings, not_proved, opening
from verifier.ledger_tokens import opentimestamps_token, tezos_token
from verifier.opentimestamps import UnusableHeadersError, check_proof, read_headers
from verifier.opentimestamps.proof import MAX_PROOF_BYTES
from verifier.policy import UnusablePolicyError, load_policy
from verifier.policy_ledgers import is_block_hash
from verifier.printing import print_report
from verifier.report import EXIT_CODES, TokenReport, Verdict
from verifier.rfc3161.names import printable
from verifier.tezos import NodeWitnesses, Observer, ReceiptResult, TezosTrust, check_receipt
from verifier.tezos.receipt import MAX_RECEIPT_BYTES
from verifier.unusable import Unusable

_VERDICTS: dict[str, Verdict] = {"valid": "VERIFIED", "invalid": "FAILED"}
_MEANINGS: dict[Verdict, str] = {
    "VERIFIED": "The data existed, exactly as it is, when the block below was made.",
    "FAILED": "The file proves nothing about this data. What is wrong is told below.",
    "INDETERMINATE": (
        "Nothing is wrong, but what would make it count is missing, as told below. Until then it proves nothing: "
        "anybody can make such a file."
    ),
}
_NOT_PROVED = (
    "Who made the data, or whether what it says is true.",
    "That the data did not exist even earlier.",
)
_HEX = re.compile(r"([0-9a-fA-F]{2})+")
_VALUE_BYTES = 32

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Check one receipt of the Tezos ledger.")
@click.argument("receipt", type=_FILE, metavar="RECEIPT.json")
@click.option("--value", required=True, metavar="HEX", help="What was anchored: the 32-byte fingerprint of an event.")
@click.option("--trust", type=_FILE, metavar="POLICY.toml", help="Your trust policy; its Tezos tables count.")
@click.option("--block-hash", "block_hashes", metavar="B...", multiple=True, help="A block that you know is genuine.")
@click.option("--online", is_flag=True, help="Ask the nodes that your trust policy names about the block.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def tezos(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context,
    *,
    receipt: Path,
    value: str,
    trust: Path | None,
    block_hashes: tuple[str, ...],
    online: bool,
    as_json: bool,
) -> None:
    """Check one Tezos receipt, RECEIPT.json, over a 32-byte value.

    Everything is recomputed from the value up to the hash of a block. That this block is on the network nobody can
    compute: name its hash with --block-hash, or a policy with --trust that knows the hash, or ask nodes with --online.

    Exit code: 0 verified, 1 failed, 3 nothing wrong but trust is missing, 2 unusable input.
    """
    expected = _digest(value, "--value")
    if len(expected) != _VALUE_BYTES:
        raise click.UsageError(f"--value has {len(expected)} bytes, not {_VALUE_BYTES}")
    for text in block_hashes:
        if not is_block_hash(text):
            raise click.UsageError(f"--block-hash {printable(text)} is mistyped: its check digits do not fit")
    trusts = _tezos_trusts(trust, frozenset(block_hashes))
    if online and not any(known.nodes for known in trusts):
        raise click.UsageError(
            "--online asks the nodes that a trust policy names: give one that names some with --trust"
        )
    observer = NodeWitnesses().observe if online else None
    result = _best(_read(receipt, MAX_RECEIPT_BYTES + 1), expected, trusts, observer)
    token = tezos_token(result, authority="", sequence=0)
    _show(ctx, token, [("Receipt", printable(receipt.name)), ("Value", expected.hex())], as_json=as_json)


@click.command(short_help="Check one OpenTimestamps proof.")
@click.argument("proof", type=_FILE, metavar="PROOF.ots")
@click.option("--data", type=_FILE, help="The file that was time-stamped.")
@click.option("--digest", metavar="HEX", help="Its SHA-256 digest, instead of the file.")
@click.option("--headers", type=_FILE, help="Bitcoin block headers that you trust.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def ots(  # noqa: PLR0913 - one parameter per option
    ctx: click.Context, *, proof: Path, data: Path | None, digest: str | None, headers: Path | None, as_json: bool
) -> None:
    """Check one OpenTimestamps proof, PROOF.ots, over a file or a digest.

    The proof is followed up to the Merkle root of a Bitcoin block. Whether that block has this root only its header can
    tell: give it with --headers, one block a line, as HEIGHT and the 160 hexadecimal digits of its header.

    Exit code: 0 verified, 1 failed, 3 nothing wrong but the header is missing or the proof pending, 2 unusable input.
    """
    if (data is None) == (digest is None):
        raise click.UsageError("give what was time-stamped: --data FILE or --digest HEX")
    expected = _digest(digest, "--digest") if digest is not None else _hash(data) if data is not None else b""
    try:
        known = read_headers(headers) if headers is not None else {}
    except (OSError, UnusableHeadersError) as error:
        raise Unusable(f"{headers}: {getattr(error, 'strerror', None) or error}") from error
    result = check_proof(_read(proof, MAX_PROOF_BYTES + 1), digest=expected, headers=known)
    token = opentimestamps_token(result, authority="", sequence=0)
    _show(ctx, token, [("Proof", printable(proof.name)), ("Data", f"sha256 {expected.hex()}")], as_json=as_json)


def _tezos_trusts(path: Path | None, block_hashes: frozenset[str]) -> Sequence[TezosTrust]:
    """One trust for each Tezos table of the policy; the blocks of the command line count for all of them."""
    if path is None:
        return (TezosTrust(block_hashes=block_hashes),)
    try:
        tables = load_policy(path).tezos
    except UnusablePolicyError as error:
        raise Unusable(str(error)) from error
    if not tables:
        raise Unusable(f'the trust policy {path} has no authority with backend = "tezos"')
    return tuple(replace(table, block_hashes=table.block_hashes | block_hashes) for table in tables.values())


def _best(data: bytes, value: bytes, trusts: Sequence[TezosTrust], observer: Observer | None) -> ReceiptResult:
    """The best result under any of the trusts: a receipt by itself does not say which of them it is for."""
    results = [check_receipt(data, value=value, trust=trust, observer=observer) for trust in trusts]
    return min(results, key=lambda result: ("valid", "unconfirmed", "invalid").index(result.status))


def _show(ctx: click.Context, token: TokenReport, heading: list[tuple[str, str]], *, as_json: bool) -> None:
    verdict = _VERDICTS.get(token.status, "INDETERMINATE")
    if as_json:
        # A file by itself belongs to no event.
        members = {**token.to_json(), "sequence": None}
        print_report(json.dumps({"verdict": verdict, "tokens": [members], "findings": []}, indent=2, ensure_ascii=True))
    else:
        print_report("\n".join(_lines(token, verdict, heading)))
    ctx.exit(EXIT_CODES[verdict])


def _lines(token: TokenReport, verdict: Verdict, heading: list[tuple[str, str]]) -> Iterator[str]:
    yield from opening(verdict, _MEANINGS[verdict])
    for title, text in (*heading, ("Block", token.block), ("Time", token.time), ("Signer", token.signer)):
        if text:
            yield fact(title, text)
    if token.findings:
        yield ""
        yield "Findings"
        yield from findings(token.findings)
    if verdict == "VERIFIED":
        yield from not_proved(_NOT_PROVED)


def _digest(text: str, option: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise click.UsageError(f"{option} is not hexadecimal")
    return bytes.fromhex(text)


def _hash(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from error


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from error
