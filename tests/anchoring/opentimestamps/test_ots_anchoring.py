"""Rounds of the backend against real calendars that behave: submitting, waiting, completing."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.anchoring.port import InProgress
from sandbox.calendar import CalendarFaults
from tests.anchoring.opentimestamps.ots_under_test import Anchoring, last_round_of, new_head, proof_in, round_of
from verifier.opentimestamps.proof import BITCOIN_TAG, PENDING_TAG, parse_proof


async def test_a_head_is_handed_to_every_calendar_and_the_proof_so_far_is_pending(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        state = await round_of(backend, head)
    result = anchoring.check(proof_in(state), head)
    assert result.status == "pending"
    addresses = {leaf.payload[1:].decode() for leaf in parse_proof(proof_in(state)).attestations}
    assert addresses == set(anchoring.sandbox.calendars)
    assert "3 of 3 calendars" in state["progress"]


async def test_calendars_never_see_the_head_nor_the_same_bytes_for_two_heads(anchoring: Anchoring) -> None:
    head = new_head()
    before = [len(given) for given in anchoring.sandbox.submitted()]
    async with anchoring.backend() as backend:
        await round_of(backend, head)
        await round_of(backend, head)
    given = [digests[start:] for digests, start in zip(anchoring.sandbox.submitted(), before, strict=True)]
    assert all(len(digests) == 2 and len(set(digests)) == 2 and head not in digests for digests in given)
    assert given[0] == given[1] == given[2]


async def test_a_promise_that_is_kept_completes_the_proof_and_drops_the_others(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        obtained = await last_round_of(backend, head, state)
    result = anchoring.check(obtained.response, head)
    assert (result.status, result.height) == ("valid", anchoring.sandbox.height())
    assert result.time == obtained.anchored_at
    assert {leaf.tag for leaf in parse_proof(obtained.response).attestations} == {BITCOIN_TAG}
    assert obtained.request == hashlib.sha256(head + bytes.fromhex(state["nonce"])).digest()


async def test_while_no_block_has_it_a_round_leaves_the_proof_byte_for_byte_as_it_was(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        first = await round_of(backend, head)
        anchoring.pass_time(hours=1)
        second = await round_of(backend, head, first)
    assert second == first


async def test_the_first_look_comes_soon_and_later_ones_less_often(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        first = await backend.anchor(head, None)
        assert isinstance(first, InProgress)
        assert timedelta(minutes=10) <= first.again_at - anchoring.now <= timedelta(minutes=11)
        anchoring.pass_time(minutes=11)
        second = await backend.anchor(head, first.state)
        assert isinstance(second, InProgress)
        assert timedelta(hours=1) <= second.again_at - anchoring.now <= timedelta(minutes=66)


async def test_with_two_attestations_wanted_one_is_kept_until_the_second_is_there(anchoring: Anchoring) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(CalendarFaults(never_upgrades=True), calendars=[1, 2])
    async with anchoring.backend(attestations=2) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        state = await round_of(backend, head, state)
        assert "1 of 2 paths" in state["progress"]
        tags = sorted(leaf.tag for leaf in parse_proof(proof_in(state)).attestations)
        assert tags == [BITCOIN_TAG, PENDING_TAG, PENDING_TAG]
        assert anchoring.check(proof_in(state), head).status == "valid"
        given = anchoring.sandbox.submitted()
        anchoring.sandbox.heal()
        obtained = await last_round_of(backend, head, state)
    assert anchoring.sandbox.submitted() == given
    claims = [leaf for leaf in parse_proof(obtained.response).attestations if leaf.tag == BITCOIN_TAG]
    assert len(claims) == 3


async def test_another_process_goes_on_from_the_state_alone(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        state = await round_of(backend, head)
    await anchoring.mine()
    async with anchoring.backend() as another:
        obtained = await last_round_of(another, head, state)
    assert anchoring.check(obtained.response, head).ok


async def test_a_state_that_cannot_be_read_costs_a_new_submission_and_nothing_else(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend() as backend:
        state = dict(await round_of(backend, head))
        for spoiled in ({}, state | {"proof": "AAAA"}, state | {"calendars": 7}, state | {"nonce": None}):
            assert anchoring.check(proof_in(await round_of(backend, head, spoiled)), head).status == "pending"


async def test_a_header_file_of_the_operator_suffices(anchoring: Anchoring, tmp_path: Path) -> None:
    head = new_head()
    file = tmp_path / "headers.txt"
    file.write_text(anchoring.sandbox.headers())
    async with anchoring.backend(headers=file, header_urls=()) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        state = await round_of(backend, head, state)
        assert "nothing you trust shows yet" in state["progress"]
        assert anchoring.check(proof_in(state), head).status == "pending"
        file.write_text(anchoring.sandbox.headers())
        # Not even the calendars are needed any more: the path they gave was kept.
        anchoring.sandbox.misbehave(CalendarFaults(down=True), calendars=[0, 1, 2])
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).ok


async def test_a_block_that_is_not_deep_enough_does_not_count_yet(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend(confirmations=3) as backend:
        state = await round_of(backend, head)
        await anchoring.mine(2)
        state = await round_of(backend, head, state)
        assert parse_proof(proof_in(state)).attestations[0].tag == PENDING_TAG
        await anchoring.mine()
        obtained = await last_round_of(backend, head, state)
    assert anchoring.check(obtained.response, head).height == anchoring.sandbox.height() - 2


async def test_heads_of_many_chains_share_a_block(anchoring: Anchoring) -> None:
    heads = [new_head() for _ in range(5)]
    async with anchoring.backend() as backend:
        states = [await round_of(backend, head) for head in heads]
        await anchoring.mine()
        obtained = [await last_round_of(backend, head, state) for head, state in zip(heads, states, strict=True)]
    heights = {anchoring.check(one.response, head).height for one, head in zip(obtained, heads, strict=True)}
    assert heights == {anchoring.sandbox.height()}


async def test_a_header_of_bitcoin_is_wanted_unless_the_operator_says_otherwise(anchoring: Anchoring) -> None:
    head = new_head()
    async with anchoring.backend(network="bitcoin") as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        state = await round_of(backend, head, state)
    assert "nothing you trust shows yet" in state["progress"]
    assert len(json.dumps(state)) < 16_000


@pytest.mark.parametrize("attestations", [1, 2])
async def test_no_promise_is_in_a_complete_proof(anchoring: Anchoring, attestations: int) -> None:
    head = new_head()
    anchoring.sandbox.misbehave(CalendarFaults(never_upgrades=True), calendars=[2])
    async with anchoring.backend(attestations=attestations) as backend:
        state = await round_of(backend, head)
        await anchoring.mine()
        obtained = await last_round_of(backend, head, state)
    assert all(leaf.tag == BITCOIN_TAG for leaf in parse_proof(obtained.response).attestations)
