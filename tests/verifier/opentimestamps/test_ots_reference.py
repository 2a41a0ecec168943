"""Random proofs, read by this verifier and by the reference library: both must see the same."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.opentimestamps import public_facts as facts
from verifier.opentimestamps.proof import BITCOIN_TAG, PENDING_TAG, UnusableProofError, bitcoin_height, parse_proof

timestamp = pytest.importorskip("opentimestamps.core.timestamp", reason="the reference library is not installed")
notary = pytest.importorskip("opentimestamps.core.notary")
serialize = pytest.importorskip("opentimestamps.core.serialize")

DIGEST = bytes(range(32))


def varuint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def attested(tag: bytes, payload: bytes) -> bytes:
    return b"\x00" + tag + varuint(len(payload)) + payload


LEAVES = st.one_of(
    st.integers(0, 2**40).map(lambda height: attested(BITCOIN_TAG, varuint(height))),
    st.sampled_from([b"https://cal.test", b"https://a.b/c-d_e"]).map(
        lambda uri: attested(PENDING_TAG, varuint(len(uri)) + uri)
    ),
    st.binary(max_size=20).map(lambda payload: attested(b"unknown!", payload)),
)
STEPS = st.one_of(
    st.sampled_from([b"\x08", b"\x08", b"\x02", b"\x03"]),
    st.tuples(st.sampled_from([b"\xf0", b"\xf1"]), st.binary(min_size=1, max_size=40)).map(
        lambda pair: pair[0] + varuint(len(pair[1])) + pair[1]
    ),
)


def forked(branches: list[bytes]) -> bytes:
    """All but the last behind a mark; one that begins with a mark itself needs a step in front."""
    return b"".join(b"\xff" + (b"\x08" + one if one[:1] == b"\xff" else one) for one in branches[:-1]) + branches[-1]


TREES = st.recursive(
    LEAVES,
    lambda inner: st.tuples(STEPS, inner).map(b"".join) | st.lists(inner, min_size=2, max_size=4).map(forked),
    max_leaves=12,
)


def reference(proof: bytes) -> list[tuple[bytes, object]]:
    """What the reference library finds: Bitcoin claims with their messages, and calendars."""
    stream = serialize.StreamDeserializationContext(io.BytesIO(proof))
    parsed = timestamp.DetachedTimestampFile.deserialize(stream)
    found: list[tuple[bytes, object]] = []
    for message, attestation in parsed.timestamp.all_attestations():
        if isinstance(attestation, notary.BitcoinBlockHeaderAttestation):
            found.append((message, attestation.height))
        elif isinstance(attestation, notary.PendingAttestation):
            found.append((b"", attestation.uri))
    return found


def ours(proof: bytes) -> list[tuple[bytes, object]]:
    found: list[tuple[bytes, object]] = []
    for leaf in parse_proof(proof).attestations:
        if leaf.tag == BITCOIN_TAG:
            # Messages that are no Merkle root are not kept.
            found.append((leaf.message or b"?", bitcoin_height(leaf) if leaf.message else None))
        elif leaf.tag == PENDING_TAG:
            found.append((b"", leaf.payload[1:].decode("utf-8", "replace")))
    return found


def shown(found: list[tuple[bytes, object]]) -> set[tuple[bytes, object]]:
    return {(message, claim) if message == b"" or len(message) == 32 else (b"?", None) for message, claim in found}


@given(TREES)
def test_every_proof_is_read_as_the_reference_library_reads_it(tree: bytes) -> None:
    proof = facts.MAGIC + b"\x01\x08" + DIGEST + tree
    # Of two branches that begin with the same step the library keeps the last only; we keep both.
    assert shown(reference(proof)) <= set(ours(proof))


@given(TREES, st.data())
def test_a_changed_proof_that_both_read_is_read_alike(tree: bytes, data: st.DataObject) -> None:
    proof = bytearray(facts.MAGIC + b"\x01\x08" + DIGEST + tree)
    place = data.draw(st.integers(len(facts.MAGIC), len(proof) - 1))
    proof[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read, expected = ours(bytes(proof)), reference(bytes(proof))
    except (UnusableProofError, serialize.DeserializationError, ValueError):
        # Either is stricter in places: we about numbers, the library about a calendar's address.
        return
    assert shown(expected) <= set(read)
