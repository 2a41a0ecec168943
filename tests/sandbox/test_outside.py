"""Whoever anchors in the sandbox: what is said of them, and what happens where one of them cannot be had."""

import os
import re
import signal
from pathlib import Path

import pytest

from ledger.anchoring.authorities import load_authorities
from sandbox.outside import CALENDARS_NAME, TEZOS_BLOCK_SECONDS, TEZOS_NAME
from sandbox.stack import Part, PartEndedError, running_stack
from sandbox.tezos import TezosSandbox
from tests.anchoring.tezos.tezos_under_test import require_pytezos
from verifier.policy import load_policy

EVERYONE = {Part.AUTHORITIES, Part.TEZOS, Part.CALENDARS}


def test_ledger_and_auditor_are_told_about_everyone_who_anchors(sandbox_directory: Path) -> None:
    require_pytezos()
    with running_stack(sandbox_directory / "outside", parts=EVERYONE) as stack:
        configured = load_authorities(stack.files.authorities)
        policy = load_policy(stack.trust_policy)
        stack.check()
        assert {target.authority for target in configured.targets} == {
            "sandbox-one",
            "sandbox-two",
            TEZOS_NAME,
            CALENDARS_NAME,
        }
        assert set(policy.authorities) == {"sandbox-one", "sandbox-two"}
        assert set(policy.tezos) == {TEZOS_NAME}
        assert set(policy.bitcoin) == {CALENDARS_NAME}
        assert policy.tezos[TEZOS_NAME].contracts == {configured.tezos[0].contract}
        assert stack.outside.tezos is not None
        os.kill(stack.outside.tezos.process_id or 0, signal.SIGKILL)
        with pytest.raises(PartEndedError, match="The Tezos network ended by itself"):
            stack.watch()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("raise ValueError('Unable to find libsodium')", r"needs the system's libsodium \(Debian: apt-get install"),
        ("raise ModuleNotFoundError('gone', name='pytezos')", "needs the Python package pytezos"),
    ],
)
def test_without_what_tezos_needs_the_stack_says_so_in_one_line_and_goes_on(
    sandbox_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, reason: str
) -> None:
    (tmp_path / "pytezos.py").write_text(f"{trouble}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said: dict[Part, str] = {}
    with running_stack(
        sandbox_directory / "without-tezos",
        parts={Part.AUTHORITIES, Part.TEZOS},
        announce=lambda part, address, _seconds: said.update({part: address}),
    ) as stack:
        assert said[Part.TEZOS].startswith("left out: ")
        assert re.search(reason, said[Part.TEZOS])
        assert len(said[Part.TEZOS].splitlines()) == 1
        assert [one.name for one in load_authorities(stack.files.authorities).configurations] == [
            "sandbox-one",
            "sandbox-two",
        ]
        assert load_policy(stack.trust_policy).tezos == {}
        stack.check()


def test_the_tezos_network_is_the_same_after_it_was_killed(tmp_path: Path) -> None:
    require_pytezos()
    before = TezosSandbox(tmp_path, block_seconds=TEZOS_BLOCK_SECONDS, with_contract=True)
    before.launch()
    try:
        before.wait_ready()
        head = before.status()["heads"][0]
        os.kill(before.process_id or 0, signal.SIGKILL)
    finally:
        before.stop()
    with (tmp_path / "blocks.jsonl").open("a") as history:
        history.write('{"hash": "half a li')
    after = TezosSandbox(tmp_path, block_seconds=TEZOS_BLOCK_SECONDS, with_contract=True)
    after.launch()
    try:
        after.wait_ready()
        assert (after.chain_id, after.contract) == (before.chain_id, before.contract)
        assert after.block_hash(head["level"]) == head["hash"]
        assert after.status()["heads"][0]["level"] >= head["level"]
        assert after.status()["operations"] != []
    finally:
        after.stop()
