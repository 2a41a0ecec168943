import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.chain.canonical import CanonicalError
from ledger.chain.event import GENESIS_PREV_HASH, event_hash, is_kind
from ledger.chain.merkle import Frontier, inclusion_path, leaf_hash, merkle_root, node_hash, root_of_path
from ledger.chain.rules import ChainHead, ClockWentBackError, checkpoint, closing, draft, link_hashes, stamp
from ledger.chain.sealed import digest_of, salt_of, seal, seal_as
from verifier.sealed import MAX_DISCLOSURE_LINE_BYTES, disclosed_value, read_disclosure

OPENING = (
    b'{"chain_id":"demo-1","chain_type":"session","format":"indelible-chain/1",'
    b'"organisation":{"id":"acme","name":"Acme Security"},"subject":{"case":"A-17"}}'
)


def test_the_worked_example_of_the_specification_has_its_hashes() -> None:
    first = event_hash(
        sequence=1,
        prev_hash=GENESIS_PREV_HASH,
        kind=b"chain.opened",
        payload=OPENING,
        occurred_at_us=1767323045000006,
    )
    second = event_hash(
        sequence=2,
        prev_hash=first,
        kind=b"door.opened",
        payload='{"angle":0.5,"door":"north","note":"é ☃"}'.encode(),
        occurred_at_us=1767323046000000,
    )
    assert first.hex() == "505839bfd7eb1bacb7a9648f059e2fa7ccd5849019d1b10d017395a9d33dcfd3"
    assert second.hex() == "d3cb96f6ea15091c39265e422239b1016840986ab655e85072fee98c65b28174"
    root = merkle_root([first, second])
    assert root.hex() == "157951d84a6b82d56b0f6919573a8ddb191d1fb927667bee9e245db79f920b04"
    assert checkpoint(Frontier().extended([first, second])) == {"merkle_root": root.hex(), "tree_size": 2}


@given(
    st.integers(0, 2**48 - 3),
    st.binary(min_size=32, max_size=32),
    st.lists(st.tuples(st.sampled_from(["a.b", "door.opened"]), st.binary(max_size=40)), min_size=1, max_size=3),
    st.integers(-(2**63), 2**63 - 1),
)
def test_linking_many_events_gives_the_hash_of_each(
    sequence: int, prev_hash: bytes, events: list[tuple[str, bytes]], time: int
) -> None:
    head = ChainHead(sequence=sequence, hash=prev_hash)
    hashes = link_hashes(head, [draft(kind, payload).body for kind, payload in events], time)
    for number, ((kind, payload), digest) in enumerate(zip(events, hashes, strict=True), sequence + 1):
        prev_hash = event_hash(
            sequence=number, prev_hash=prev_hash, kind=kind.encode(), payload=payload, occurred_at_us=time
        )
        assert digest == prev_hash


def test_an_event_is_stamped_with_the_clock() -> None:
    assert stamp(ChainHead(occurred_at_us=5), 5) == 5
    assert stamp(ChainHead(occurred_at_us=5), 1_000_000) == 1_000_000


def test_a_clock_set_back_by_up_to_a_second_gives_the_time_of_the_event_before() -> None:
    assert stamp(ChainHead(occurred_at_us=2_000_000), 1_000_000) == 2_000_000


def test_a_clock_set_back_by_more_than_a_second_stamps_nothing() -> None:
    with pytest.raises(ClockWentBackError) as caught:
        stamp(ChainHead(occurred_at_us=2_000_001), 1_000_000)
    assert caught.value.behind_us == 1_000_001


@pytest.mark.parametrize("kind", ["a.b", "door.opened", "a1_.b_2.c", "a." + "b" * 62])
def test_a_kind_is_lower_case_words_joined_by_dots(kind: str) -> None:
    assert is_kind(kind)


@pytest.mark.parametrize(
    "kind", ["", "a", "a.", ".a", "A.b", "a.B", "a.1", "a..b", "a.b\n", "a.é", "a b.c", "a.b-c", "a." + "b" * 63, "a.٣"]
)
def test_any_other_kind_is_refused(kind: str) -> None:
    assert not is_kind(kind)


def test_a_remark_on_closing_stands_beside_the_root() -> None:
    frontier = Frontier().extended([bytes(32)])
    assert closing(frontier, "", None) == checkpoint(frontier)
    assert closing(frontier, '{"by":"x"}', None) == checkpoint(frontier) | {"closing": {"by": "x"}}


def test_a_closing_names_what_an_ended_session_left_unfinished() -> None:
    frontier = Frontier().extended([bytes(32)])
    assert closing(frontier, "", []) == checkpoint(frontier) | {"unfinished": []}


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if len(hashes) == 1:
        return leaf_hash(hashes[0])
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(naive_root(hashes[:split]), naive_root(hashes[split:]))


