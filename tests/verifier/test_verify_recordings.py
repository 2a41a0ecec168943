"""Recordings in a bundle: their files and recording.json against what the chain recorded."""

import copy
import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.verifier.bundle_forge import Chain, data_files, sealed, zipped
from verifier.findings import Severity
from verifier.policy import TrustPolicy
from verifier.report import Report
from verifier.verify import verify_bundle

RECORDING_ID = "0198c0de-7f3c-7a55-9a59-8a3e2b8a9d10"
FOLDER = f"data/artefacts/{RECORDING_ID}/"
CONTENTS = {"composite.mp4": b"the composite", "participant-0.mp4": b"the operator"}
RAW = hashlib.sha256(b"what LiveKit uploaded").hexdigest()
ABOUT = {"recording_id": RECORDING_ID, "session_chain_id": "demo-1"}

Events = list[tuple[str, dict[str, Any]]]
Files = dict[str, bytes]


def listed(name: str, content: bytes) -> dict[str, Any]:
    made_from = [] if name.endswith(".json") else [RAW]
    return {
        "key": f"acme/{name}",
        "name": name,
        "participant": None,
        "raw_sha256": made_from,
        "role": "participant",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "tile": None,
        "version_id": "1",
    }


def document(**changes: Any) -> bytes:
    files = [listed(name, content) for name, content in CONTENTS.items()]
    about = {"format": "indelible-recording/1", "organisation_id": "acme", **ABOUT, "artefacts": files}
    return json.dumps(about | changes, indent=2).encode()


def story() -> tuple[Events, Files]:
    files = {f"{FOLDER}{name}": content for name, content in (CONTENTS | {"recording.json": document()}).items()}
    listing = [listed(path.removeprefix(FOLDER), content) for path, content in files.items()]
    events: Events = [("recording.file_hashed", {**ABOUT, "sha256": RAW, "size": 21})]
    events += [("recording.file_stored", {**ABOUT, **one}) for one in listing]
    events.append(("recording.completed", {**ABOUT, "artefacts": copy.deepcopy(listing)}))
    return events, files


def verify(change: Callable[[Events, Files], object] | None = None) -> Report:
    events, files = story()
    if change is not None:
        change(events, files)
    chain = Chain().open()
    for kind, payload in events:
        chain.add(kind, payload)
    return verify_bundle(io.BytesIO(zipped(sealed(data_files(chain.close(), extra=files)))), policy=TrustPolicy())


def wrong(report: Report) -> set[str]:
    return {finding.code for finding in report.findings if finding.severity is Severity.ERROR}


def replace_document(files: Files, events: Events, content: bytes) -> None:
    """Another recording.json, with the chain in agreement about its bytes."""
    files[f"{FOLDER}recording.json"] = content
    entry = listed("recording.json", content)
    events[-2] = ("recording.file_stored", {**ABOUT, **entry})
    events[-1][1]["artefacts"][-1] = entry


def test_the_files_of_a_recording_are_said_to_be_those_that_the_chain_recorded() -> None:
    report = verify()
    assert not wrong(report)
    (finding,) = [finding for finding in report.findings if finding.code == "artefacts-recorded"]
    assert f"3 files of the recording {RECORDING_ID} are byte for byte those that event 6" in finding.message
    assert "No anchor covers that event" in finding.message


def test_a_file_that_is_left_out_is_named_and_changes_no_verdict() -> None:
    report = verify(lambda _, files: files.pop(f"{FOLDER}composite.mp4"))
    assert not wrong(report)
    assert [finding.message for finding in report.findings if finding.code == "artefacts-left-out"] == [
        "Of this recording the bundle does not hold composite.mp4: not shown here, but recorded."
    ]


CHANGES: dict[str, tuple[Callable[[Events, Files], object], set[str]]] = {
    "a recording with one other byte": (
        lambda _, files: files.update({f"{FOLDER}composite.mp4": b"the compositf"}),
        {"artefact-digest-differs"},
    ),
    "a file that nobody recorded": (
        lambda _, files: files.update({f"{FOLDER}participant-9.mp4": b"somebody else"}),
        {"artefact-unknown"},
    ),
    "a recording that the chain does not end": (lambda events, _: events.pop(), {"artefact-clip-unknown"}),
    "a recording that failed": (
        lambda events, _: events.__setitem__(-1, ("recording.failed", events[-1][1])),
        {"artefact-clip-unknown"},
    ),
    "an end that lists a file of no name": (
        lambda events, _: events[-1][1]["artefacts"][0].pop("name"),
        {"artefact-clip-unknown"},
    ),
    "an end that lists a file twice": (
        lambda events, _: events[-1][1]["artefacts"].append(events[-1][1]["artefacts"][0]),
        {"artefact-clip-unknown"},
    ),
    "an end that lists no files": (lambda events, _: events[-1][1].update(artefacts=[]), {"artefact-clip-unknown"}),
    "a file that no event says was stored": (lambda events, _: events.pop(1), {"recording-contradiction"}),
    "a file that is stored as another one": (
        lambda events, _: events[1][1].update(sha256="ab" * 32),
        {"recording-contradiction"},
    ),
    "a file that is stored after the end": (
        lambda events, _: events.append(events.pop(1)),
        {"recording-contradiction"},
    ),
    "a file made of what nobody read": (lambda events, _: events.pop(0), {"recording-contradiction"}),
    "a document of another recording": (
        lambda events, files: replace_document(files, events, document(recording_id="another")),
        {"recording-foreign"},
    ),
    "a document of another organisation": (
        lambda events, files: replace_document(files, events, document(organisation_id="globex")),
        {"recording-foreign"},
    ),
    "a document of another session": (
        lambda events, files: replace_document(files, events, document(session_chain_id="demo-2")),
        {"recording-foreign"},
    ),
    "a document that lists fewer files": (
        lambda events, files: replace_document(
            files, events, document(artefacts=[listed("composite.mp4", CONTENTS["composite.mp4"])])
        ),
        {"recording-contradiction"},
    ),
    "a document of another format": (
        lambda events, files: replace_document(files, events, document(format="indelible-recording/2")),
        {"recording-malformed"},
    ),
    "a document that is no JSON": (
        lambda events, files: replace_document(files, events, b"{"),
        {"recording-malformed"},
    ),
    "a document that nests without end": (
        lambda events, files: replace_document(files, events, b"[" * 100_000),
        {"recording-malformed"},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_recording_in_a_bundle_that_differs_from_the_chain_is_refused(name: str) -> None:
    change, codes = CHANGES[name]
    report = verify(change)
    assert wrong(report) == codes
    assert report.verdict == "FAILED"


def test_the_operations_chain_tells_of_the_end_only() -> None:
    def only_the_end(events: Events, _: Files) -> None:
        del events[:-1]

    events, files = story()
    only_the_end(events, files)
    chain = Chain(chain_id="operations", chain_type="operations").open()
    for kind, payload in events:
        chain.add(kind, payload)
    chain.checkpoint()
    report = verify_bundle(io.BytesIO(zipped(sealed(data_files(chain, extra=files)))), policy=TrustPolicy())
    assert not wrong(report)
    # A session's chain tells of every file.
    assert wrong(verify(only_the_end)) == {"recording-contradiction"}
