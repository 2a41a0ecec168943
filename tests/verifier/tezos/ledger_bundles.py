"""Makes bundles that are anchored on public ledgers."""

import json
from typing import Any

from tests.verifier.bundle_forge import STAMPED, Authority, Chain, Files, data_files, sealed, short_session, time_text
from tests.verifier.opentimestamps import public_facts as facts
from tests.verifier.tezos.forge import NETWORK, Block, Signer, operation, transaction
from verifier.policy import TrustPolicy
from verifier.tezos import TezosTrust

BITCOIN_CLAIM = b"\x00" + facts.BITCOIN + b"\x02\xaa\x01"
PENDING = b"\x00" + bytes.fromhex("83dfe30d2ef90c8e") + b"\x11\x10https://cal.test"
RECEIPT = "data/anchors/4-tezos-chain.tezos.json"
PROOF = "data/anchors/4-opentimestamps-calendars.ots"
CHAIN = short_session()
HEAD = CHAIN.hashes[3]


def anchored(value: bytes, aggregation: dict[str, Any] | None = None) -> dict[str, Any]:
    """A receipt's members for `value`."""
    signer = Signer(0)
    operations = [operation(signer, transaction(signer, value))]
    return Block(operations=operations, index=0, signer=signer, value=value).document() | {"aggregation": aggregation}


def entry(backend: str, authority: str, role: str, path: str, aggregation: object = None) -> dict[str, Any]:
    return {
        "aggregation": aggregation,
        "authority": authority,
        "backend": backend,
        "digest": HEAD.hex(),
        "files": {role: path},
        "obtained_at": time_text(STAMPED),
        "sequence": 4,
    }


def bundle_files(
    extra: Files, entries: list[dict[str, Any]], stamps: list[tuple[Authority, int]] | None = None, chain: Chain = CHAIN
) -> Files:
    def edit(statement: dict[str, Any]) -> None:
        anchors = [*statement["anchors"], *entries]
        statement["anchors"] = sorted(anchors, key=lambda one: (one["sequence"], one["backend"], one["authority"]))
        statement["exported_at"] = max(one["obtained_at"] for one in anchors)

    return sealed(data_files(chain, stamps or [], edit=edit, extra=extra))


def with_receipt(receipt: dict[str, Any], aggregation: object = None) -> Files:
    extra = {RECEIPT: json.dumps(receipt).encode()}
    return bundle_files(extra, [entry("tezos", "chain", "receipt", RECEIPT, aggregation)])


def with_proof(proof: bytes) -> Files:
    return bundle_files({PROOF: proof}, [entry("opentimestamps", "calendars", "proof", PROOF)])


def trusting(receipt: dict[str, Any]) -> TrustPolicy:
    trust = TezosTrust(chain_id=NETWORK, entrypoint="anchor", block_hashes=frozenset({receipt["block_hash"]}))
    return TrustPolicy(tezos={"chain": trust})
