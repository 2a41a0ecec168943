"""OpenTimestamps proofs: what is valid, what is a mere promise, and what no bytes may do."""

import contextlib
import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.opentimestamps import public_facts as facts
from verifier.opentimestamps import UnusableHeadersError, check_proof, load_headers
from verifier.opentimestamps.proof import BITCOIN_TAG, PENDING_TAG, UnusableProofError, bitcoin_height, parse_proof

MAGIC = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"

# Bitcoin's first block: a public fact, and the only header whose Merkle root is its single transaction.
GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3"
    "888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
GENESIS_ROOT = GENESIS[36:68]


def varuint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def attestation(tag: bytes, payload: bytes) -> bytes:
    return b"\x00" + tag + varuint(len(payload)) + payload


def bitcoin(height: int) -> bytes:
    return attestation(BITCOIN_TAG, varuint(height))


PENDING = attestation(PENDING_TAG, b"\x0fhttps://cal.test")


def proof(tree: bytes, digest: bytes = GENESIS_ROOT, operation: int = 0x08) -> bytes:
    return MAGIC + b"\x01" + bytes([operation]) + digest + tree


def test_a_proof_that_reaches_the_root_of_a_given_header_is_valid() -> None:
    result = check_proof(proof(bitcoin(0)), digest=GENESIS_ROOT, headers={0: GENESIS})
    assert (result.ok, result.status, result.height) == (True, "valid", 0)
    assert result.time is not None
    assert result.time.year == 2009


def test_operations_lead_from_the_digest_to_the_attestation() -> None:
    tree = b"\xf0\x01a" + b"\xf1\x01b" + b"\x08" + bitcoin(5)
    parsed = parse_proof(proof(tree))
    assert parsed.attestations[0].message == hashlib.sha256(b"b" + GENESIS_ROOT + b"a").digest()


def test_without_the_header_a_proof_stays_unchecked() -> None:
    result = check_proof(proof(bitcoin(0)), digest=GENESIS_ROOT)
    assert (result.ok, result.status) == (False, "anchored-unchecked")


def test_a_promise_alone_is_pending() -> None:
    assert check_proof(proof(PENDING), digest=GENESIS_ROOT).status == "pending"


def test_a_proof_that_contradicts_any_given_header_is_invalid_even_if_another_claim_holds() -> None:
    tree = b"\xff" + bitcoin(0) + b"\x08" + bitcoin(0)
    result = check_proof(proof(tree), digest=GENESIS_ROOT, headers={0: GENESIS})
    assert (result.status, result.findings[0].code) == ("invalid", "ots-contradicted")


def test_a_proof_about_other_bytes_is_invalid() -> None:
    result = check_proof(proof(bitcoin(0)), digest=bytes(32), headers={0: GENESIS})
    assert result.findings[0].code == "ots-digest-mismatch"


@pytest.mark.parametrize(("operation", "length"), [(0x02, 20), (0x03, 20), (0x67, 32)])
def test_only_sha256_digests_of_files_are_accepted(operation: int, length: int) -> None:
    result = check_proof(proof(bitcoin(0), bytes(length), operation), digest=bytes(length))
    assert result.findings[0].code == "ots-weak-digest"


def test_a_header_without_its_work_makes_nothing_valid() -> None:
    forged = GENESIS[:-1] + b"\x00"
    result = check_proof(proof(bitcoin(0)), digest=GENESIS_ROOT, headers={0: forged})
    assert result.status == "invalid"


@pytest.mark.parametrize(
    ("tree", "complaint"),
    [
        (b"", "ends too early"),
        (bitcoin(0) + b"\x00", "follows its end"),
        (b"\xee", "unknown"),
        (b"\xf0\x00" + bitcoin(0), "nothing"),
        (b"\xf0\xff\xff\x7f", "longer than"),
        (b"\xf3" * 8, "grows beyond"),
        (b"\x08" * 300 + bitcoin(0), "nested deeper"),
        (b"\xff" * 2_000, "operation 0xff is unknown"),
        (attestation(BITCOIN_TAG, b"x" * 8193), "longer than"),
        (b"\x00" + BITCOIN_TAG + b"\x81\x00", "shortest form"),
        (b"\xf0" + b"\xff" * 10, "too large"),
    ],
)
def test_a_malformed_tree_is_refused_with_the_reason(tree: bytes, complaint: str) -> None:
    with pytest.raises(UnusableProofError, match=complaint):
        parse_proof(proof(tree))


