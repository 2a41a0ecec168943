"""Clips in a bundle: files and custody documents against what the chain recorded."""

import copy
import hashlib
import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifier.bundle_forge import STARTED, Chain, data_files, sealed, time_text, zipped
from verifier.findings import Severity
from verifier.policy import TrustPolicy
from verifier.report import Report
from verifier.verify import verify_bundle

CLIP_ID = "5f0c2f7e-7f3c-4a55-9a59-8a3e2b8a9d10"
HOLD_ID = "0b1f9f43-7a35-4c2d-9c1a-1d2a3b4c5d6e"
FOLDER = f"data/artefacts/{CLIP_ID}/"
VIDEO = b"the bytes of a clip"
ANN = {"kind": "person", "name": "ann"}

Documents = dict[str, dict[str, Any]]


def entry(number: int, second: int, action: str, **members: Any) -> dict[str, Any]:
    return {
        "number": number,
        "at": time_text(STARTED + timedelta(seconds=second)),
        "actor": {"kind": "software", "name": "indelible"},
        "action": action,
        "object": None,
        "digest_before": None,
        "digest_after": None,
        "detail": {},
    } | members


def custody(entries: list[dict[str, Any]], second: int) -> dict[str, Any]:
    return {
        "format": "indelible-clip-custody/1",
        "clip_id": CLIP_ID,
        "organisation_id": "acme",
        "source": "gate",
        "camera": "gate-1",
        "incident": "inc-1",
        "as_of": time_text(STARTED + timedelta(seconds=second)),
        "entries": entries,
    }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


MADE = entry(1, 0, "derived", object="clip.mp4", digest_after=sha256(VIDEO))
STORED = json.dumps(custody([MADE], 0), indent=2).encode()


def recorded_chain() -> Chain:
    """A session with one clip, preserved by event 2 and held by event 3."""
    artefacts = [
        {"key": f"acme/{name}", "name": name, "sha256": sha256(content), "size": len(content), "version_id": "1"}
        for name, content in (("clip.mp4", VIDEO), ("custody.json", STORED))
    ]
    preserved = {"artefacts": artefacts, "camera": "gate-1", "clip_id": CLIP_ID, "incident": "inc-1", "source": "gate"}
    placed_at = time_text(STARTED + timedelta(seconds=2))
    held = {"clip_id": CLIP_ID, "hold_id": HOLD_ID, "placed_at": placed_at, "placed_by": "ann", "reason": "court"}
    return Chain().open().add("clip.preserved", preserved).add("hold.placed", held).close()


def to_date(chain: Chain) -> dict[str, Any]:
    def event(sequence: int) -> dict[str, Any]:
        return {"chain_id": "demo-1", "sequence": sequence, "hash": chain.hashes[sequence - 1].hex()}

    entries = [
        MADE,
        entry(2, 1, "preserved", detail={"event": event(2)}),
        entry(3, 2, "hold placed", actor=ANN, detail={"hold_id": HOLD_ID, "reason": "court", "event": event(3)}),
    ]
    return custody(entries, 60)


def bundle_files(change: Callable[[dict[str, bytes], Documents], object] | None = None) -> dict[str, bytes]:
    chain = recorded_chain()
    documents = {"custody-to-date.json": to_date(chain)}
    files = {f"{FOLDER}clip.mp4": VIDEO, f"{FOLDER}custody.json": STORED}
    if change is not None:
        documents = copy.deepcopy(documents)
        change(files, documents)
    extra = files | {f"{FOLDER}{name}": json.dumps(document).encode() for name, document in documents.items()}
    return data_files(chain, extra=extra)


def verify(files: dict[str, bytes]) -> Report:
    return verify_bundle(io.BytesIO(zipped(sealed(files))), policy=TrustPolicy())


def wrong(report: Report) -> set[str]:
    return {finding.code for finding in report.findings if finding.severity is Severity.ERROR}


def test_the_files_of_a_clip_are_said_to_be_those_that_the_chain_recorded() -> None:
    report = verify(bundle_files())
    assert not wrong(report)
    (finding,) = [finding for finding in report.findings if finding.code == "artefacts-recorded"]
    assert "2 files of the clip of incident 'inc-1' on camera 'gate-1' are byte for byte those that event 2" in (
        finding.message
    )
    assert "No anchor covers that event" in finding.message


