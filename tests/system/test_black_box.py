"""The two halves of the product share no code; here one writes and the other judges.

Random histories go through the real store and real authorities into bundles. The verifier must accept each of them, as
a separate process, and must reject it after any single change: also when whoever made the change computed the
manifests, or the whole chain, anew.
"""

import asyncio
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ledger.anchoring.authorities import load_authorities
from ledger.anchoring.metrics import AnchoringMetrics
from ledger.anchoring.port import BackendSource
from ledger.anchoring.worker import AnchoringWorker
from ledger.bundle import write_bundle
from ledger.chain.event import event_hash
from ledger.chain.merkle import merkle_root
from ledger.store import LedgerStore
from ledger.store.values import NewEvent
from sandbox.authorities import Authorities
from sandbox.database import Database
from tests.bundle.opened import ORGANISATION, open_ledger
from verifier.bundle import UnusableBundle
from verifier.policy import TrustPolicy, load_policy
from verifier.report import Report
from verifier.verify import verify_bundle

HISTORIES = 10
PATIENCE_SECONDS = 60.0

# Everything that I-JSON allows: any character but U+0000 and surrogates, doubles, deep nesting.
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_NAMES = _TEXT.filter(lambda name: name not in {"_sd", "_sd_alg", "..."})
_DOUBLES = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not number.is_integer() or abs(number) <= 2**53 - 1 or abs(number) >= 1e21
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _DOUBLES | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=10,
)
_PAYLOADS = st.dictionaries(_NAMES, _VALUES, max_size=4)
_KINDS = st.from_regex(r"[a-z][a-z0-9_]{0,10}(\.[a-z][a-z0-9_]{0,10}){1,2}", fullmatch=True).filter(
    lambda kind: not kind.startswith(("chain.", "ledger."))
)