def test_a_forest_of_forks_is_refused_before_it_exhausts_anything() -> None:
    with pytest.raises(UnusableProofError, match="branches"):
        parse_proof(proof((b"\xff" + b"\x08" * 250 + PENDING) * 500))


def test_a_huge_file_is_refused_unread() -> None:
    with pytest.raises(UnusableProofError, match="larger"):
        parse_proof(proof(b"\x08" * 2**20))


@pytest.mark.parametrize(
    ("payload", "height"), [(b"\x00", 0), (b"\x80\x01", 128), (b"\x00\x00", None), (b"", None), (b"\x80", None)]
)
def test_a_height_is_one_whole_number(payload: bytes, height: int | None) -> None:
    parsed = parse_proof(proof(attestation(BITCOIN_TAG, payload)))
    assert bitcoin_height(parsed.attestations[0]) == height


def test_a_message_below_a_foreign_operation_is_never_compared() -> None:
    result = check_proof(proof(b"\x67" + bitcoin(0)), digest=GENESIS_ROOT, headers={0: GENESIS})
    assert result.status == "invalid"


@given(data=st.binary(max_size=400), framed=st.booleans())
def test_no_bytes_raise_or_verify(*, data: bytes, framed: bool) -> None:
    result = check_proof(proof(data) if framed else data, digest=GENESIS_ROOT, headers={1: GENESIS})
    assert not result.ok


def test_a_real_proof_over_a_public_fact_is_valid() -> None:
    result = check_proof(facts.PROOF, digest=facts.DIGEST, headers={facts.HEIGHT: facts.HEADER})
    assert (result.ok, result.status, result.height) == (True, "valid", 170)
    assert result.time is not None
    assert result.time.isoformat() == "2009-01-12T03:30:25+00:00"


