"""Tezos receipts, checked with hashing and one signature; no Tezos library, and a node only when asked for."""

from verifier.tezos.nodes import NodeWitnesses
from verifier.tezos.receipt import UnusableReceiptError
from verifier.tezos.trust import Observer, Sighting, TezosTrust
from verifier.tezos.verify import ReceiptResult, check_receipt

__all__ = [
    "NodeWitnesses",
    "Observer",
    "ReceiptResult",
    "Sighting",
    "TezosTrust",
    "UnusableReceiptError",
    "check_receipt",
]
