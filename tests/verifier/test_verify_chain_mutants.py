"""Mutants of the chain, each caught by exactly the check meant for it."""

import io
import tracemalloc
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.verifier.bundle_forge import (
    STARTED,
    Chain,
    Files,
    data_files,
    sealed,
    short_session,
    zipped,
)
from tests.verifier.mutating import errors, rename, session, verify
from verifier.policy import TrustPolicy
from verifier.verify import verify_bundle

WRONG_CHAINS: dict[str, tuple[Callable[[], Chain], str, int]] = {
    "an edited payload": (lambda: rename(short_session(), b"north", b"south", 1), "event-hash", 2),
    "an edited kind": (lambda: rename(short_session(), b"door.opened", b"door.closed", 1), "event-hash", 2),
    "an edited time": (lambda: rename(short_session(), b":06.0", b":06.1", 1), "event-hash", 2),
    "another hash": (lambda: session(lambda c: c.add("a.b", {}, hash=bytes(32))), "event-hash", 3),
    "a link to nowhere": (lambda: session(lambda c: c.add("a.b", {}, prev_hash=bytes(32))), "event-prev-hash", 3),
    "a first event with a predecessor": (
        lambda: Chain().add("chain.opened", Chain().opening(), prev_hash=b"\x01" * 32),
        "event-prev-hash",
        1,
    ),
    "a gap in the sequence": (lambda: session(lambda c: c.add("a.b", {}, sequence=4)), "event-sequence", 3),
    "a repeated sequence": (lambda: session(lambda c: c.add("a.b", {}, sequence=2)), "event-sequence", 3),
    "time going back": (
        lambda: session(lambda c: c.add("a.b", {}, moment=STARTED - timedelta(microseconds=1))),
        "event-time-order",
        3,
    ),
    "no opening": (lambda: Chain().add("door.opened", {}), "chain-genesis", 1),
    "a second opening": (lambda: session(lambda c: c.open()), "chain-genesis", 3),
    "an opening of another format": (lambda: Chain().open(format="indelible-chain/2"), "chain-genesis", 1),
    "an opening of another type": (lambda: Chain().open(chain_type="diary"), "chain-genesis", 1),
    "an opening without a subject": (lambda: Chain().open(subject=None), "chain-genesis", 1),
    "an opening with a bad chain id": (lambda: Chain().open(chain_id="../x"), "chain-genesis", 1),
    "an opening of another chain": (lambda: Chain().open(chain_id="demo-2"), "chain-identity", 1),
    "an opening of another organisation": (
        lambda: Chain().open(organisation={"id": "acme", "name": "Acne Security"}),
        "chain-identity",
        1,
    ),
    "an unknown reserved kind": (lambda: session(lambda c: c.add("chain.reopened", {})), "chain-reserved-kind", 3),
    "an operations log that is closed": (
        lambda: Chain(chain_type="operations").open().close(),
        "chain-reserved-kind",
        2,
    ),
    "an event after the closing": (
        lambda: session(lambda c: c.close().add("a.b", {})),
        "chain-after-close",
        4,
    ),
    "a wrong tree size": (lambda: session(lambda c: c.close(tree_size=1)), "checkpoint-tree-size", 3),
    "a tree size that is no number": (lambda: session(lambda c: c.close(tree_size=True)), "checkpoint-tree-size", 3),
    "a wrong root": (lambda: session(lambda c: c.close(merkle_root="00" * 32)), "checkpoint-merkle-root", 3),
    "a root that is no digest": (
        lambda: session(lambda c: c.close(merkle_root="AB" * 32)),
        "checkpoint-merkle-root",
        3,
    ),
    "a wrong root before more events": (
        lambda: session(lambda c: c.checkpoint(merkle_root="00" * 32).add("a.b", {}).close()),
        "checkpoint-merkle-root",
        3,
    ),
    "a payload with white space": (
        lambda: session(lambda c: c.add("a.b", b'{"n": 1}')),
        "event-not-canonical",
        3,
    ),
    "a payload out of order": (
        lambda: session(lambda c: c.add("a.b", b'{"n":1,"m":2}')),
        "event-not-canonical",
        3,
    ),
    "a payload with a name twice": (
        lambda: session(lambda c: c.add("a.b", b'{"n":1,"n":1}')),
        "event-not-canonical",
        3,
    ),
    "a payload that is no object": (lambda: session(lambda c: c.add("a.b", b"[1]")), "event-malformed", 3),
    "a payload of too many levels": (
        lambda: session(lambda c: c.add("a.b", b'{"n":' + b"[" * 32 + b"]" * 32 + b"}")),
        "event-not-canonical",
        3,
    ),
    "a payload that is too long": (
        lambda: session(lambda c: c.add("a.b", {"n": "x" * (256 * 1024 - 7)})),
        "event-too-long",
        3,
    ),
    "a line that is far too long": (
        lambda: session(lambda c: c.add("a.b", {"n": "x" * 1_000_000})),
        "event-too-long",
        3,
    ),
    "a kind of one word": (lambda: session(lambda c: c.add("opened", {})), "event-malformed", 3),
    "a kind that is too long": (lambda: session(lambda c: c.add("a." + "b" * 63, {})), "event-malformed", 3),
    "a hash in capitals": (
        lambda: rename(short_session(), *((one := short_session().hashes[1].hex()).encode(), one.upper().encode()), 1),
        "event-malformed",
        2,
    ),
    "a leap second": (lambda: rename(short_session(), b":05.0", b":60.0", 0), "event-malformed", 1),
    "a thirtieth of February": (lambda: rename(short_session(), b"-01-02T", b"-02-30T", 0), "event-malformed", 1),
    "a further member": (lambda: rename(short_session(), b'{"hash"', b'{"a":1,"hash"', 1), "event-malformed", 2),
    "a blank line": (lambda: rename(short_session(), b'{"hash"', b'\n{"hash"', 1), "event-not-canonical", 2),
    "a carriage return": (lambda: rename(short_session(), b":2}", b":2}\r", 1), "event-not-canonical", 2),
}


