"""What outsiders say in the demonstration: waiting for it, describing it, and deciding whom to trust."""

import json
import time
import zipfile
from pathlib import Path
from typing import Any

from ledger.client import Anchor, BlockingLedgerClient
from sandbox.outside import CALENDARS_NAME, HEADERS_NAME, TEZOS_NAME
from sandbox.stack import Stack
from verifier.statement import OPENTIMESTAMPS, RFC3161, TEZOS

_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.05
# What kinds of confirmation are called, and how much of a block's hash is enough to recognise it.
_KINDS = {RFC3161: "RFC 3161 time-stamp", TEZOS: "block of Tezos", OPENTIMESTAMPS: "block of Bitcoin"}
_HASH_CHARACTERS = 16


class DemoError(RuntimeError):
    """Something did not happen as the demonstration says it does; the text says what."""


def await_anchors(ledger: BlockingLedgerClient, chain_id: str) -> list[Anchor]:
    """Every anchor, once all are obtained that can be, or time is up; at least one must have been.

    Those that are still pending come last. Raises DemoError.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        anchors = list(ledger.list_anchors(chain_id))
        obtained = [anchor for anchor in anchors if anchor.state == "obtained"]
        if anchors and all(anchor.state == "obtained" or _takes_hours(anchor) for anchor in anchors):
            return sorted(anchors, key=_finished_first)
        if time.monotonic() > deadline:
            if obtained:
                # An authority that is away delays its own anchor and nothing else.
                return sorted(anchors, key=_finished_first)
            raise DemoError(f"no authority answered within {_WAIT_SECONDS:g} seconds: {anchors}")
        time.sleep(_POLL_SECONDS)


def _finished_first(anchor: Anchor) -> tuple[bool, str]:
    return anchor.state != "obtained", anchor.authority


def _takes_hours(anchor: Anchor) -> bool:
    """Whether a proof is on its way that nobody waits for: calendars promise a Bitcoin block, and it comes later."""
    return anchor.backend == OPENTIMESTAMPS and anchor.attempts > 0 and anchor.last_error != ""


def describe_anchor(anchor: Anchor) -> str:
    """One line: who, what kind, and when or how far."""
    who = f"#{anchor.sequence:<4}{anchor.authority:<17}{_KINDS.get(anchor.backend, anchor.backend):<22}"
    if anchor.anchored_at is None:
        return f"{who} pending: {anchor.last_error}"
    return f"{who} {anchor.anchored_at:%Y-%m-%d %H:%M:%S} UTC"


def decide_trust(stack: Stack, bundle: Path, trust: Path) -> list[str]:
    """Write the trust policy, and say what is in it. The block is looked up, as a reader would at nodes they chose.

    Raises DemoError.
    """
    lines = [f"{name:<17}its root certificate, which you got from the authority itself" for name in stack.outside.names]
    blocks: list[str] = []
    for receipt in _tezos_receipts(bundle):
        level, claimed = receipt["level"], receipt["block_hash"]
        if stack.outside.tezos is None or stack.outside.tezos.block_hash(level) != claimed:
            raise DemoError(f"the receipt names another block {level} than the nodes of the Tezos network")
        blocks.append(claimed)
        lines.append(f"{TEZOS_NAME:<17}block {level} is {claimed[:_HASH_CHARACTERS]}…, as the nodes say that you asked")
    stack.outside.write_trust(trust, tezos_blocks=blocks)
    lines.append(f"{CALENDARS_NAME:<17}the headers of the blocks so far, in {HEADERS_NAME}")
    return lines


def _tezos_receipts(bundle: Path) -> list[dict[str, Any]]:
    with zipfile.ZipFile(bundle) as archive:
        names = [name for name in archive.namelist() if f"-{TEZOS}-" in name]
        return [json.loads(archive.read(name)) for name in names]
