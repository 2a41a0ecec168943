"""Killed at each durable boundary: whoever comes next goes on from what is stored, and never pays twice."""

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.anchoring.port import Obtained, RefusedError
from ledger.anchoring.tezos import LocalKey
from tests.anchoring.tezos.tezos_under_test import Anchoring
from verifier.tezos import base58

KILLED = -signal.SIGKILL
PATIENCE_SECONDS = 240.0


def start_dying(anchoring: Anchoring, dies: str, head: bytes) -> "subprocess.Popen[bytes]":
    configuration = anchoring.configuration
    members = ("name", "chain_id", "contract", "confirmations", "maximum_wait_seconds", "operation_ttl_blocks")
    told = {
        "configuration": {member: getattr(configuration, member) for member in members},
        "nodes": configuration.nodes,
        "secret": anchoring.network.secret,
        "dsn": anchoring.worker_dsn,
        "head": head.hex(),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.anchoring.tezos.dying_process", dies, json.dumps(told)],
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("boundary", ["enqueue", "form", "sign", "inject", "finish"])
async def test_a_process_killed_at_a_boundary_is_followed_by_one_that_pays_nothing_twice(
    anchoring: Anchoring, when: str, boundary: str
) -> None:
    head = secrets.token_bytes(32)
    with start_dying(anchoring, f"{when} {boundary}", head) as dying:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while dying.poll() is None:
                assert time.monotonic() < deadline
                await asyncio.to_thread(anchoring.network.bake)
                await asyncio.sleep(0.1)
            assert dying.returncode == KILLED, dying.stderr.read() if dying.stderr else ""
        finally:
            dying.kill()
    async with anchoring.backend() as backend:
        obtained = await anchoring.drive(backend, head)
    anchoring.require_valid(obtained, head)
    assert len(anchoring.calls(head)) == 1


async def test_two_processes_at_once_make_one_operation(anchoring: Anchoring) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend() as one, anchoring.backend() as two:
        for _ in range(20):
            outcomes = await asyncio.gather(one.anchor(head, None), two.anchor(head, None))
            if all(isinstance(outcome, Obtained) for outcome in outcomes):
                break
            await asyncio.to_thread(anchoring.network.bake)
    assert isinstance(outcomes[0], Obtained)
    assert isinstance(outcomes[1], Obtained)
    assert outcomes[0].response == outcomes[1].response
    assert len(anchoring.calls(head)) == 1


async def test_another_account_is_refused_while_an_operation_is_under_way(anchoring: Anchoring) -> None:
    head = secrets.token_bytes(32)
    async with anchoring.backend() as backend:
        await backend.anchor(head, None)
    other = base58.encode(bytes([13, 15, 58, 7]), secrets.token_bytes(32))
    anchoring.configuration = replace(anchoring.configuration, key=LocalKey(secret=other))
    async with anchoring.backend() as backend:
        with pytest.raises(RefusedError, match="another account"):
            await backend.anchor(head, None)


async def test_an_operation_that_would_fail_is_not_sent_and_costs_nothing(anchoring: Anchoring) -> None:
    missing = base58.encode(base58.CONTRACT, secrets.token_bytes(20))
    before = anchoring.network.status()["accounts"][anchoring.network.address]["balance"]
    async with anchoring.backend(contract=missing) as backend:
        with pytest.raises(RefusedError, match=r"would fail: .*non_existing_contract"):
            await backend.anchor(secrets.token_bytes(32), None)
    assert anchoring.network.status()["accounts"][anchoring.network.address]["balance"] == before


async def test_no_operation_costs_more_than_allowed_whatever_a_node_says(anchoring: Anchoring) -> None:
    async with anchoring.backend(maximum_fee=100) as backend:
        with pytest.raises(RefusedError, match="at most 100"):
            await backend.anchor(secrets.token_bytes(32), None)
