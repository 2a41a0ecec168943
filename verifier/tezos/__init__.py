"""Tezos receipts, checked with hashing and one signature; no node, no Tezos library."""

from verifier.tezos.receipt import UnusableReceiptError
from verifier.tezos.verify import ReceiptResult, TezosTrust, check_receipt

__all__ = ["ReceiptResult", "TezosTrust", "UnusableReceiptError", "check_receipt"]
