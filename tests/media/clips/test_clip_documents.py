"""The documents of a clip, against their published schemas."""

import uuid
from typing import Any

import pytest

from media.clips.custody import Entry, custody_document, live_custody
from media.records.values import Access, Artefact, Clip, Disposal, Hold, NoteState
from media.storage.values import StoredObject
from tests.media.clips.checking import check, schema

jsonschema: Any = pytest.importorskip("jsonschema", reason="the schemas are checked with jsonschema")

NOW = 1_772_366_400_000_000
SECOND = 1_000_000
CLIP_ID = uuid.uuid4()
SHA = "ab" * 32


def clip(**changes: Any) -> Clip:
    derived = Entry(at=NOW + 9 * SECOND, actor="x 1", actor_kind="software", action="derived")
    values: dict[str, Any] = {
        "clip_id": CLIP_ID,
        "organisation_id": "acme",
        "source_id": "gate-1",
        "camera_id": "gate-1",
        "incident_id": "inc-7",
        "key_prefix": "acme/2026/03/01/gate-1/inc-7/",
        "event_at": NOW,
        "asked_from": NOW - SECOND,
        "asked_to": NOW + SECOND,
        "session_chain_id": None,
        "requested_by": "ann",
        "requested_at": NOW + 2 * SECOND,
        "state": "PRESERVED",
        "attempts": 1,
        "last_error": "",
        "actual_from": NOW - SECOND,
        "actual_to": NOW + SECOND,
        "gaps": (),
        "facts": {"custody": [derived.document()]},
        "failure_reason": None,
        "failure_message": None,
        "ended_at": NOW + 10 * SECOND,
        "retain_until": NOW + 20 * SECOND,
        "disposal": None,
        "disposed_at": None,
        "artefacts": (
            Artefact(
                name="custody.json",
                role="custody",
                media_type="application/json",
                stored=StoredObject(key="k", version_id="v", size=1, sha256=SHA),
            ),
        ),
        "holds": (),
        "kept": (),
        "protection_enforced": None,
    }
    return Clip(**(values | changes))


@pytest.mark.parametrize("name", ["metadata-1", "custody-1"])
def test_the_schemas_are_schemas_and_closed(name: str) -> None:
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["additionalProperties"] is False


def test_live_custody_goes_on_where_the_stored_document_ends() -> None:
    hold = Hold(
        hold_id=uuid.uuid4(), clip_id=CLIP_ID, reason="case 7", placed_by="ben", placed_at=NOW + 11 * SECOND,
        lift_reason="closed", lifted_by="cleo", lifted_at=NOW + 14 * SECOND,
    )  # fmt: skip
    access = Access(
        access_id=uuid.uuid4(), clip_id=CLIP_ID, kind="link", who="dan", at=NOW + 12 * SECOND, artefact="custody.json"
    )
    note = NoteState(
        kind="hold.placed", chain_id="operations", subject_id=hold.hold_id, payload={}, sequence=5, event_hash=SHA,
        refusal=None,
    )  # fmt: skip
    document = live_custody(clip(), [hold], [access], [note], as_of=NOW + 15 * SECOND)
    check("custody-1", document)
    assert [entry["action"] for entry in document["entries"]] == [
        "derived", "stored and read back", "preserved", "hold placed", "link issued", "hold lifted"
    ]  # fmt: skip
    assert document["entries"][3]["detail"]["event"] == {"chain_id": "operations", "sequence": 5, "hash": SHA}
    assert document["entries"][5]["detail"]["event"] is None
    assert document["entries"][4]["digest_after"] == SHA


def test_a_step_that_became_known_late_keeps_its_place_and_states_its_time() -> None:
    early = Hold(hold_id=uuid.uuid4(), clip_id=CLIP_ID, reason="r", placed_by="ben", placed_at=NOW + 3 * SECOND)
    document = live_custody(clip(), [early], [], [], as_of=NOW + 15 * SECOND)
    check("custody-1", document)
    times = [entry["at"] for entry in document["entries"]]
    assert times == sorted(times)
    (entry,) = [one for one in document["entries"] if one["action"] == "hold placed"]
    assert entry["detail"]["stated_at"] == "2026-03-01T12:00:03.000000Z"
    assert document["entries"][0]["action"] == "derived"


def test_a_disposed_clip_says_who_decided_and_which_digests_went() -> None:
    disposal = Disposal(by="retention", reason="its retention is over", decided_at=NOW + 30 * SECOND)
    gone = clip(state="DISPOSED", disposal=disposal, disposed_at=NOW + 31 * SECOND)
    document = live_custody(gone, [], [], [], as_of=NOW + 40 * SECOND)
    check("custody-1", document)
    assert [(entry["action"], entry["digest_before"]) for entry in document["entries"]][-2:] == [
        ("disposal decided", None),
        ("deleted", SHA),
    ]


def test_nothing_that_is_not_in_the_schema_passes() -> None:
    document = custody_document(
        clip(), [Entry(at=NOW, actor="x", actor_kind="person", action="looked").document()], as_of=NOW
    )
    with pytest.raises(jsonschema.ValidationError):
        check("custody-1", document)