@pytest.mark.parametrize("name", WRONG_CHAINS)
def test_a_chain_with_one_fault_fails_by_the_check_for_it_at_the_event_at_fault(name: str) -> None:
    make, code, sequence = WRONG_CHAINS[name]
    report = verify(sealed(data_files(make())))
    assert report.verdict == "FAILED"
    assert errors(report) == {code}
    assert report.first_divergent_sequence == sequence
    assert report.intact_events == sequence - 1
    failed = [check.name for check in report.checks if check.ok is False]
    assert len(failed) == 1


def test_a_chain_that_begins_at_2_fails_at_its_first_event() -> None:
    report = verify(sealed(data_files(Chain().add("chain.opened", Chain().opening(), sequence=2))))
    assert errors(report) == {"event-sequence", "chain-genesis"}
    assert report.first_divergent_sequence == 1


@pytest.mark.parametrize(("size", "code"), [(256 * 1024, None), (256 * 1024 + 1, "event-too-long")])
def test_the_limit_of_a_payload_is_exact(size: int, code: str | None) -> None:
    chain = session(lambda c: c.add("a.b", {"n": "x" * (size - len('{"n":""}'))}))
    assert errors(verify(sealed(data_files(chain)))) == ({code} if code else set())


def test_a_last_line_without_its_end_fails() -> None:
    files = data_files(short_session())
    files["data/events.jsonl"] = files["data/events.jsonl"][:-1]
    report = verify(sealed(files))
    assert errors(report) == {"event-malformed"}
    assert report.first_divergent_sequence == 4


def test_a_chain_cut_at_its_end_fails_by_its_count() -> None:
    files = data_files(short_session())
    files["data/events.jsonl"] = b"".join(files["data/events.jsonl"].splitlines(keepends=True)[:-1])
    report = verify(sealed(files))
    assert "chain-event-count" in errors(report)
    assert report.first_divergent_sequence == 4


def test_a_bundle_without_any_event_fails() -> None:
    files = data_files(short_session()) | {"data/events.jsonl": b""}
    assert {"chain-empty", "chain-event-count"} <= errors(verify(sealed(files)))


def test_a_consistently_shortened_bundle_fails_only_by_what_the_auditor_knows() -> None:
    whole = short_session()
    short = Chain().open()
    report = verify(sealed(data_files(short)))
    assert errors(report) == set()
    assert errors(verify(sealed(data_files(short)), expected_count=4)) == {"chain-expected-count"}
    assert errors(verify(sealed(data_files(short)), expected_head=whole.hashes[-1])) == {"chain-expected-head"}


def test_a_chain_that_grew_since_still_satisfies_the_auditor_who_kept_an_old_head() -> None:
    whole = short_session()
    for known in whole.hashes:
        assert errors(verify(sealed(data_files(whole)), expected_head=known)) == set()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest-sha256.txt", b"\n" * 1_000_000),
        ("tagmanifest-sha256.txt", b"x\n" * 1_000_000),
        ("data/bundle.json", b"[" + b"[]," * 1_000_000 + b"[]]"),
        ("data/bundle.json", b'{"a":[' + b"{}," * 1_000_000 + b"{}]}"),
    ],
)
def test_a_file_of_a_million_faults_fails_with_bounded_findings_and_memory(
    name: str, content: bytes, good_files: Files, policy: TrustPolicy
) -> None:
    bundle = io.BytesIO(zipped({**good_files, name: content}))
    tracemalloc.start()
    try:
        report = verify_bundle(bundle, policy=policy)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.verdict == "FAILED"
    assert len(report.findings) < 300
    assert peak < 50_000_000
