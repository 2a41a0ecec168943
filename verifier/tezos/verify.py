"""Tezos receipts: from a 32-byte value to a block hash, with nothing but hashing and one signature.

What must hold (docs/spec/tezos-receipt.md), in the order it is checked by `check_receipt`:

1. the receipt is one JSON object with exactly the members of `indelible-tezos-receipt/1`;
2. BLAKE2b-256 of the raw header is the block hash, and the header's level is the receipt's;
3. the signed operation's hash leads through `op_path` to the root of its validation pass, and that root through
   `pass_path` to the header's operations hash;
4. the operation is a transaction to the contract and entry point the receipt names, its parameter is the anchored
   value, its source is the signer, and the signer's key signed it;
5. the contract, signer and network are ones the user trusts, when the user's policy names any;
6. the value is the expected one, or the root of an aggregation that leads from the expected one;
7. the block is on the network: its hash is one the user knows. Without that everything above could have been made up
   by anybody with a computer, so the receipt stays "unconfirmed".
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
from verifier.tezos.operation import UnusableOperationError, is_signed_by, parse_public_key, transaction_at
from verifier.tezos.receipt import Receipt, UnusableReceiptError, parse_receipt

_MANAGER_PASS = 3
_PASS_PATH_LENGTH = (VALIDATION_PASSES - 1).bit_length()


@dataclass(frozen=True, kw_only=True, slots=True)
class TezosTrust:
    """What the user trusts. No `block_hashes` means no block is confirmed; the other members restrict when given."""

    chain_id: str | None = None
    contracts: frozenset[str] = frozenset()
    signers: frozenset[str] = frozenset()
    block_hashes: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptResult:
    """What a receipt shows; `time` is the block's own, set by its baker within the bounds of the network."""

    ok: bool
    status: Literal["valid", "unconfirmed", "invalid"]
    level: int | None
    block_hash: str | None
    time: datetime | None
    findings: tuple[Finding, ...]


def check_receipt(data: bytes, *, value: bytes, trust: TezosTrust) -> ReceiptResult:
    """Checks the receipt `data` for a 32-byte `value`. Never raises on bytes."""
    try:
        receipt = parse_receipt(data)
        header = parse_header(receipt.header)
        contradictions = (
            *_check_inclusion(receipt, header),
            *_check_transaction(receipt),
            *_check_trusted_names(receipt, trust),
            *_check_value(receipt, value),
        )
    except (UnusableReceiptError, MalformedHeaderError, UnusableOperationError) as error:
        return _invalid((_error("tezos-unreadable", f"The receipt cannot be used: {error}."),))
    if contradictions:
        return _invalid(contradictions)
    confirmed = receipt.block_hash in trust.block_hashes
    return ReceiptResult(
        ok=confirmed,
        status="valid" if confirmed else "unconfirmed",
        level=header.level,
        block_hash=receipt.block_hash,
        time=header.time,
        findings=(_confirmed(header, receipt) if confirmed else _unconfirmed(header, receipt),),
    )


def _check_inclusion(receipt: Receipt, header: Header) -> Iterator[Finding]:
    """From the operation's bytes to the block hash (rules 2 and 3)."""
    if base58.encode(base58.BLOCK_HASH, blake2b(receipt.header)) != receipt.block_hash:
        yield _error("tezos-block-hash", "The block header does not hash to the block hash of the receipt.")
    if header.level != receipt.level:
        yield _error("tezos-level", f"The header is of level {header.level}, the receipt says {receipt.level}.")
    operation_hash = blake2b(receipt.operation)
    if base58.encode(base58.OPERATION_HASH, operation_hash) != receipt.operation_hash:
        yield _error("tezos-operation-hash", "The signed operation does not hash to the receipt's operation hash.")
    if receipt.validation_pass != _MANAGER_PASS or len(receipt.pass_path) != _PASS_PATH_LENGTH:
        yield _error("tezos-pass", "The operation is not in the validation pass of transactions.")
    pass_root = climb(operation_hash, receipt.op_index, receipt.op_path)
    if pass_root is None or climb(pass_root, receipt.validation_pass, receipt.pass_path) != header.operations_hash:
        yield _error("tezos-path", "The operation's path does not lead to the operations hash of the block header.")


def _check_transaction(receipt: Receipt) -> Iterator[Finding]:
    """What the operation did, and who signed it (rule 4)."""
    transaction = transaction_at(receipt.operation, receipt.content_index)
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
    elif not is_signed_by(key, receipt.operation):
        yield _error("tezos-signature", "The signer's key did not sign the operation.")


def _check_trusted_names(receipt: Receipt, trust: TezosTrust) -> Iterator[Finding]:
    if trust.chain_id is not None and receipt.chain_id != trust.chain_id:
        yield _error("tezos-network", f"The receipt is for the network {receipt.chain_id}, not {trust.chain_id}.")
    if trust.contracts and receipt.contract not in trust.contracts:
        yield _error("tezos-contract-untrusted", "The contract is not one that the trust policy names.")
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


def _confirmed(header: Header, receipt: Receipt) -> Finding:
    message = (
        f"The value was sent to the contract in Tezos block {header.level} ({receipt.block_hash}) of "
        f"{header.time:%Y-%m-%d %H:%M:%S} UTC, a block that the trust policy knows."
    )
    return Finding(code="tezos-anchored", severity=Severity.INFO, message=message)


def _unconfirmed(header: Header, receipt: Receipt) -> Finding:
    message = (
        f"The receipt is consistent and leads to Tezos block {header.level} ({receipt.block_hash}), but nothing given "
        "here says that this block is on the network. Compare its hash with a node or block explorer you trust."
    )
    return Finding(code="tezos-unconfirmed", severity=Severity.WARNING, message=message)


def _error(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, message=message)


def _invalid(findings: tuple[Finding, ...]) -> ReceiptResult:
    return ReceiptResult(ok=False, status="invalid", level=None, block_hash=None, time=None, findings=findings)
