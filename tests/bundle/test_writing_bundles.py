import asyncio
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from ledger.bundle import write_bundle, writer
from ledger.errors import LedgerError, Reason
from ledger.store import LedgerStore
from ledger.store.values import Evidence, NewEvent
from ledger.timestamps import rfc3339
from tests.bundle.conftest import anchor
from tests.bundle.opened import Ledger
from verifier.policy import TrustPolicy
from verifier.verify import verify_bundle

SEALED = NewEvent(kind="person.seen", payload='{"name":"Ánn","door":1}'.encode(), sealed_members=("name", "door"))


async def exported(store: LedgerStore, chain_id: str = "gate", *, disclosures: bool = False) -> bytes:
    target = io.BytesIO()
    await write_bundle(store, "acme", chain_id, include_disclosures=disclosures, target=target)
    return target.getvalue()


def files_of(bundle: bytes, chain_id: str = "gate") -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name.removeprefix(f"{chain_id}/"): archive.read(name) for name in archive.namelist()}


def evidence_of(bundle: bytes) -> list[bytes]:
    return sorted(data for name, data in files_of(bundle).items() if "/evidence/" in name)


def shell(command: str, folder: Path) -> str:
    return subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False).stdout


async def sealed_chain(ledger: Ledger, events: int = 3) -> None:
    await ledger.store.open_chain("acme", "gate", b'{"case":"A-17"}')
    await ledger.store.append_events("acme", "gate", [SEALED] * events, "one")
    await ledger.store.checkpoint_chain("acme", "gate")
    await ledger.store.close_chain("acme", "gate")


async def test_a_bundle_holds_exactly_the_files_of_the_format(ledger: Ledger) -> None:
    await sealed_chain(ledger)
    certificate = Evidence(kind="certificate", der=b"a certificate")
    await anchor(ledger.store, "one", evidence=(certificate, Evidence(kind="crl", der=b"a list")))
    await anchor(ledger.store, "two", evidence=(certificate, Evidence(kind="ocsp", der=b"an answer")))
    files = files_of(await exported(ledger.store, disclosures=True))
    assert sorted(files) == sorted(
        [
            "bag-info.txt",
            "bagit.txt",
            "manifest-sha256.txt",
            "tagmanifest-sha256.txt",
            "data/README.txt",
            "data/bundle.json",
            "data/disclosures.jsonl",
            "data/events.jsonl",
            f"data/evidence/certificates/{hashlib.sha256(b'a certificate').hexdigest()}.der",
            f"data/evidence/crls/{hashlib.sha256(b'a list').hexdigest()}.crl",
            f"data/evidence/ocsp/{hashlib.sha256(b'an answer').hexdigest()}.ocsp",
            *(
                f"data/anchors/{sequence}-rfc3161-{authority}.{suffix}"
                for sequence in (5, 6)
                for authority in ("one", "two")
                for suffix in ("tsq", "tsr")
            ),
        ]
    )
    manifest = dict(line.split("  ")[::-1] for line in files["manifest-sha256.txt"].decode().splitlines())
    assert manifest == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name.startswith("data/")
    }


async def test_the_bundle_of_an_ended_session_has_the_anchors_of_its_end_and_of_its_closing(ledger: Ledger) -> None:
    store = ledger.store
    await store.open_chain("acme", "gate", b"{}")
    about = b'{"clip_id":"c1"}'
    await store.append_events("acme", "gate", [NewEvent(kind="clip.requested", payload=about)], "one")
    await store.end_session("acme", "gate")
    await anchor(store, "one")
    waiting = files_of(bundle := await exported(store))
    assert "it waits for:\n   clip c1." in waiting["data/README.txt"].decode()
    report = verify_bundle(io.BytesIO(bundle), policy=TrustPolicy())
    assert [(token.sequence, token.authority, token.covers) for token in report.tokens] == [
        (4, "one", "session"),
        (4, "two", "session"),
    ]
    await store.append_events("acme", "gate", [NewEvent(kind="clip.preserved", payload=about)], "two")
    await anchor(store, "one")
    await anchor(store, "two")
    report = verify_bundle(io.BytesIO(bundle := await exported(store)), policy=TrustPolicy())
    assert (report.chain_ok, report.closed, report.unfinished) == (True, True, ())
    assert [(token.sequence, token.covers) for token in report.tokens] == [
        (4, "session"),
        (4, "session"),
        (6, "chain"),
        (6, "chain"),
    ]
    readme = files_of(bundle)["data/README.txt"].decode()
    assert "event 4 cover the session: events 1 to 3" in readme
    assert "The anchors of event 6, which closed the chain" in readme


