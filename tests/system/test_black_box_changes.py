"""One bundle with something of everything, and every single change of it, also with manifests or a chain made anew."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rfc8785

from ledger.chain.event import event_hash
from ledger.chain.merkle import merkle_root
from ledger.client import NewEvent
from tests.system.black_box import Ground, changes, pack, unpack, with_new_manifests
from verifier.bundle import UnusableBundle


@pytest.fixture(scope="module")
def files(ground: Ground) -> dict[str, bytes]:
    """The files of one bundle with something of everything in it."""
    story: list[list[NewEvent] | None] = [
        [
            NewEvent(kind="person.seen", payload=b'{"name":"Ann","door":{"side":"left","open":true}}'),
            NewEvent(kind="person.seen", payload=b'{"name":"Bob","at":1.5}', sealed_members=("name",)),
        ],
        None,
        [NewEvent(kind="note.taken", payload='{"text":"é 😀 ☃","list":[1,null,"x"]}'.encode())],
    ]
    ground.live("specimen", story, closes=True)
    bundle = ground.bundle_of("specimen", disclosures=True)
    assert ground.judge(bundle).verdict == "VERIFIED"
    return unpack(bundle)


def test_the_specimen_survives_being_packed_again(ground: Ground, files: dict[str, bytes]) -> None:
    # Otherwise the tests below would see their own packing refused, whatever they changed.
    assert ground.judge(pack(files)).verdict == "VERIFIED"
    assert ground.judge(pack(with_new_manifests(files))).verdict == "VERIFIED"


def test_every_changed_field_of_every_event_is_found_where_it_is(ground: Ground, files: dict[str, bytes]) -> None:
    lines = files["data/events.jsonl"].splitlines(keepends=True)
    tried = 0
    for number, line in enumerate(lines):
        for path, changed in changes(json.loads(line)):
            tried += 1
            altered = [*lines[:number], rfc8785.dumps(changed) + b"\n", *lines[number + 1 :]]
            damaged = files | {"data/events.jsonl": b"".join(altered)}
            report = ground.judge(pack(with_new_manifests(damaged)))
            assert report.verdict == "FAILED", f"event {number + 1}, {path}"
            assert report.first_divergent_sequence == number + 1, f"event {number + 1}, {path}"
    assert tried > 100


def test_every_missing_swapped_or_repeated_event_is_found(ground: Ground, files: dict[str, bytes]) -> None:
    lines = files["data/events.jsonl"].splitlines(keepends=True)
    for number in range(len(lines)):
        for altered in (
            lines[:number] + lines[number + 1 :],
            lines[: number + 1] + lines[number:],
            lines[:number] + lines[number + 1 : number + 2] + lines[number : number + 1] + lines[number + 2 :],
        ):
            if altered != lines:
                damaged = with_new_manifests(files | {"data/events.jsonl": b"".join(altered)})
                assert ground.judge(pack(damaged)).verdict == "FAILED", f"around event {number + 1}"


def test_every_changed_field_of_the_statement_is_rejected(ground: Ground, files: dict[str, bytes]) -> None:
    statement = json.loads(files["data/bundle.json"])
    assert len(statement["anchors"]) == 4
    for path, changed in changes(statement):
        damaged = files | {"data/bundle.json": rfc8785.dumps(changed)}
        assert _verdict(ground, damaged) != "VERIFIED", path
        if path.startswith("_alter") and path.endswith("/obtained_at"):
            # What only the ledger says and nobody signs: the digest in the manifest alone protects it.
            continue
        try:
            report = ground.judge(pack(with_new_manifests(damaged)))
        except UnusableBundle:
            continue
        # An older checkpoint's token that fails beside newer good ones is reported, and changes no verdict.
        of_an_anchor = "anchors/" in path
        assert report.verdict != "VERIFIED" or (of_an_anchor and not all(token.ok for token in report.tokens)), path


def test_every_changed_anchor_file_is_rejected(ground: Ground, files: dict[str, bytes]) -> None:
    anchors = sorted(path for path in files if path.startswith("data/anchors/"))
    assert len(anchors) == 8
    # The newest checkpoint covers everything; the older one's tokens are judged as well but may fail beside it.
    newest = max(int(path.split("/")[2].split("-")[0]) for path in anchors)
    for path in anchors:
        data = files[path]
        step = max(1, len(data) // 12)
        for position in range(0, len(data), step):
            altered = data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]
            damaged = files | {path: altered}
            assert _verdict(ground, damaged) != "VERIFIED", f"{path} at {position}"
            report = ground.judge(pack(with_new_manifests(damaged)))
            authority = path.rsplit(".", 1)[0].split("rfc3161-")[1]
            token = next(
                t for t in report.tokens if t.authority == authority and path.split("/")[2].startswith(f"{t.sequence}-")
            )
            if token.sequence == newest and token.ok:
                pytest.fail(f"{path} at {position}: a changed byte that nothing protects")


def test_changes_with_the_old_manifests_are_rejected_by_the_separate_process(
    ground: Ground, files: dict[str, bytes]
) -> None:
    for path in ("data/events.jsonl", "data/bundle.json", "data/README.txt", "data/disclosures.jsonl"):
        data = files[path]
        altered = data[:40] + bytes([data[40] ^ 1]) + data[41:]
        exit_code, report = ground.judge_apart(pack(files | {path: altered}))
        assert (exit_code, report["verdict"]) == (1, "FAILED"), path


def test_a_history_written_anew_with_every_hash_right_is_rejected(ground: Ground, files: dict[str, bytes]) -> None:
    events = [json.loads(line) for line in files["data/events.jsonl"].splitlines()]
    events[1]["payload"]["name"] = "Eve"
    rewritten = _rehash(events)
    statement = json.loads(files["data/bundle.json"])
    statement["head"] = rewritten[-1]["hash"]
    lines = b"".join(rfc8785.dumps(event) + b"\n" for event in rewritten)
    for forged_digests in (False, True):
        if forged_digests:
            for entry in statement["anchors"]:
                entry["digest"] = rewritten[entry["sequence"] - 1]["hash"]
        forged = files | {"data/events.jsonl": lines, "data/bundle.json": rfc8785.dumps(statement)}
        report = ground.judge(pack(with_new_manifests(forged)))
        assert report.verdict == "FAILED"
        assert not any(token.ok for token in report.tokens)
        assert report.chain_ok is True, "the chain itself is perfect: only the anchors tell"


def test_disclosures_that_do_not_belong_are_rejected(ground: Ground, files: dict[str, bytes]) -> None:
    line = json.loads(files["data/disclosures.jsonl"])
    for path, changed in changes(line):
        damaged = with_new_manifests(files | {"data/disclosures.jsonl": rfc8785.dumps(changed) + b"\n"})
        assert _verdict(ground, damaged) == "FAILED", path


def _verdict(ground: Ground, files: dict[str, bytes]) -> str:
    try:
        return ground.judge(pack(files)).verdict
    except UnusableBundle:
        return "UNUSABLE"


def _rehash(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The chain with every root and hash computed again, as a forger with all our code would."""
    rewritten: list[dict[str, Any]] = []
    hashes: list[bytes] = []
    for event in deepcopy(events):
        if event["kind"] in {"chain.checkpointed", "chain.closed"}:
            event["payload"]["merkle_root"] = merkle_root(hashes).hex()
        event["prev_hash"] = (hashes[-1] if hashes else bytes(32)).hex()
        digest = event_hash(
            sequence=event["sequence"],
            prev_hash=bytes.fromhex(event["prev_hash"]),
            kind=event["kind"].encode(),
            payload=rfc8785.dumps(event["payload"]),
            occurred_at_us=_microseconds(event["occurred_at"]),
        )
        hashes.append(digest)
        rewritten.append(event | {"hash": digest.hex()})
    return rewritten


def _microseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
