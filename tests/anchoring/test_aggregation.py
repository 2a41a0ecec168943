import hashlib
import time

import pytest

from ledger.anchoring.aggregation import HeadTree
from ledger.chain.merkle import inclusion_path, merkle_root
from verifier.inclusion import root_from_path


def heads(count: int) -> list[bytes]:
    return [hashlib.sha256(number.to_bytes(4)).digest() for number in range(count)]


@pytest.mark.parametrize("count", [*range(1, 20), 31, 32, 33, 100])
def test_roots_and_paths_are_those_of_rfc_9162(count: int) -> None:
    leaves = heads(count)
    tree = HeadTree(leaves)
    assert tree.root == merkle_root(leaves)
    for index, head in enumerate(leaves):
        assert tree.path(index) == inclusion_path(leaves, index)
        assert root_from_path(head, index, count, tree.path(index)) == tree.root


@pytest.mark.parametrize("index", [-1, 5])
def test_a_place_outside_the_tree_has_no_path(index: int) -> None:
    with pytest.raises(IndexError):
        HeadTree(heads(5)).path(index)


def test_a_hundred_thousand_heads_come_under_one_root_in_under_two_seconds_of_work() -> None:
    leaves = heads(100_000)
    began = time.process_time()  # of this process: the machine may be busy with others
    HeadTree(leaves)
    assert time.process_time() - began < 2.0