@st.composite
def _new_events(draw: st.DrawFn) -> NewEvent:
    payload = draw(_PAYLOADS)
    sealed = draw(st.lists(st.sampled_from(sorted(payload)), unique=True, max_size=2)) if payload else []
    spelled = json.dumps(payload, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    return NewEvent(kind=draw(_KINDS), payload=spelled.encode(), sealed_members=tuple(sealed))


# A list is one append; None is a checkpoint.
_HISTORIES = st.lists(st.none() | st.lists(_new_events(), min_size=1, max_size=4), max_size=5)


@dataclass(frozen=True, kw_only=True, repr=False)
class Ground:
    """A running ledger with a worker that anchors at two authorities, and an auditor who trusts both."""

    store: LedgerStore
    runner: asyncio.Runner
    trust: Path
    policy: TrustPolicy

    def bundle_of(self, chain_id: str, *, disclosures: bool) -> bytes:
        """The bundle once every anchor was obtained."""
        return self.runner.run(self._bundle(chain_id, disclosures=disclosures))

    async def _bundle(self, chain_id: str, *, disclosures: bool) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(  # noqa: ASYNC110 - the worker that obtains them has no event to wait for
                status.state == "pending"
                for status in await self.store.list_anchors(ORGANISATION, chain_id, limit=1_000, after=None)
            ):
                await asyncio.sleep(0.05)
        target = io.BytesIO()
        await write_bundle(self.store, ORGANISATION, chain_id, include_disclosures=disclosures, target=target)
        return target.getvalue()

    def judge(self, bundle: bytes) -> Report:
        """The verdict of the verifier, in this process."""
        return verify_bundle(io.BytesIO(bundle), policy=self.policy, workers=1)

    def judge_apart(self, bundle: bytes, path: Path) -> tuple[int, dict[str, Any]]:
        """Exit code and report of the verifier as an auditor runs it."""
        path.write_bytes(bundle)
        program = str(Path(sys.executable).with_name("indelible-verify"))
        command = [program, "bundle", str(path), "--trust", str(self.trust), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode in {0, 1, 3}, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def ground(
    module_database: Database, authorities: Authorities, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("black-box")
    trust = folder / "trust.toml"
    authorities.write_trust_policy(trust)
    # Both authorities must vouch, so that damage to either one's token shows in the verdict.
    tables = trust.read_text().replace('format = "indelible-trust/1"\n', "")
    trust.write_text(f'format = "indelible-trust/1"\nrequire = 2\n{tables}')
    authorities.write_configuration(folder / "authorities.toml")
    source = load_authorities(folder / "authorities.toml")
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def start() -> LedgerStore:
            ledger = await stack.enter_async_context(open_ledger(module_database, source.targets))
            await stack.enter_async_context(_anchoring(ledger.store, source))
            return ledger.store

        store = runner.run(start())
        yield Ground(store=store, runner=runner, trust=trust, policy=load_policy(trust))
        runner.run(stack.aclose())


@asynccontextmanager
async def _anchoring(store: LedgerStore, source: BackendSource) -> AsyncIterator[None]:
    stop = asyncio.Event()
    worker = AnchoringWorker(store, source, metrics=AnchoringMetrics(CollectorRegistry()))
    working = asyncio.create_task(worker.run(stop))
    yield
    stop.set()
    await working


async def _live(store: LedgerStore, chain_id: str, history: list[list[NewEvent] | None], *, closes: bool) -> None:
    await store.open_chain(ORGANISATION, chain_id, b'{"case":"A-17"}')
    for number, step in enumerate(history):
        if step is None:
            await store.checkpoint_chain(ORGANISATION, chain_id)
        else:
            await store.append_events(ORGANISATION, chain_id, step, f"step {number}")
    if closes:
        await store.close_chain(ORGANISATION, chain_id)
    else:
        await store.checkpoint_chain(ORGANISATION, chain_id)


# No shrinking: every example is a chain lived and anchored, and the report of the verifier says what it refused.
@settings(
    max_examples=HISTORIES,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(history=_HISTORIES, closes=st.booleans(), disclosures=st.booleans(), number=st.integers(0, 2**60))
def test_every_history_is_accepted(
    ground: Ground,
    tmp_path_factory: pytest.TempPathFactory,
    history: list[list[NewEvent] | None],
    *,
    closes: bool,
    disclosures: bool,
    number: int,
) -> None:
    # Hypothesis may run the same example again to be sure of it; a chain can only be lived once.
    chain_id = f"history-{number:x}-{sha256(repr((history, closes)).encode()).hexdigest()[:12]}"
    ground.runner.run(_live(ground.store, chain_id, history, closes=closes))
    bundle = ground.bundle_of(chain_id, disclosures=disclosures)
    exit_code, report = ground.judge_apart(bundle, tmp_path_factory.mktemp("bundle") / "bundle.zip")
    assert (exit_code, report["verdict"]) == (0, "VERIFIED"), report
    chain = ground.runner.run(ground.store.get_chain(ORGANISATION, chain_id))
    assert (report["event_count"], report["head"]) == (chain.event_count, chain.head.hex())
    assert (report["chain_id"], report["issuing_org_name"]) == (chain_id, "Acme Security")
    assert report["chain_integrity"]["ok"] is True
    assert report["tokens"]
    assert all(token["ok"] for token in report["tokens"])
    check = ground.runner.run(ground.store.check_chain(ORGANISATION, chain_id))
    assert (check.ok, check.event_count, check.head) == (True, chain.event_count, chain.head)


def test_the_operations_chain_that_notes_all_this_is_accepted(ground: Ground, tmp_path: Path) -> None:
    ground.runner.run(_live(ground.store, "noted", [], closes=True))
    ground.bundle_of("noted", disclosures=False)
    ground.runner.run(ground.store.checkpoint_chain(ORGANISATION, "operations"))
    bundle = ground.bundle_of("operations", disclosures=False)
    exit_code, report = ground.judge_apart(bundle, tmp_path / "operations.zip")
    assert (exit_code, report["verdict"]) == (0, "VERIFIED"), report
    kinds = [json.loads(line)["kind"] for line in _unpack(bundle)["data/events.jsonl"].splitlines()]
    assert {"ledger.chain_opened", "ledger.chain_closed", "ledger.anchor_obtained"} <= set(kinds)
    # The notes of the newest checkpoint's own anchors come after it, and the auditor is told so.
    assert kinds[-2:] == ["ledger.anchor_obtained"] * 2
    assert "events-after-last-anchor" in {finding["code"] for finding in report["findings"]}


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
    ground.runner.run(_live(ground.store, "specimen", story, closes=True))
    bundle = ground.bundle_of("specimen", disclosures=True)
    assert ground.judge(bundle).verdict == "VERIFIED"
    return _unpack(bundle)


def test_the_specimen_survives_being_packed_again(ground: Ground, files: dict[str, bytes]) -> None:
    # Otherwise the tests below would see their own packing refused, whatever they changed.
    assert ground.judge(_pack(files)).verdict == "VERIFIED"
    assert ground.judge(_pack(_with_new_manifests(files))).verdict == "VERIFIED"


def test_every_changed_field_of_every_event_is_found_where_it_is(ground: Ground, files: dict[str, bytes]) -> None:
    lines = files["data/events.jsonl"].splitlines(keepends=True)
    changes = 0
    for number, line in enumerate(lines):
        for path, changed in _changes(json.loads(line)):
            changes += 1
            altered = [*lines[:number], rfc8785.dumps(changed) + b"\n", *lines[number + 1 :]]
            damaged = files | {"data/events.jsonl": b"".join(altered)}
            report = ground.judge(_pack(_with_new_manifests(damaged)))
            assert report.verdict == "FAILED", f"event {number + 1}, {path}"
            assert report.first_divergent_sequence == number + 1, f"event {number + 1}, {path}"
    assert changes > 100


def test_every_missing_swapped_or_repeated_event_is_found(ground: Ground, files: dict[str, bytes]) -> None:
    lines = files["data/events.jsonl"].splitlines(keepends=True)
    for number in range(len(lines)):
        for altered in (
            lines[:number] + lines[number + 1 :],
            lines[: number + 1] + lines[number:],
            lines[:number] + lines[number + 1 : number + 2] + lines[number : number + 1] + lines[number + 2 :],
        ):
            if altered != lines:
                damaged = _with_new_manifests(files | {"data/events.jsonl": b"".join(altered)})
                assert ground.judge(_pack(damaged)).verdict == "FAILED", f"around event {number + 1}"


def test_every_changed_field_of_the_statement_is_rejected(ground: Ground, files: dict[str, bytes]) -> None:
    statement = json.loads(files["data/bundle.json"])
    assert len(statement["anchors"]) == 4
    for path, changed in _changes(statement):
        damaged = files | {"data/bundle.json": rfc8785.dumps(changed)}
        assert _verdict(ground, damaged) != "VERIFIED", path
        if path.startswith("_alter") and path.endswith("/obtained_at"):
            # What only the ledger says and nobody signs: the digest in the manifest alone protects it.
            continue
        try:
            report = ground.judge(_pack(_with_new_manifests(damaged)))
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
            report = ground.judge(_pack(_with_new_manifests(damaged)))
            authority = path.rsplit(".", 1)[0].split("rfc3161-")[1]
            token = next(
                t for t in report.tokens if t.authority == authority and path.split("/")[2].startswith(f"{t.sequence}-")
            )
            if token.sequence == newest and token.ok:
                pytest.fail(f"{path} at {position}: a changed byte that nothing protects")


def test_changes_with_the_old_manifests_are_rejected_by_the_separate_process(
    ground: Ground, files: dict[str, bytes], tmp_path: Path
) -> None:
    for path in ("data/events.jsonl", "data/bundle.json", "data/README.txt", "data/disclosures.jsonl"):
        data = files[path]
        altered = data[:40] + bytes([data[40] ^ 1]) + data[41:]
        exit_code, report = ground.judge_apart(_pack(files | {path: altered}), tmp_path / "bundle.zip")
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
        report = ground.judge(_pack(_with_new_manifests(forged)))
        assert report.verdict == "FAILED"
        assert not any(token.ok for token in report.tokens)
        assert report.chain_ok is True, "the chain itself is perfect: only the anchors tell"


def test_disclosures_that_do_not_belong_are_rejected(ground: Ground, files: dict[str, bytes]) -> None:
    line = json.loads(files["data/disclosures.jsonl"])
    for path, changed in _changes(line):
        damaged = _with_new_manifests(files | {"data/disclosures.jsonl": rfc8785.dumps(changed) + b"\n"})
        assert _verdict(ground, damaged) == "FAILED", path


def _verdict(ground: Ground, files: dict[str, bytes]) -> str:
    try:
        return ground.judge(_pack(files)).verdict
    except UnusableBundle:
        return "UNUSABLE"


def _changes(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The document with one thing changed, for everything in it: each value, each member dropped, one added."""
    for path in _paths(document):
        for change in _ALTERATIONS:
            changed = deepcopy(document)
            holder: Any = changed
            for step in path[:-1]:
                holder = holder[step]
            change(holder, path[-1])
            if json.dumps(changed) != json.dumps(document):
                yield f"{change.__name__} {'/'.join(map(str, path))}", changed


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _paths(value[key], (*path, key))


def _alter(holder: Any, key: Any) -> None:
    holder[key] = _other(holder[key])


def _drop(holder: Any, key: Any) -> None:
    del holder[key]


def _add(holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[f"{key}x"] = holder[key]
    else:
        holder.append(holder[key])


_ALTERATIONS: tuple[Callable[[Any, Any], None], ...] = (_alter, _drop, _add)


def _other(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        # In place, so that a digest stays a digest and a time a time.
        last = value[-1:] if not value.endswith("Z") else value[-2:-1]
        other = "1" if last != "1" else "2"
        return value[:-1] + other if not value.endswith("Z") else value[:-2] + other + "Z"
    return {} if isinstance(value, list) else []


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


def _unpack(bundle: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def _pack(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, data in sorted(files.items()):
            archive.writestr(f"specimen/{path}", data)
    return target.getvalue()


def _with_new_manifests(files: dict[str, bytes]) -> dict[str, bytes]:
    """As a forger would leave it: every digest in the bag's lists is that of the file as it is now."""
    payload = {path: data for path, data in files.items() if path.startswith("data/")}
    dated = json.loads(files["data/bundle.json"]).get("exported_at", "")
    information = files["bag-info.txt"].decode().splitlines()
    information = [line for line in information if not line.startswith(("Payload-Oxum", "Bagging-Date"))]
    information = [
        f"Bagging-Date: {str(dated)[:10]}",
        *information,
        f"Payload-Oxum: {sum(map(len, payload.values()))}.{len(payload)}",
    ]
    tags = {
        "bagit.txt": files["bagit.txt"],
        "bag-info.txt": "".join(f"{line}\n" for line in information).encode(),
        "manifest-sha256.txt": _manifest(payload),
    }
    return payload | tags | {"tagmanifest-sha256.txt": _manifest(tags)}


def _manifest(files: dict[str, bytes]) -> bytes:
    return "".join(f"{sha256(data).hexdigest()}  {path}\n" for path, data in sorted(files.items())).encode()
