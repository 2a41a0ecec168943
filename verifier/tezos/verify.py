"""Tezos receipts: from a 32-byte value to a block hash, with nothing but hashing and one signature.

What must hold (docs/spec/tezos-receipt.md), in the order it is checked by `check_receipt`:

1. the receipt is one JSON object with exactly the members of `indelible-tezos-receipt/1`;
2. BLAKE2b-256 of the raw header is the block hash, and the header's level is the receipt's;
3. the signed operation's hash leads through `op_path` to the root of its validation pass, and that root through
   `pass_path` to the header's operations hash;
4. the operation is a transaction to the contract and entry point the receipt names, its parameter is the anchored
   value, its source is the signer, and the signer's key signed it;
5. the contract, entry point, signer and network are ones the user trusts, when the user's policy names any;
6. the value is the expected one, or the root of an aggregation that leads from the expected one;
7. the block is on the network: its hash is one the user knows, or two independent nodes of the user's choice say so.
   Without that everything above could have been made up by anybody with a computer, so the receipt stays
   "unconfirmed".

A BLS signature cannot be checked here (rule 4): such a receipt is never more than "unconfirmed".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from verifier.findings import Finding, Severity
from verifier.inclusion import root_from_path
from verifier.tezos import base58
from verifier.tezos.block import (
    HASH_BYTES,
    VALIDATION_PASSES,
    Header,
    MalformedHeaderError,
    blake2b,
    climb,
    parse_header,
)
from verifier.tezos.keys import is_signature, parse_public_key
from verifier.tezos.operation import Operation, UnusableOperationError, parse_operation
from verifier.tezos.receipt import Receipt, UnusableReceiptError, parse_receipt
from verifier.tezos.trust import Observer, Sighting, TezosTrust

_MANAGER_PASS = 3
_PASS_PATH_LENGTH = (VALIDATION_PASSES - 1).bit_length()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptResult:
    """What a receipt shows; `time` is the block's own, set by its baker within the bounds of the network.

    `receipt` and what is read from the header are None when the status is "invalid".
    """

    ok: bool
    status: Literal["valid", "unconfirmed", "invalid"]
    level: int | None
    block_hash: str | None
    time: datetime | None
    findings: tuple[Finding, ...]
    receipt: Receipt | None = None


def check_receipt(data: bytes, *, value: bytes, trust: TezosTrust, observer: Observer | None = None) -> ReceiptResult:
    """Checks the receipt `data` for a 32-byte `value`. Never raises on bytes.

    `observer` is asked, last and only when needed, whether the block is on the network; None asks nobody.
    """
    try:
        receipt = parse_receipt(data)
        header = parse_header(receipt.header)
    except (UnusableReceiptError, MalformedHeaderError) as error:
        return _invalid((_error("tezos-unreadable", f"The receipt cannot be used: {error}."),))
    operation: Operation | None = None
    findings: list[Finding] = []
    try:
        operation = parse_operation(receipt.operation)
    except UnusableOperationError as error:
        findings.append(_error("tezos-operation-unusable", f"The operation cannot be used: {error}."))
    findings += _check_inclusion(receipt, header, operation.hash if operation else blake2b(receipt.operation))
    if operation is not None:
        findings += _check_transaction(receipt, operation)
    findings += _check_trusted_names(receipt, trust)
    findings += _check_value(receipt, value)
    if any(finding.severity is Severity.ERROR for finding in findings):
        return _invalid(tuple(findings))
    return _judge_block(receipt, header, trust, observer, tuple(findings))


def _check_inclusion(receipt: Receipt, header: Header, operation_hash: bytes) -> Iterator[Finding]:
    """From the operation's bytes to the block hash (rules 2 and 3)."""
    if base58.encode(base58.BLOCK_HASH, blake2b(receipt.header)) != receipt.block_hash:
        yield _error("tezos-block-hash", "The block header does not hash to the block hash of the receipt.")
    if header.level != receipt.level:
        yield _error("tezos-level", f"The header is of level {header.level}, the receipt says {receipt.level}.")
    if base58.encode(base58.OPERATION_HASH, operation_hash) != receipt.operation_hash:
        yield _error("tezos-operation-hash", "The signed operation does not hash to the receipt's operation hash.")
    if receipt.validation_pass != _MANAGER_PASS or len(receipt.pass_path) != _PASS_PATH_LENGTH:
        yield _error("tezos-pass", "The operation is not in the validation pass of transactions.")
    pass_root = climb(operation_hash, receipt.op_index, receipt.op_path)
    if pass_root is None or climb(pass_root, receipt.validation_pass, receipt.pass_path) != header.operations_hash:
        yield _error("tezos-path", "The operation's path does not lead to the operations hash of the block header.")