async def test_events_are_written_exactly_as_they_were_hashed(ledger: Ledger) -> None:
    await sealed_chain(ledger)
    lines = files_of(await exported(ledger.store))["data/events.jsonl"].decode().split("\n")
    assert lines.pop() == ""
    stored = await ledger.store.list_events("acme", "gate", from_sequence=1, limit=10)
    for line, event in zip(lines, stored, strict=True):
        assert f'"payload":{event.payload},"prev_hash":"{event.prev_hash.hex()}"' in line
        assert json.loads(line)["hash"] == event.hash.hex()


async def test_the_same_chain_gives_the_same_bytes_in_every_process(ledger: Ledger) -> None:
    await sealed_chain(ledger)
    await anchor(ledger.store, "one", evidence=(Evidence(kind="crl", der=b"list"),))
    first = await exported(ledger.store)
    await asyncio.sleep(0.01)
    assert await exported(ledger.store) == first
    script = """if True:
        import asyncio, sys
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from ledger.bundle import write_bundle
        from ledger.chain.receipt import ReceiptSigner
        from ledger.store import LedgerStore
        async def main():
            signer = ReceiptSigner(key=Ed25519PrivateKey.generate(), name="other")
            runtime, append, worker = sys.argv[2:]
            store = await LedgerStore.open(
                runtime_dsn=runtime, append_dsn=append, worker_dsn=worker, signer=signer, anchor_targets=[]
            )
            with open(sys.argv[1], "wb") as target:
                await write_bundle(store, "acme", "gate", include_disclosures=False, target=target)
            await store.close()
        asyncio.run(main())
    """
    database = ledger.database
    with tempfile.NamedTemporaryFile() as target:
        dsns = (database.runtime_dsn, database.append_dsn, database.worker_dsn)
        environment = {**os.environ, "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "7", "LC_ALL": "C"}
        await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", script, target.name, *dsns], check=True, env=environment
        )
        assert target.read() == first


async def test_a_bundle_is_dated_by_the_newest_thing_in_it(ledger: Ledger) -> None:
    await sealed_chain(ledger)
    before = json.loads(files_of(await exported(ledger.store))["data/bundle.json"])
    last = (await ledger.store.list_events("acme", "gate", from_sequence=6, limit=1))[0]
    assert (
        json.loads(files_of(await exported(ledger.store))["data/events.jsonl"].splitlines()[-1])["occurred_at"]
        == (before["exported_at"])
    )
    assert before["head"] == last.hash.hex()
    await anchor(ledger.store, "two")
    after = json.loads(files_of(await exported(ledger.store))["data/bundle.json"])
    newest = max(stored.obtained_at for stored in await ledger.store.stored_anchors("acme", "gate"))
    assert after["exported_at"] == rfc3339(newest) > before["exported_at"]


async def test_what_was_asked_for_and_not_obtained_is_named(ledger: Ledger) -> None:
    await sealed_chain(ledger)
    await anchor(ledger.store, "two")
    statement = json.loads(files_of(await exported(ledger.store))["data/bundle.json"])
    assert statement["pending"] == [
        {"authority": "one", "backend": "rfc3161", "sequence": 5},
        {"authority": "one", "backend": "rfc3161", "sequence": 6},
    ]
    assert [(entry["sequence"], entry["authority"]) for entry in statement["anchors"]] == [(5, "two"), (6, "two")]


