"""Clips from the evidence service to the verifier: ledger, service, worker and verifier are processes of their own."""

import io
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from indelible.evidence.v1 import evidence_pb2

from sandbox.authorities import Authorities
from sandbox.database import Database
from sandbox.issuer import Issuer
from sandbox.objects import Objects
from tests.media.service.evidence import Evidence, running_evidence
from tests.service.serving import Service, running_service
from tests.system.black_box import PATIENCE_SECONDS, judge_apart, pack, unpack, with_new_manifests
from verifier.bundle import UnusableBundle
from verifier.policy import TrustPolicy, load_policy
from verifier.verify import verify_bundle

CHAIN = "inspection"
OPERATIONS = "operations"
FILES = ("native.mp4", "clip.mp4", "thumbnail.jpg", "preview.webm", "metadata.json", "custody.json")
TO_DATE = "custody-to-date.json"
# About so many places of every file are changed: enough to hit each kind of part of a document.
PLACES_OF_MEDIA = 8
PLACES_OF_A_DOCUMENT = 150


@dataclass(frozen=True, kw_only=True, repr=False)
class World:
    """A clip that was asked for, held, and handed to somebody; and both bundles with it."""

    evidence: Evidence
    clip: evidence_pb2.Clip
    trust: Path
    policy: TrustPolicy
    bundles: dict[str, bytes]

    def files(self, chain_id: str) -> dict[str, bytes]:
        return unpack(self.bundles[chain_id])

    def path(self, name: str) -> str:
        return f"data/artefacts/{self.clip.clip_id}/{name}"

    def verdict(self, files: dict[str, bytes]) -> str:
        try:
            bundle = io.BytesIO(pack(with_new_manifests(files)))
            return verify_bundle(bundle, policy=self.policy, workers=1).verdict
        except UnusableBundle:
            return "UNUSABLE"


