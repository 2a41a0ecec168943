"""The receipt document: parsed strictly, so that nothing in it is read in two ways."""

import re
from dataclasses import dataclass
from typing import Any

from verifier.tezos import base58
from verifier.tezos.strict_json import parse_json

FORMAT = "indelible-tezos-receipt/1"
MAX_RECEIPT_BYTES = 256 * 1024
MAX_OPERATION_BYTES = 64 * 1024  # the protocol's own limit for an operation is half of it
MAX_PATH = 16  # steps: 65,536 operations in one pass, far more than a block holds
MAX_AGGREGATION_PATH = 31  # steps: as many heads under one root as MAX_COUNT can number
MAX_TEXT = 128  # characters
MAX_OBSERVATIONS = 64
MAX_COUNT = 2**31 - 1
HASH_BYTES = 32

_HEX = re.compile(r"(?:[0-9a-f]{2})*")


class UnusableReceiptError(ValueError):
    """The bytes are no receipt of the known format; the message names the member."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregation:
    """Where the expected value stands under the anchored root (RFC 9162, section 2.1.3)."""

    leaf_index: int
    tree_size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """A receipt as written by whoever anchored; nothing in it has been checked against anything yet.

    Its `observations`, what nodes said at the time, are that writer's word and prove nothing; they are not kept.
    """

    chain_id: str
    block_hash: str
    level: int
    header: bytes
    operation: bytes
    operation_hash: str
    validation_pass: int
    pass_path: tuple[bytes, ...]
    op_index: int
    op_path: tuple[bytes, ...]
    content_index: int
    contract: str
    entrypoint: str
    value: bytes
    signer_public_key: str
    signer_address: str
    aggregation: Aggregation | None


def parse_receipt(data: bytes) -> Receipt:
    """Parses a receipt. Raises UnusableReceiptError, and nothing else, on any bytes that are not one."""
    if len(data) > MAX_RECEIPT_BYTES:
        raise UnusableReceiptError(f"it is larger than {MAX_RECEIPT_BYTES} bytes")
    try:
        document = parse_json(data)
    except (ValueError, RecursionError) as error:
        raise UnusableReceiptError(f"it is not strict JSON: {error}") from None
    _members(document, "the receipt", _RECEIPT_MEMBERS)
    if document["format"] != FORMAT:
        raise UnusableReceiptError(f"its format is not {FORMAT}")
    if not isinstance(document["observations"], list) or len(document["observations"]) > MAX_OBSERVATIONS:
        raise UnusableReceiptError(f"observations is not a list of at most {MAX_OBSERVATIONS}")
    signer = _members(document["signer"], "signer", {"public_key", "address"})
    return Receipt(
        chain_id=_network(document["chain_id"]),
        block_hash=_text(document["block_hash"], "block_hash"),
        level=_count(document["level"], "level"),
        header=_hex(document["header"], "header"),
        operation=_hex(document["operation"], "operation"),
        operation_hash=_text(document["operation_hash"], "operation_hash"),
        validation_pass=_count(document["pass"], "pass"),
        pass_path=_path(document["pass_path"], "pass_path"),
        op_index=_count(document["op_index"], "op_index"),
        op_path=_path(document["op_path"], "op_path"),
        content_index=_count(document["content_index"], "content_index"),
        contract=_text(document["contract"], "contract"),
        entrypoint=_text(document["entrypoint"], "entrypoint"),
        value=_hex(document["value"], "value"),
        signer_public_key=_text(signer["public_key"], "signer.public_key"),
        signer_address=_text(signer["address"], "signer.address"),
        aggregation=parse_aggregation(document["aggregation"]),
    )


_RECEIPT_MEMBERS = {
    "format", "chain_id", "block_hash", "level", "header", "operation", "operation_hash", "pass", "pass_path",
    "op_index", "op_path", "content_index", "contract", "entrypoint", "value", "signer", "aggregation", "observations",
}  # fmt: skip


def _network(value: object) -> str:
    text = _text(value, "chain_id")
    if base58.decode(text, base58.CHAIN_ID, base58.CHAIN_ID_BYTES) is None:
        raise UnusableReceiptError("chain_id is not the identifier of a network")
    return text


def parse_aggregation(value: object) -> Aggregation | None:
    """Reads an `aggregation` member: null, or a place under a root. Raises UnusableReceiptError."""
    if value is None:
        return None
    members = _members(value, "aggregation", {"leaf_index", "tree_size", "path"})
    return Aggregation(
        leaf_index=_count(members["leaf_index"], "aggregation.leaf_index"),
        tree_size=_count(members["tree_size"], "aggregation.tree_size"),
        path=_path(members["path"], "aggregation.path", MAX_AGGREGATION_PATH),
    )


def _hex(value: object, name: str) -> bytes:
    text = _text(value, name, 2 * MAX_OPERATION_BYTES)
    if not _HEX.fullmatch(text):
        raise UnusableReceiptError(f"{name} is not lowercase hexadecimal")
    return bytes.fromhex(text)


def _path(value: object, name: str, longest: int = MAX_PATH) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > longest:
        raise UnusableReceiptError(f"{name} is not a list of at most {longest} hashes")
    path = tuple(_hex(step, name) for step in value)
    if any(len(step) != HASH_BYTES for step in path):
        raise UnusableReceiptError(f"{name} holds something else than {HASH_BYTES}-byte hashes")
    return path


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        raise UnusableReceiptError(f"{name} is not a whole number from 0 to {MAX_COUNT}")
    return value


def _text(value: object, name: str, limit: int = MAX_TEXT) -> str:
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()) or len(value) > limit:
        raise UnusableReceiptError(f"{name} is not a text of at most {limit} printable ASCII characters")
    return value


def _members(value: object, name: str, members: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != members:
        raise UnusableReceiptError(f"{name} does not have exactly the members {', '.join(sorted(members))}")
    return value