async def test_what_sealed_members_say_leaves_only_when_asked_for(ledger: Ledger) -> None:
    await sealed_chain(ledger)
    discreet = await exported(ledger.store)
    assert "data/disclosures.jsonl" not in files_of(discreet)
    assert "Ánn".encode() not in discreet
    lines = [json.loads(line) for line in files_of(await exported(ledger.store, disclosures=True))[
        "data/disclosures.jsonl"
    ].splitlines()]  # fmt: skip
    assert [line["sequence"] for line in lines] == [2, 2, 3, 3, 4, 4]
    keys = [(line["sequence"], line["disclosure"]) for line in lines]
    assert keys == sorted(set(keys))


async def test_asking_for_disclosures_of_a_chain_without_any_adds_no_file(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    assert await exported(store, disclosures=True) == await exported(store)


async def test_a_snapshot_does_not_see_what_is_committed_meanwhile(ledger: Ledger) -> None:
    await sealed_chain(ledger)
    async with ledger.store.snapshot("acme", "gate") as snapshot:
        await anchor(ledger.store, "one")
        await anchor(ledger.store, "two")
        assert [found async for found in snapshot.anchors()] == []
        assert len(await snapshot.pending()) == 4


async def test_a_growing_chain_is_exported_as_it_stood(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")

    async def grow() -> None:
        for number in range(100):
            await store.append_events("acme", "gate", [NewEvent(kind="door.opened", payload=b"{}")], f"{number}")

    growing = asyncio.create_task(grow())
    for _ in range(5):
        files = files_of(await exported(store))
        statement = json.loads(files["data/bundle.json"])
        lines = files["data/events.jsonl"].splitlines()
        assert len(lines) == statement["event_count"]
        assert json.loads(lines[-1])["hash"] == statement["head"]
    await growing


async def test_the_operations_chain_can_be_exported_too(ledger: Ledger) -> None:
    await sealed_chain(ledger)
    files = files_of(await exported(ledger.store, "operations"), "operations")
    kinds = [json.loads(line)["kind"] for line in files["data/events.jsonl"].splitlines()]
    assert kinds == ["chain.opened", "ledger.chain_opened", "ledger.chain_closed"]


async def test_memory_does_not_grow_with_the_chain(store: LedgerStore) -> None:
    await store.open_chain("acme", "gate", b"{}")
    payload = json.dumps({"pad": "x" * 200_000}).encode()
    for number in range(10):
        await store.append_events("acme", "gate", [NewEvent(kind="door.opened", payload=payload)] * 10, f"{number}")
    with tempfile.TemporaryFile() as target:
        tracemalloc.start()
        try:
            await write_bundle(store, "acme", "gate", include_disclosures=False, target=target)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert target.seek(0, io.SEEK_END) > 20_000_000
    assert peak < 9_000_000


async def test_nothing_is_left_on_disk(store: LedgerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    await store.open_chain("acme", "gate", b"{}")
    await exported(store)
    with pytest.raises(LedgerError):
        await exported(store, "absent")
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - nothing else runs in this test


async def test_a_chain_that_does_not_exist_is_refused_before_anything_is_written(store: LedgerStore) -> None:
    target = io.BytesIO()
    with pytest.raises(LedgerError) as refused:
        await write_bundle(store, "acme", "absent", include_disclosures=False, target=target)
    assert refused.value.reason == Reason.CHAIN_NOT_FOUND
    assert target.getvalue() == b""


async def test_a_target_that_cannot_seek_is_refused(store: LedgerStore) -> None:
    read_end, write_end = os.pipe()
    with open(read_end, "rb"), open(write_end, "wb") as target, pytest.raises(ValueError, match="seekable"):  # noqa: PTH123, ASYNC230 - a pipe has no path
        await write_bundle(store, "acme", "gate", include_disclosures=False, target=target)


async def test_a_bundle_keeps_the_newest_anchors_when_there_are_too_many(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sealed_chain(ledger)
    await anchor(ledger.store, "one", evidence=(Evidence(kind="crl", der=b"list"),))
    await anchor(ledger.store, "two")
    monkeypatch.setattr(writer, "MAX_ANCHORS", 3)
    files = files_of(await exported(ledger.store))
    statement = json.loads(files["data/bundle.json"])
    assert [(entry["sequence"], entry["authority"]) for entry in statement["anchors"]] == [(6, "one"), (6, "two")]
    assert b"Anchors of event 5 and before were left out" in files["data/README.txt"]


async def test_of_too_much_evidence_certificates_and_the_newest_lists_are_kept(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ledger.store
    await store.open_chain("acme", "gate", b"{}")
    for number in range(25):
        await store.append_events("acme", "gate", [SEALED], f"{number}")
        await store.checkpoint_chain("acme", "gate")
        revocation = Evidence(kind="crl" if number % 2 else "ocsp", der=b"%03d" % number * 100)
        certificate = Evidence(kind="certificate", der=b"certificate of year %d" % (number // 10))
        await anchor(store, "one", evidence=(certificate, revocation, Evidence(kind="crl", der=b"never changes")))
    everything = evidence_of(await exported(store))
    assert len(everything) == 3 + 25 + 1
    monkeypatch.setattr(writer, "MAX_EVIDENCE_BYTES", 3 * 21 + len("never changes") + 4 * 300 + 299)
    kept = evidence_of(await exported(store))
    lists = [b"%03d" % number * 100 for number in (21, 22, 23, 24)]
    assert kept == sorted([*(b"certificate of year %d" % year for year in range(3)), *lists, b"never changes"])
    monkeypatch.setattr(writer, "MAX_EVIDENCE_FILES", 3)
    assert evidence_of(await exported(store)) == [b"certificate of year %d" % year for year in range(3)]


async def test_a_single_giant_list_does_not_displace_the_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sealed_chain(ledger)
    giant, small = Evidence(kind="crl", der=b"g" * 600), Evidence(kind="crl", der=b"s" * 100)
    await anchor(ledger.store, "one", evidence=(giant, small))
    monkeypatch.setattr(writer, "MAX_EVIDENCE_FILE_BYTES", 500)
    assert evidence_of(await exported(ledger.store)) == [b"s" * 100]


@pytest.mark.skipif(
    shutil.which("sha256sum") is None or shutil.which("openssl") is None,
    reason="sha256sum or openssl is not installed",
)
async def test_the_steps_of_the_readme_work_as_written(ledger: Ledger, tmp_path: Path) -> None:
    await sealed_chain(ledger)
    bundle = await exported(ledger.store, disclosures=True)
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "gate"
    readme = (folder / "data/README.txt").read_text(encoding="utf-8")
    checked = subprocess.run(  # noqa: ASYNC221 - nothing else runs in this test
        "sha256sum -c tagmanifest-sha256.txt manifest-sha256.txt",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sha256sum -c tagmanifest-sha256.txt manifest-sha256.txt" in readme
    assert checked.stdout.count(": OK") == 3 + 4
    program = readme[readme.index("import hashlib") : readme.index("   The head and the number of events")]
    rehash = [sys.executable, "-c", program]
    checked = subprocess.run(rehash, cwd=folder, capture_output=True, text=True, check=True)  # noqa: ASYNC221 - as above
    head = json.loads((folder / "data/bundle.json").read_text())["head"]
    assert checked.stdout == f"6 events, head {head}\n"
    events = folder / "data/events.jsonl"
    line = json.loads((folder / "data/disclosures.jsonl").read_text().splitlines()[0])
    digest = "| openssl dgst -sha256 -binary | base64 | tr '+/' '-_' | tr -d '='"
    reading = "| tr '_-' '/+' | base64 -d"
    assert f"printf %s D {digest}\n" in readme
    assert f"printf %s D {reading}\n" in readme
    said = [shell(f"printf %s {line['disclosure']} {step}", folder) for step in (digest, reading)]
    assert said[0].strip() in events.read_text().splitlines()[line["sequence"] - 1]
    assert json.loads(said[1])[1] in {"name", "door"}
    events.write_bytes(events.read_bytes().replace(b'"_sd_alg"', b'"_sd_alx"', 1))
    broken = subprocess.run(rehash, cwd=folder, capture_output=True, text=True, check=False)  # noqa: ASYNC221 - as above
    assert "event 2 was changed" in broken.stderr