@pytest.fixture(scope="module")
def world(
    module_database: Database,
    authorities: Authorities,
    issuer: Issuer,
    objects: Objects,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("clips")
    trust = folder / "trust.toml"
    authorities.write_trust_policy(trust)
    authorities.write_configuration(folder / "authorities.toml")
    anchored = {"INDELIBLE_AUTHORITIES": str(folder / "authorities.toml"), "INDELIBLE_CHECKPOINT_SECONDS": "10"}
    (folder / "evidence").mkdir()
    with (
        running_service(folder, module_database, issuer, anchored) as ledger,
        running_evidence(folder / "evidence", ledger, objects) as evidence,
    ):
        clip = _live(ledger, evidence)
        bundles = {
            chain_id: evidence.export(clip.clip_id, folder / f"{chain_id}.zip", chain_id).read_bytes()
            for chain_id in (CHAIN, OPERATIONS)
        }
        yield World(evidence=evidence, clip=clip, trust=trust, policy=load_policy(trust), bundles=bundles)


def _live(ledger: Service, evidence: Evidence) -> evidence_pb2.Clip:
    with ledger.blocking_client() as client:
        client.open_chain(CHAIN, {"case": "A-17"})
        asked = evidence.request("inc-1", session=CHAIN)
        _hold(evidence, asked.clip.clip_id, "before there is a clip")
        evidence.work()
        clip = evidence.ended(asked.clip.clip_id)
        _hold(evidence, clip.clip_id, "the other side asked; “§ 17”")
        link = evidence_pb2.CreateDownloadLinkRequest(clip_id=clip.clip_id, artefact="clip.mp4")
        evidence.call("CreateDownloadLink", link)
        evidence.call("VerifyStoredClip", evidence_pb2.VerifyStoredClipRequest(clip_id=clip.clip_id))
        with pytest.raises(grpc.RpcError, match="hold"):
            evidence.call("DisposeClip", evidence_pb2.DisposeClipRequest(clip_id=clip.clip_id, reason="enough"))
        until = time.monotonic() + PATIENCE_SECONDS
        while not list(client.list_events(CHAIN, kinds=["clip.preserved"])):
            assert time.monotonic() < until
            time.sleep(0.1)
        client.close_chain(CHAIN)
        for chain_id in (CHAIN, OPERATIONS):
            while sum(anchor.state == "obtained" for anchor in client.list_anchors(chain_id)) < 2:
                assert time.monotonic() < until
                time.sleep(0.1)
    return clip


def _hold(evidence: Evidence, clip_id: str, reason: str) -> None:
    key = secrets.token_hex(8)
    request = evidence_pb2.PlaceLegalHoldRequest(clip_id=clip_id, reason=reason, idempotency_key=key)
    evidence.call("PlaceLegalHold", request)


@pytest.mark.parametrize("chain_id", [CHAIN, OPERATIONS])
def test_an_exported_clip_is_verified_by_the_separate_process(world: World, chain_id: str) -> None:
    code, report = judge_apart(world.bundles[chain_id], world.trust)
    assert (code, report["verdict"]) == (0, "VERIFIED"), report["findings"]
    told = [one for one in report["findings"] if one["where"].startswith("data/artefacts")]
    assert [one["code"] for one in told] == ["artefacts-recorded"]
    assert "6 files of the clip of incident 'inc-1' on camera 'cam-gate-1'" in told[0]["message"]


def test_a_held_clip_that_disposal_was_refused_for_is_exported_whole(world: World) -> None:
    held = {path.rpartition("/")[2] for path in world.files(OPERATIONS) if path.startswith("data/artefacts/")}
    assert held == {*FILES, TO_DATE}
    clip = world.evidence.call("GetClip", evidence_pb2.GetClipRequest(clip_id=world.clip.clip_id)).clip
    assert (clip.state, len(clip.holds)) == (evidence_pb2.CLIP_STATE_PRESERVED, 2)


def test_custody_tells_all_that_happened(world: World) -> None:
    entries = json.loads(world.files(OPERATIONS)[world.path(TO_DATE)])["entries"]
    stored = json.loads(world.files(OPERATIONS)[world.path("custody.json")])["entries"]
    assert entries[: len(stored)] == stored
    later = [entry["action"] for entry in entries[len(stored) :]]
    told = ["preserved", "hold placed", "hold placed", "link issued", "verified", "exported", "exported"]
    assert sorted(later) == sorted(["stored and read back", *told])


@pytest.mark.parametrize("chain_id", [CHAIN, OPERATIONS])
def test_custody_names_the_event_of_each_step_also_beside_a_sessions_chain(world: World, chain_id: str) -> None:
    entries = json.loads(world.files(chain_id)[world.path(TO_DATE)])["entries"]
    named = [entry["detail"]["event"] for entry in entries if "event" in entry["detail"]]
    assert len(named) >= 6
    assert all(event["chain_id"] == OPERATIONS for event in named)


@pytest.mark.parametrize("chain_id", [CHAIN, OPERATIONS])
@pytest.mark.parametrize("name", FILES)
def test_no_byte_of_a_clips_files_can_change(world: World, chain_id: str, name: str) -> None:
    files = world.files(chain_id)
    data = files[path := world.path(name)]
    for position in range(0, len(data), max(1, len(data) // PLACES_OF_MEDIA)):
        changed = files | {path: _flipped(data, position)}
        assert world.verdict(changed) == "FAILED", f"{name} at {position}"
    assert world.verdict(files | {path: data[:-1]}) == "FAILED"


def test_no_byte_of_custody_can_change_that_the_chain_knows_of(world: World) -> None:
    files = world.files(OPERATIONS)
    data = files[path := world.path(TO_DATE)]
    stored = len(json.loads(files[world.path("custody.json")])["entries"])
    original, accepted = _known_to_the_chain(json.loads(data), stored), 0
    for position in range(0, len(data), max(1, len(data) // PLACES_OF_A_DOCUMENT)):
        changed = _flipped(data, position)
        if world.verdict(files | {path: changed}) == "VERIFIED":
            accepted += 1
            assert _known_to_the_chain(json.loads(changed), stored) == original, f"at {position}"
    assert accepted < PLACES_OF_A_DOCUMENT // 10


def test_no_step_can_be_left_out_or_added_that_the_chain_knows_of(world: World) -> None:
    files = world.files(OPERATIONS)
    path = world.path(TO_DATE)
    document = json.loads(files[path])
    for number, entry in enumerate(document["entries"]):
        shorter = document["entries"][:number] + document["entries"][number + 1 :]
        assert world.verdict(files | {path: _renumbered(document, shorter)}) == "FAILED" or (
            # The one step that neither an event nor the stored document tells of.
            entry["action"] == "stored and read back" and entry["object"] == "custody.json"
        ), f"without {entry}"
    for entry in document["entries"][-2:]:
        twice = [*document["entries"], entry | {"at": document["entries"][-1]["at"]}]
        assert world.verdict(files | {path: _renumbered(document, twice)}) == "FAILED"


def test_the_clip_of_one_bundle_vouches_for_nothing_in_another(world: World) -> None:
    files = world.files(CHAIN)
    other = {path.replace(world.clip.clip_id, "0" * 8 + world.clip.clip_id[8:]): data for path, data in files.items()}
    assert world.verdict(other) == "FAILED"


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _renumbered(document: dict[str, Any], entries: list[dict[str, Any]]) -> bytes:
    numbered = [entry | {"number": number} for number, entry in enumerate(entries, start=1)]
    return json.dumps(document | {"entries": numbered}).encode()


def _known_to_the_chain(document: dict[str, Any], stored: int) -> dict[str, Any]:
    """The document without what only the evidence service says (clip.md, section 6)."""
    known = []
    for entry in document["entries"][stored:]:
        told = dict(entry)
        if entry["actor"]["kind"] == "software":
            told["actor"] = {"kind": "software"}
        if entry["action"] == "stored and read back":
            told["at"] = None
        known.append(told)
    return {name: value for name, value in document.items() if name != "as_of"} | {
        "entries": document["entries"][:stored] + known
    }
