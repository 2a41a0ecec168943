"""What the chains are told of a recording fits into an event, however often people came and went."""

import json
from dataclasses import replace
from uuid import uuid4

from media.recordings.events import completed_notes, disposed_note, failed_notes, file_entry
from media.records.recording_work import Egress, FinishedTask, Raw, RecordingFile, RecordingWork
from media.records.values import Disposal
from media.storage.values import StoredObject
from tests.media.recordings.processing.staging import SESSION, STARTED_AT

MOST_BYTES = 256 * 1024
DIGEST = "ab" * 32


def stored(name: str) -> StoredObject:
    return StoredObject(key=f"acme/recordings/2026/11/18/{uuid4()}/{name}", version_id="v" * 32, size=7, sha256=DIGEST)


def restless(stays: int) -> RecordingWork:
    """A recording of people who came and went, each time with the longest words about it."""
    egresses = [
        Egress(
            stay_id=uuid4(),
            kind="participant",
            egress_id=f"EG_{number}",
            raw_key="k",
            participant="p" * 128,
            tile=number % 7,
            stay=number // 7 + 1,
            file_started_at=STARTED_AT,
            file_ended_at=STARTED_AT,
            stated_size=7,
            outcome="FAILED",
            outcome_detail="ü" * 500,
            outcome_at=STARTED_AT,
        )
        for number in range(stays)
    ]
    return RecordingWork(
        recording_id=uuid4(),
        organisation_id="acme",
        session_chain_id=SESSION,
        room="acme:room",
        operator="ann",
        composite="FROM_FILES",
        state="PROCESSING",
        stream_copy=False,
        annotations_expected=False,
        annotations=None,
        requested_by="ann",
        started_at=STARTED_AT,
        stopped_at=STARTED_AT,
        stop_reason="",
        key_prefix="acme/recordings/2026/11/18/x/",
        remarks=(),
        members=(),
        egresses=tuple(egresses),
        raws=tuple(
            Raw(raw_id=uuid4(), stay_id=one.stay_id, stored=stored("raw"), counts=not copy, read_at=STARTED_AT)
            for one in egresses
            for copy in range(3)
        ),
        files=(),
        tasks=tuple(
            FinishedTask(task="participant", stay_id=one.stay_id, state="FAILED", reason="X", message="ö" * 500)
            for one in egresses
        ),
    )


def files_of(recording: RecordingWork) -> list[RecordingFile]:
    names = [f"participant-{egress.tile}-{egress.stay}.mp4" for egress in recording.egresses]
    made = [
        RecordingFile(
            name=name,
            role="participant",
            media_type="video/mp4",
            stored=stored(name),
            participant="p" * 128,
            tile=1,
            raw_sha256=(DIGEST,),
            facts={},
        )
        for name in names
    ]
    whole = stored("composite.mp4")
    return [
        *made,
        RecordingFile(
            name="composite.mp4",
            role="composite",
            media_type="video/mp4",
            stored=whole,
            raw_sha256=(DIGEST,) * len(names),
            facts={},
        ),
    ]


def test_every_file_is_in_the_event_of_a_recording_whose_people_came_and_went_all_the_time() -> None:
    for stays in (1, 80, 700):
        recording = restless(stays)
        files = files_of(recording)
        for note in completed_notes(recording, files, ["n" * 600] * 80, completed_at=STARTED_AT):
            assert len(json.dumps(note.payload, ensure_ascii=False).encode()) < MOST_BYTES
            assert [(one["name"], one["sha256"]) for one in note.payload["artefacts"]] == [
                (file.name, file.stored.sha256) for file in files
            ]
        if stays == 1:
            assert note.payload["artefacts"] == [file_entry(file) for file in files]
            assert len(note.payload["egresses"]) == 1


def test_the_events_of_a_failed_recording_and_of_a_disposal_fit_too() -> None:
    disposal = Disposal(by="retention", reason="r" * 1000, decided_at=STARTED_AT)
    recording = restless(700)
    disposed = disposed_note(replace(recording, files=tuple(files_of(recording))), disposal, disposed_at=STARTED_AT)
    assert len(json.dumps(disposed.payload, ensure_ascii=False).encode()) < MOST_BYTES
    assert disposed.payload["raw_count"] == 2100
    for note in failed_notes(restless(700), "X", "m" * 600, failed_at=STARTED_AT):
        assert len(json.dumps(note.payload, ensure_ascii=False).encode()) < MOST_BYTES
        assert note.payload["egresses"]