HASHES = [bytes([number]) * 32 for number in range(70)]


def test_a_frontier_has_the_root_of_the_definition_at_every_size() -> None:
    frontier = Frontier()
    for size, digest in enumerate(HASHES, 1):
        frontier = frontier.extended([digest])
        assert frontier.root() == naive_root(HASHES[:size])
        assert len(frontier.peaks) == size.bit_count()
    assert frontier == Frontier().extended(HASHES[:33]).extended(HASHES[33:])


def test_an_inclusion_path_proves_its_leaf_at_its_place_and_nothing_else() -> None:
    for size in (1, 2, 3, 5, 8, 13):
        hashes = HASHES[:size]
        root = merkle_root(hashes)
        for index, digest in enumerate(hashes):
            path = inclusion_path(hashes, index)
            assert root_of_path(digest, index, size, path) == root
            assert root_of_path(HASHES[60], index, size, path) != root
            assert root_of_path(digest, index, size, (*path, bytes(32))) is None
            if path:
                assert root_of_path(digest, index, size, path[:-1]) is None
                assert root_of_path(digest, (index + 1) % size, size, path) != root


def test_there_is_no_path_to_a_leaf_outside_the_tree() -> None:
    with pytest.raises(IndexError):
        inclusion_path(HASHES[:3], 3)
    assert root_of_path(HASHES[0], 3, 3, ()) is None
    assert root_of_path(HASHES[0], -1, 3, ()) is None


def test_the_sealed_example_of_the_specification_has_its_digest() -> None:
    digest = digest_of("WyJNVEl6TkRVMk56ZzVNREV5TXpRMU5nIiwibmFtZSIsIkFubiJd")
    assert digest == "lKuoMjLq-JY2CyZpTdqWsZsf1Vjk4XgeABecaGjqjjY"


def test_sealing_replaces_members_by_sorted_digests() -> None:
    salts = [bytes([number]) * 16 for number in range(3)]
    payload, disclosures = seal({"a": 1, "b": {"c": "é"}, "d": None, "e": 2}, ("d", "b", "a"), salts)
    assert payload == {"e": 2, "_sd_alg": "sha-256", "_sd": sorted(map(digest_of, disclosures))}
    assert [salt_of(disclosure) for disclosure in disclosures] == list(zip(salts, "dba", strict=True))


def test_sealing_what_is_not_there_is_refused() -> None:
    with pytest.raises(CanonicalError, match="missing"):
        seal({"a": 1}, ("b",), [bytes(16)])
    with pytest.raises(CanonicalError, match="named twice"):
        seal({"a": 1}, ("a", "a"), [bytes(16)] * 2)


@pytest.mark.parametrize("value", ["x" * 262_000, list(range(10)) * 13_000, {"é": "☃" * 87_000}])
def test_a_member_as_large_as_a_payload_fits_the_line_that_discloses_it(value: object) -> None:
    [disclosure] = seal({"a": value}, ("a",), [bytes(16)])[1]
    read = read_disclosure(b'{"disclosure":"%s","sequence":281474976710655}' % disclosure.encode())
    assert len(disclosure) + 46 <= MAX_DISCLOSURE_LINE_BYTES
    assert disclosed_value(read) == value


def test_a_member_that_no_verifier_would_read_is_refused() -> None:
    with pytest.raises(CanonicalError, match="larger than a payload"):
        seal({"a": "x" * 300_000}, ("a",), [bytes(16)])


def test_members_are_compared_as_sealed_when_their_salts_were_erased() -> None:
    sealed = '{"_sd":["x","y"],"_sd_alg":"sha-256","c":3}'
    compared = seal_as({"a": 1, "b": 2, "c": 3}, ("a", "b"), sealed, {})
    assert compared == {"_sd": ["x", "y"], "_sd_alg": "sha-256", "c": 3}
    assert seal_as({"a": 1, "c": 3}, ("a",), sealed, {}) is None


def test_members_whose_salts_are_left_are_compared_by_their_digests() -> None:
    payload, disclosures = seal({"a": 1, "b": 2, "c": 3}, ("a", "b"), [bytes(16), bytes(16)])
    salt, name = salt_of(disclosures[0])
    sealed = json.dumps(payload)
    assert seal_as({"a": 1, "b": 99, "c": 3}, ("a", "b"), sealed, {name: salt}) == payload
    assert seal_as({"a": 99, "b": 2, "c": 3}, ("a", "b"), sealed, {name: salt}) is None
    assert seal_as({"b": 2, "c": 3, "d": 1}, ("b", "d"), sealed, {name: salt}) is None
