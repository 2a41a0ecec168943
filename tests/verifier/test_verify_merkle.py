"""Ranges of a Merkle tree, however they are cut, grown, copied and joined, have the root of the whole."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verifier.bundle_forge import merkle_root
from verifier import merkle
from verifier.merkle import MerkleRange

LEAVES = [hashlib.sha256(b"%d" % number).digest() for number in range(300)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_a_tree_put_together_from_ranges_has_the_root_of_the_whole(cuts: list[tuple[int, bool, bool, bool]]) -> None:
    tree = MerkleRange()
    for size, grow_it, grow_all, look in cuts:
        part = MerkleRange(tree.end)
        part.add_leaves(b"".join(LEAVES[tree.end : tree.end + size // 2]))
        if grow_it:
            part.grow()
        part.add_leaves(b"".join(LEAVES[part.end : part.end + size - size // 2]))
        tree.join(part)
        if grow_all:
            tree.grow()
        if look and tree.end:
            assert tree.copy().root() == merkle_root(LEAVES[: tree.end])
    expected = merkle_root(LEAVES[: tree.end]) if tree.end else hashlib.sha256(b"").digest()
    assert tree.root() == tree.root() == expected


def test_a_copy_grows_on_its_own() -> None:
    tree = MerkleRange()
    tree.add_leaves(b"".join(LEAVES[:5]))
    twin = tree.copy()
    twin.add_leaves(LEAVES[5])
    assert tree.root() == merkle_root(LEAVES[:5])
    assert twin.root() == merkle_root(LEAVES[:6])


def test_a_range_that_does_not_follow_is_refused() -> None:
    tree = MerkleRange()
    tree.add_leaves(LEAVES[0])
    with pytest.raises(ValueError, match="do not follow"):
        tree.join(MerkleRange(2))


def test_leaves_wait_only_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merkle, "MAX_WAITING_BYTES", 10 * 32)
    monkeypatch.setattr(merkle, "_GROWN_BYTES", 3 * 32)
    tree = MerkleRange()
    for at in range(0, 300, 7):
        tree.add_leaves(b"".join(LEAVES[at : at + 7]))
        assert sum(map(len, tree._waiting)) <= 10 * 32
    assert tree.root() == merkle_root(LEAVES)