def test_every_flipped_bit_of_a_valid_proof_its_digest_and_its_header_is_refused() -> None:
    good = (facts.PROOF, facts.DIGEST, facts.HEADER)
    for part, raw in enumerate(good):
        for bit in range(8 * len(raw)):
            mutant = bytearray(raw)
            mutant[bit // 8] ^= 1 << bit % 8
            parts = [*good[:part], bytes(mutant), *good[part + 1 :]]
            assert not check_proof(parts[0], digest=parts[1], headers={facts.HEIGHT: parts[2]}).ok, (part, bit)


def test_a_valid_proof_cut_anywhere_is_refused() -> None:
    for length in range(len(facts.PROOF)):
        result = check_proof(facts.PROOF[:length], digest=facts.DIGEST, headers={facts.HEIGHT: facts.HEADER})
        assert result.status == "invalid", length


def test_a_proof_that_claims_two_contents_of_one_block_is_invalid_without_any_header() -> None:
    tree = b"\xff" + facts.PATH + facts.ATTESTATION + b"\x08" + facts.ATTESTATION
    result = check_proof(proof(tree, facts.DIGEST), digest=facts.DIGEST)
    assert (result.status, result.findings[0].code) == ("invalid", "ots-contradicted")


def test_the_same_claim_twice_is_no_contradiction() -> None:
    tree = b"\xff" + facts.PATH + facts.ATTESTATION + facts.PATH + facts.ATTESTATION
    assert check_proof(proof(tree, facts.DIGEST), digest=facts.DIGEST, headers={facts.HEIGHT: facts.HEADER}).ok


def test_the_earliest_confirmed_block_dates_a_proof_and_others_may_lack_a_header() -> None:
    tree = b"\xff" + facts.PATH + facts.ATTESTATION + b"\xff" + PENDING + b"\x08" + bitcoin(900_000)
    result = check_proof(proof(tree, facts.DIGEST), digest=facts.DIGEST, headers={facts.HEIGHT: facts.HEADER})
    assert (result.ok, result.height) == (True, 170)
    assert [finding.code for finding in result.findings] == ["ots-anchored", "ots-pending"]


def test_thousands_of_unknown_attestations_take_a_few_lines_and_little_memory() -> None:
    long_message = b"\xf0\x80\x18" + b"x" * 3072
    leaf = b"\xff\xf0\x01y\x00" + b"%08d" + b"\x00"
    tree = long_message + b"".join(leaf % number for number in range(8_000)) + PENDING
    tracemalloc.start()
    result = check_proof(proof(tree), digest=GENESIS_ROOT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.status == "pending"
    assert len(result.findings) < 20
    assert peak < 40 * 1024 * 1024


def test_a_header_file_gives_heights_and_headers() -> None:
    text = f"# the first block\n0 {GENESIS.hex()}   # mined 2009-01-03\n\n0 {GENESIS.hex()}\n"
    assert load_headers(text.encode().split(b"\n")) == {0: GENESIS}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0", "line 1 is not a height"),
        ("-1 " + GENESIS.hex(), "line 1 is not a height"),
        ("\n0 " + GENESIS.hex()[:-2], "line 2: a block header has 80 bytes"),
        ("0 zz", "line 1 is not a height"),
        (f"0 {GENESIS.hex()}\n0 {GENESIS.hex()[:-2]}00", "line 2: block 0 is listed twice"),
        ("0 " + GENESIS.hex()[:-2] + "00", "lacks the proof of work"),
        ("200000 " + GENESIS.hex(), "far below"),
        ("900000 " + GENESIS.hex(), "far below"),
        (f"0 {GENESIS.hex()}\n1 {facts.HEADER.hex()}", "block 1 does not follow"),
        (f"1 {facts.HEADER.hex()}\n0 {GENESIS.hex()}", "block 1 does not follow"),
        ("#" + "x" * 5000, "too long"),
        ("0 " + GENESIS[:72].hex() + "ffffff20" + GENESIS[76:].hex(), "impossible difficulty"),
        ("0 " + GENESIS[:72].hex() + "00000000" + GENESIS[76:].hex(), "impossible difficulty"),
        ("0 " + "é" * 80, "line 1 is not a height"),
    ],
)
def test_a_header_file_is_refused_with_the_line_at_fault(text: str, complaint: str) -> None:
    with pytest.raises(UnusableHeadersError, match=complaint):
        load_headers(text.encode().split(b"\n"))


@given(st.binary(max_size=300))
def test_no_header_file_crashes_the_reader(data: bytes) -> None:
    with contextlib.suppress(UnusableHeadersError):
        load_headers(data.split(b"\n"))


def cases(corpus: Path) -> list[dict[str, Any]]:
    manifest = json.loads((corpus / "timestamps" / "manifest.json").read_bytes())
    return [case for case in manifest["cases"] if case["kind"] == "ots"]


def test_every_real_proof_ends_as_its_manifest_says(corpus: Path) -> None:
    folder = corpus / "timestamps"
    for case in cases(corpus):
        if "data" in case:
            digest = hashlib.sha256((folder / case["data"]).read_bytes()).digest()
        else:
            digest = bytes.fromhex(case.get("digest", "00" * 32))
        result = check_proof((folder / case["proof"]).read_bytes(), digest=digest)
        expected = case["expect"] == "VERIFY" or case["id"] == "ots-bad-stamp"
        assert (result.status == "anchored-unchecked") == expected, case["id"]
        assert not result.ok
        promised = {claim["type"] for claim in case.get("attestations", ())} == {"pending"}
        if not expected and promised and case["hash_algorithm"] == "sha256" and case["digest_matches_data"]:
            assert result.status == "pending", case["id"]


def test_every_real_proof_leads_to_the_roots_of_its_manifest(corpus: Path) -> None:
    for case in cases(corpus):
        claims = {
            (claim["height"], claim["merkle_root_rpc_order"])
            for claim in case.get("attestations", ())
            if claim["type"] == "bitcoin"
        }
        if case["ots_client"]["structure"] != "parses":
            continue
        parsed = parse_proof((corpus / "timestamps" / case["proof"]).read_bytes())
        assert claims == {
            (bitcoin_height(leaf), leaf.message[::-1].hex())
            for leaf in parsed.attestations
            if leaf.tag == BITCOIN_TAG and leaf.message is not None
        }, case["id"]