def _check_transaction(receipt: Receipt, operation: Operation) -> Iterator[Finding]:
    """What the operation did, and who signed it (rule 4)."""
    contents = operation.contents
    transaction = contents[receipt.content_index] if receipt.content_index < len(contents) else None
    if transaction is None:
        yield _error("tezos-content", "There is no transaction at the content index of the receipt.")
        return
    if transaction.destination != receipt.contract:
        yield _error("tezos-contract", "The transaction went to another contract than the receipt says.")
    if transaction.entrypoint != receipt.entrypoint:
        yield _error("tezos-entrypoint", "The transaction called another entry point than the receipt says.")
    if transaction.value != receipt.value or len(receipt.value) != HASH_BYTES:
        yield _error("tezos-parameter", "The transaction's parameter is not the 32-byte value of the receipt.")
    key = parse_public_key(receipt.signer_public_key)
    if key is None or not transaction.source == key.address == receipt.signer_address:
        yield _error("tezos-signer", "The transaction's source is not the address of the receipt's signer.")
        return
    signed = is_signature(key, operation.signature, operation.signed_digest)
    if signed is None:
        message = (
            "The signer's signature is of a kind that this verifier cannot check (BLS, or a curve that this machine "
            "lacks), so the receipt counts for nothing here. Everything else about it was checked."
        )
        yield _warning("tezos-signature-unchecked", message)
    elif not signed:
        yield _error("tezos-signature", "The signer's key did not sign the operation.")


def _check_trusted_names(receipt: Receipt, trust: TezosTrust) -> Iterator[Finding]:
    if trust.chain_id is not None and receipt.chain_id != trust.chain_id:
        yield _error("tezos-network", f"The receipt is for the network {receipt.chain_id}, not {trust.chain_id}.")
    if trust.contracts and receipt.contract not in trust.contracts:
        yield _error("tezos-contract-untrusted", "The contract is not one that the trust policy names.")
    if trust.entrypoint is not None and receipt.entrypoint != trust.entrypoint:
        yield _error("tezos-entrypoint-untrusted", f"The entry point is not {trust.entrypoint}, as the policy asks.")
    if trust.signers and receipt.signer_address not in trust.signers:
        yield _error("tezos-signer-untrusted", "The signer is not one that the trust policy names.")


def _check_value(receipt: Receipt, value: bytes) -> Iterator[Finding]:
    if receipt.aggregation is None:
        if receipt.value != value:
            yield _error("tezos-value", "The anchored value is not the expected one.")
        return
    place = receipt.aggregation
    if root_from_path(value, place.leaf_index, place.tree_size, place.path) != receipt.value:
        yield _error("tezos-aggregation", "The path does not lead from the expected value to the anchored root.")


def _judge_block(
    receipt: Receipt, header: Header, trust: TezosTrust, observer: Observer | None, notes: tuple[Finding, ...]
) -> ReceiptResult:
    """Whether the block is on the network (rule 7). `notes` are the warnings so far: each is a check not made."""
    sighting = Sighting(seen=None, findings=())
    source = "a block that you know"
    if receipt.block_hash in trust.block_hashes:
        sighting = Sighting(seen=True, findings=())
    elif observer is not None:
        sighting = observer(trust, header.level, receipt.block_hash)
        source = "a block that independent nodes of your choice agree on"
    if sighting.seen is False:
        return _invalid((*sighting.findings, *notes))
    place = f"Tezos block {header.level} ({receipt.block_hash}) of {header.time:%Y-%m-%d %H:%M:%S} UTC"
    if sighting.seen:
        text = f"The value was sent to the contract {receipt.contract} in {place}, {source}."
        summary = Finding(code="tezos-anchored", severity=Severity.INFO, message=text)
    else:
        text = (
            f"The receipt is consistent and leads to {place}, but nothing at hand says that this block is on the "
            "network. Compare its hash with a node or block explorer you trust, or ask nodes with --online."
        )
        summary = _warning("tezos-unconfirmed", text)
    confirmed = bool(sighting.seen) and not notes
    return ReceiptResult(
        ok=confirmed,
        status="valid" if confirmed else "unconfirmed",
        level=header.level,
        block_hash=receipt.block_hash,
        time=header.time,
        findings=(summary, *notes, *sighting.findings),
        receipt=receipt,
    )


def _error(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, message=message)


def _warning(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message)


def _invalid(findings: tuple[Finding, ...]) -> ReceiptResult:
    return ReceiptResult(ok=False, status="invalid", level=None, block_hash=None, time=None, findings=findings)
