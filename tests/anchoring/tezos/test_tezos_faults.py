"""Everything that goes wrong, alone and in pairs: in the end the head is anchored and there is one valid receipt."""

import itertools
import secrets
from collections.abc import Callable

import pytest

from sandbox.tezos import NodeFaults, TezosSandbox
from tests.anchoring.tezos.tezos_under_test import CONFIRMATIONS, TTL_BLOCKS, Anchoring

TROUBLE_ENDS = 5  # blocks after its beginning

Trouble = Callable[[TezosSandbox, int], None]


def lasting(faults: NodeFaults, *, nodes: tuple[int, ...]) -> Trouble:
    def act(network: TezosSandbox, block: int) -> None:
        if block == 0:
            network.misbehave(faults, nodes=nodes)
        elif block == TROUBLE_ENDS:
            network.heal()

    return act


def empty_blocks(network: TezosSandbox, block: int) -> None:
    if block < TROUBLE_ENDS:
        network.bake(empty=True)


def reorganisation_before_finality(network: TezosSandbox, block: int) -> None:
    if block == CONFIRMATIONS:
        network.reorganise(2)


def reorganisation_that_loses_operations(network: TezosSandbox, block: int) -> None:
    if block == CONFIRMATIONS:
        network.reorganise(2, lose_operations=True)


def reorganisation_below_the_branch(network: TezosSandbox, block: int) -> None:
    if block == CONFIRMATIONS:
        network.reorganise(CONFIRMATIONS + 3, lose_operations=True)


def lost_until_its_time_is_over(network: TezosSandbox, block: int) -> None:
    if block == 0:
        network.misbehave(NodeFaults(drop_injected=True), nodes=ALL)
    elif block == 1:
        network.bake(TTL_BLOCKS, empty=True)
        network.bake(CONFIRMATIONS + 2, empty=True)
    elif block == 2:
        network.heal()


def disagreeing_node(network: TezosSandbox, block: int) -> None:
    if block == 1:
        network.bake(1, nodes=[2], empty=True)  # from here on it follows a chain of its own
    elif block == TROUBLE_ENDS:
        network.heal()


ALL = (0, 1, 2)
TWO = (0, 1)
TROUBLES: dict[str, Trouble] = {
    "empty_blocks": empty_blocks,
    "late": lasting(NodeFaults(hold_blocks=5), nodes=ALL),
    "dropped": lasting(NodeFaults(drop_injected=True), nodes=ALL),
    "expired": lost_until_its_time_is_over,
    "reorganised": reorganisation_before_finality,
    "reorganised_and_lost": reorganisation_that_loses_operations,
    "reorganised_below_the_branch": reorganisation_below_the_branch,
    "stalled": lasting(NodeFaults(stalled=True), nodes=TWO),
    "down": lasting(NodeFaults(down_every=1), nodes=TWO),
    "rate_limited": lasting(NodeFaults(status_every=2, status=429), nodes=ALL),
    "error_500": lasting(NodeFaults(status_every=3, status=500), nodes=ALL),
    "truncated": lasting(NodeFaults(truncated_every=2), nodes=TWO),
    "garbage": lasting(NodeFaults(garbage_every=3), nodes=ALL),
    "disagreeing": disagreeing_node,
    "wrong_chain": lasting(NodeFaults(wrong_chain=True), nodes=TWO),
}


async def anchor_through(anchoring: Anchoring, *troubles: Trouble) -> None:
    head = secrets.token_bytes(32)

    def each_block(block: int) -> None:
        for trouble in troubles:
            trouble(anchoring.network, block)

    async with anchoring.backend() as backend:
        obtained = await anchoring.drive(backend, head, each_block=each_block)
        anchoring.require_valid(obtained, head)
        again = await anchoring.drive(backend, head)
    assert again.response == obtained.response
    anchoring.network.heal()
    anchoring.network.bake(2)
    calls = anchoring.calls(head)
    assert len(calls) == 1, "a fee was paid twice"
    assert calls[0]["contents"][0]["counter"]


@pytest.mark.parametrize("name", TROUBLES)
async def test_a_head_is_anchored_once_through_each_trouble(anchoring: Anchoring, name: str) -> None:
    await anchor_through(anchoring, TROUBLES[name])


@pytest.mark.parametrize("names", list(itertools.combinations(TROUBLES, 2)), ids="-and-".join)
async def test_a_head_is_anchored_once_through_two_troubles_at_once(
    anchoring: Anchoring, names: tuple[str, str]
) -> None:
    await anchor_through(anchoring, *(TROUBLES[name] for name in names))
