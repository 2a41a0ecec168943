"""The receipt (`indelible-tezos-receipt/1`): written when the operation is final, since nodes forget.

What is the same for all heads of a batch is made once and stored with the batch; a head's own path is added when the
head is answered. Each receipt is then checked by the verifier's own code, like everything else this ledger stores.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from ledger.anchoring.aggregation import HeadTree
from ledger.anchoring.port import RefusedError
from ledger.anchoring.tezos.chain import View
from ledger.anchoring.tezos.configuration import TezosConfiguration
from ledger.anchoring.tezos.forge import ENTRYPOINT, public_key_text
from ledger.anchoring.tezos.node import MANAGER_PASS, Block
from verifier.tezos import TezosTrust, base58, check_receipt
from verifier.tezos.block import HASH_BYTES, blake2b, list_root, parse_header
from verifier.tezos.keys import PublicKey
from verifier.tezos.operation import Operation

FORMAT = "indelible-tezos-receipt/1"


def make_receipt(  # noqa: PLR0913  # each is one independent part of the receipt
    configuration: TezosConfiguration,
    *,
    operation: bytes,
    parsed: Operation,
    key: PublicKey,
    root: bytes,
    block: Block,
    passes: Sequence[Sequence[str]],
    views: Sequence[View],
) -> str:
    """The receipt for `root`, without aggregation, as JSON text. `passes` are the operation hashes of `block`."""
    operation_hash = base58.encode(base58.OPERATION_HASH, parsed.hash)
    hashes = [[_raw(text) for text in pass_] for pass_ in passes]
    index = list(passes[MANAGER_PASS]).index(operation_hash)
    observed_at = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "format": FORMAT,
        "chain_id": configuration.chain_id,
        "block_hash": block.hash,
        "level": block.level,
        "header": block.header.hex(),
        "operation": operation.hex(),
        "operation_hash": operation_hash,
        "pass": MANAGER_PASS,
        "pass_path": [step.hex() for step in list_path([list_root(items) for items in hashes], MANAGER_PASS)],
        "op_index": index,
        "op_path": [step.hex() for step in list_path(hashes[MANAGER_PASS], index)],
        "content_index": len(parsed.contents) - 1,
        "contract": configuration.contract,
        "entrypoint": ENTRYPOINT,
        "value": root.hex(),
        "signer": {"public_key": public_key_text(key), "address": key.address},
        "aggregation": None,
        "observations": [
            {
                "node": view.node.name,
                "observed_at": observed_at,
                "head_level": view.head.level,
                "head_hash": view.head.hash,
                "confirmations": view.depth(block),
            }
            for view in views
        ],
    }
    return json.dumps(document)


def receipt_of_head(receipt: str, digest: bytes, *, index: int, tree: HeadTree | None) -> bytes:
    """The receipt for one head of a batch; `tree` is None for a head that is alone. Raises RefusedError."""
    document = json.loads(receipt)
    if tree is not None:
        path = [step.hex() for step in tree.path(index)]
        document["aggregation"] = {"leaf_index": index, "tree_size": tree.size, "path": path}
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    trust = TezosTrust(
        chain_id=document["chain_id"],
        contracts=frozenset({document["contract"]}),
        entrypoint=ENTRYPOINT,
        signers=frozenset({document["signer"]["address"]}),
        block_hashes=frozenset({document["block_hash"]}),
    )
    result = check_receipt(data, value=digest, trust=trust)
    if not result.ok:
        codes = ", ".join(finding.code for finding in result.findings)
        raise RefusedError(f"our own receipt does not verify ({codes})")
    return data


def block_time(block: Block) -> datetime:
    """The time that the block's baker stated."""
    return parse_header(block.header).time


def list_path(items: Sequence[bytes], index: int) -> list[bytes]:
    """The path from an item to `list_root`: its siblings in the tree padded by repeating the last leaf."""
    level = [blake2b(item) for item in items]
    level += [level[-1]] * ((1 << (len(level) - 1).bit_length()) - len(level))
    path: list[bytes] = []
    while len(level) > 1:
        path.append(level[index ^ 1])
        level = [blake2b(left + right) for left, right in zip(level[::2], level[1::2], strict=True)]
        index >>= 1
    return path


def _raw(text: str) -> bytes:
    raw = base58.decode(text, base58.OPERATION_HASH, HASH_BYTES)
    if raw is None:
        raise RefusedError(f"{text!r:.60} is no operation hash")
    return raw