def test_a_file_that_is_left_out_is_named_and_changes_no_verdict() -> None:
    report = verify(bundle_files(lambda files, _: files.pop(f"{FOLDER}clip.mp4")))
    assert not wrong(report)
    assert [finding.message for finding in report.findings if finding.code == "artefacts-left-out"] == [
        "Of this clip the bundle does not hold clip.mp4: not shown here, but recorded."
    ]


def test_a_history_that_is_left_out_is_missed() -> None:
    report = verify(bundle_files(lambda _, documents: documents.clear()))
    assert not wrong(report)
    assert "custody-left-out" in {finding.code for finding in report.findings}
    assert "custody-left-out" not in {finding.code for finding in verify(bundle_files()).findings}


def entries_of(documents: Documents) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = documents["custody-to-date.json"]["entries"]
    return entries


def set_stored(files: dict[str, bytes], content: bytes) -> None:
    files[f"{FOLDER}custody.json"] = content


CHANGES: dict[str, tuple[Callable[[dict[str, bytes], Documents], object], set[str]]] = {
    "a clip with one other byte": (
        lambda files, _: files.update({f"{FOLDER}clip.mp4": VIDEO[:-1] + b"!"}),
        {"artefact-digest-differs"},
    ),
    "a clip that is longer": (
        lambda files, _: files.update({f"{FOLDER}clip.mp4": VIDEO + b"!"}),
        {"artefact-digest-differs"},
    ),
    "the clip under the name of another file": (
        lambda files, _: files.update({f"{FOLDER}native.mp4": VIDEO}),
        {"artefact-unknown"},
    ),
    "a file beside the clips": (
        lambda files, _: files.update({"data/artefacts/clip.mp4": VIDEO}),
        {"artefact-clip-unknown"},
    ),
    "a clip that the chain does not know": (
        lambda files, _: files.update({"data/artefacts/other/clip.mp4": VIDEO}),
        {"artefact-clip-unknown"},
    ),
    "a stored custody document that was rewritten": (
        lambda files, _: set_stored(files, STORED.replace(b'"indelible"', b'"indelable"')),
        {"artefact-digest-differs", "custody-rewritten"},
    ),
    "a history that hides its beginning": (
        lambda _, documents: entries_of(documents)[0].update(action="written"),
        {"custody-rewritten"},
    ),
    "a history that hides a hold": (lambda _, documents: entries_of(documents).pop(), {"custody-incomplete"}),
    "a history that names another event for a hold": (
        lambda _, documents: entries_of(documents)[2]["detail"]["event"].update(sequence=2),
        {"custody-event-differs"},
    ),
    "a history that names an event that is none": (
        lambda _, documents: entries_of(documents)[2]["detail"]["event"].update(hash="00" * 32),
        {"custody-event-differs"},
    ),
    "a hold told as something else": (
        lambda _, documents: entries_of(documents)[2].update(action="hold lifted"),
        {"custody-event-differs", "custody-incomplete"},
    ),
    "a digest that the chain does not know": (
        lambda _, documents: entries_of(documents)[2].update(object="clip.mp4", digest_after="00" * 32),
        {"custody-digest-differs", "custody-event-differs"},
    ),
    "a hold placed by somebody else": (
        lambda _, documents: entries_of(documents)[2]["actor"].update(name="bob"),
        {"custody-event-differs"},
    ),
    "a hold for another reason": (
        lambda _, documents: entries_of(documents)[2]["detail"].update(reason="none"),
        {"custody-event-differs"},
    ),
    "a hold placed at another time": (
        lambda _, documents: entries_of(documents)[2].update(at=time_text(STARTED + timedelta(seconds=3))),
        {"custody-event-differs"},
    ),
    "a hold of which somebody says more": (
        lambda _, documents: entries_of(documents)[2]["detail"].update(by_order_of="nobody"),
        {"custody-event-differs"},
    ),
    "a preservation by a person": (
        lambda _, documents: entries_of(documents)[1].update(actor=ANN),
        {"custody-event-differs"},
    ),
    "a hold whose event is said to be on another chain": (
        lambda _, documents: entries_of(documents)[2]["detail"]["event"].update(chain_id="operations"),
        {"custody-event-differs"},
    ),
    "a hold told twice": (
        lambda _, documents: entries_of(documents).append(entries_of(documents)[2] | {"number": 4}),
        {"custody-event-differs"},
    ),
    "a step that no software of ours takes": (
        lambda _, documents: entries_of(documents)[1].update(action="improved"),
        {"custody-malformed"},
    ),
    "a hold that is not named": (
        lambda _, documents: entries_of(documents)[2]["detail"].pop("hold_id"),
        {"custody-malformed"},
    ),
    "a hold that says nothing about its event": (
        lambda _, documents: entries_of(documents)[2]["detail"].pop("event"),
        {"custody-malformed"},
    ),
    "a history that was made before its last step": (
        lambda _, documents: documents["custody-to-date.json"].update(as_of=time_text(STARTED)),
        {"custody-malformed"},
    ),
    "a second time for a step that fell into its place": (
        lambda _, documents: entries_of(documents)[2]["detail"].update(stated_at=time_text(STARTED)),
        {"custody-malformed"},
    ),
    "a history of another camera": (
        lambda _, documents: documents["custody-to-date.json"].update(camera="gate-2"),
        {"custody-foreign"},
    ),
    "a history of another source": (
        lambda _, documents: documents["custody-to-date.json"].update(source="yard"),
        {"custody-foreign"},
    ),
    "a history of another clip": (
        lambda _, documents: documents["custody-to-date.json"].update(clip_id="other"),
        {"custody-foreign"},
    ),
    "a history of another organisation": (
        lambda _, documents: documents["custody-to-date.json"].update(organisation_id="other"),
        {"custody-foreign"},
    ),
    "a history out of order": (
        lambda _, documents: entries_of(documents)[2].update(at=entries_of(documents)[0]["at"]),
        {"custody-malformed"},
    ),
    "a history with a gap in its numbers": (
        lambda _, documents: entries_of(documents)[2].update(number=4),
        {"custody-malformed"},
    ),
    "a history with a member too many": (
        lambda _, documents: entries_of(documents)[1].update(note=""),
        {"custody-malformed"},
    ),
    "a history without entries": (lambda _, documents: entries_of(documents).clear(), {"custody-malformed"}),
    "an actor who is neither person nor software": (
        lambda _, documents: entries_of(documents)[1].update(actor={"kind": "ghost", "name": "x"}),
        {"custody-malformed"},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_bundle_fails_with_one_thing_about_a_clip_changed(name: str) -> None:
    change, codes = CHANGES[name]
    report = verify(bundle_files(change))
    assert report.verdict == "FAILED"
    assert wrong(report) == codes


def test_a_hold_after_the_document_was_made_need_not_be_told() -> None:
    def earlier(_: dict[str, bytes], documents: Documents) -> None:
        entries_of(documents).pop()
        documents["custody-to-date.json"]["as_of"] = time_text(STARTED + timedelta(seconds=1))

    assert not wrong(verify(bundle_files(earlier)))


def test_an_entry_whose_event_was_not_on_the_chain_yet_is_matched_by_its_hold() -> None:
    assert not wrong(verify(bundle_files(lambda _, documents: entries_of(documents)[2]["detail"].update(event=None))))


def test_a_hold_from_before_the_clip_was_there_is_told_after_it() -> None:
    _, preserved, held, _ = [json.loads(line)["payload"] for line in recorded_chain().lines]
    early = Chain().open().add("hold.placed", held).add("clip.preserved", preserved).close()

    def event(sequence: int) -> dict[str, Any]:
        return {"chain_id": "demo-1", "sequence": sequence, "hash": early.hashes[sequence - 1].hex()}

    told = {"hold_id": HOLD_ID, "reason": "court", "event": event(2)}
    entries = [
        MADE,
        entry(2, 2, "hold placed", actor=ANN, detail=told),
        entry(3, 2, "preserved", detail={"event": event(3)}),
    ]
    content = {"custody-to-date.json": json.dumps(custody(entries, 60)).encode(), "custody.json": STORED}
    files = data_files(early, extra={f"{FOLDER}{name}": data for name, data in content.items()})
    assert not wrong(verify(files))


def test_footage_may_have_the_name_of_a_file_of_the_clip() -> None:
    acquired = entry(1, 0, "acquired", object="clip.mp4", digest_after="11" * 32)
    stored = json.dumps(custody([acquired], 0)).encode()
    artefacts = [{"name": "custody.json", "sha256": sha256(stored), "size": len(stored)}]
    artefacts.append({"name": "clip.mp4", "sha256": sha256(VIDEO), "size": len(VIDEO)})
    record = {"artefacts": artefacts, "camera": "gate-1", "clip_id": CLIP_ID, "incident": "inc-1", "source": "gate"}
    chain = Chain().open().add("clip.preserved", record).close()
    files = data_files(chain, extra={f"{FOLDER}clip.mp4": VIDEO, f"{FOLDER}custody.json": stored})
    assert not wrong(verify(files))


def test_an_event_of_another_chain_is_not_looked_for() -> None:
    other = {"chain_id": "operations", "sequence": 900, "hash": "00" * 32}
    assert not wrong(verify(bundle_files(lambda _, documents: entries_of(documents)[1]["detail"].update(event=other))))


@pytest.mark.parametrize(
    "artefacts",
    [None, [], [1], [{"name": "clip.mp4"}], [{"name": "clip.mp4", "size": -1, "sha256": "00" * 32}], "clip.mp4"],
)
def test_a_record_that_cannot_be_read_vouches_for_nothing(artefacts: Any) -> None:
    record = {"artefacts": artefacts, "camera": "gate-1", "clip_id": CLIP_ID, "incident": "inc-1", "source": "gate"}
    chain = Chain().open().add("clip.preserved", record).close()
    assert wrong(verify(data_files(chain, extra={f"{FOLDER}clip.mp4": VIDEO}))) == {"artefact-clip-unknown"}


def test_a_second_record_of_a_clip_does_not_replace_the_first() -> None:
    def record(content: bytes) -> dict[str, Any]:
        artefact = {"name": "clip.mp4", "sha256": sha256(content), "size": len(content)}
        return {"artefacts": [artefact], "camera": "gate-1", "clip_id": CLIP_ID, "incident": "inc-1", "source": "gate"}

    chain = Chain().open().add("clip.preserved", record(VIDEO)).add("clip.preserved", record(b"another")).close()
    files = data_files(chain, extra={f"{FOLDER}clip.mp4": b"another"})
    assert wrong(verify(files)) == {"artefact-digest-differs"}


@given(
    junk=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5), at=st.integers(0)
)
def test_whatever_stands_in_a_custody_document_is_judged_and_never_crashes(junk: Any, at: int) -> None:
    def spoil(_: dict[str, bytes], documents: Documents) -> None:
        places: list[tuple[Any, Any]] = [(documents, "custody-to-date.json")]
        for container, name in places:
            found = container[name]
            inside = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
            places += [(found, key) for key, _ in inside]
        container, name = places[at % len(places)]
        container[name] = junk

    assert verify(bundle_files(spoil)).verdict in {"FAILED", "INDETERMINATE"}


@pytest.mark.parametrize("raw", [b"", b"{", b"[" * 100_000, b'{"a":1,"a":2}', b"\xff", b"{" + b"," * 1_000_001])
def test_a_custody_document_that_is_no_json_is_refused(raw: bytes) -> None:
    files = bundle_files() | {f"{FOLDER}custody-to-date.json": raw}
    assert wrong(verify(files)) == {"custody-malformed"}


def test_files_are_not_compared_with_a_chain_that_is_not_intact() -> None:
    files = bundle_files()
    files["data/events.jsonl"] = files["data/events.jsonl"].replace(b'"court"', b'"coast"')
    report = verify(files)
    assert "artefacts-not-compared" in {finding.code for finding in report.findings}
    assert "artefacts-recorded" not in {finding.code for finding in report.findings}
