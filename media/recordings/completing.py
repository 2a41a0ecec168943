"""What is said at the end of a recording: its remarks, what is kept and why, and the two documents."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from media.clips.preserve import write_document
from media.errors import Reason
from media.recordings.documents import recording_document
from media.recordings.making import Made
from media.recordings.plan import ANNOTATIONS_NAME, RECORDING_NAME, participant_name, problem_of, why_kept
from media.records.recording_work import RecordingFile, RecordingWork

_FAILED = "the recording failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a recording ends.

    `keeps`: the raw objects that stay when it is completed, and why; `keeps_all`: when it is not. `failure`: reason and
    message in that case.
    """

    remarks: tuple[str, ...]
    keeps: tuple[tuple[UUID, str], ...]
    keeps_all: tuple[tuple[UUID, str], ...]
    failure: tuple[str, str]


def describe(recording: RecordingWork) -> Ending:
    """How a recording ends, all of whose steps have ended."""
    remarks = list(recording.remarks)
    if recording.annotations_expected and recording.annotations is None and recording.raws:
        remarks.append("no annotations were handed over in time, so the files are without strokes")
    remarks += _problems(recording)
    remarks += [
        f"{file.name}: {note}" for file in recording.files if file.role == "composite" for note in file.facts["notes"]
    ]
    decisions = [(raw.raw_id, why_kept(recording, raw)) for raw in recording.raws]
    failed = [task for task in recording.tasks if task.state == "FAILED"]
    # What is wrong with a file says more than what that meant for the composite.
    problems = sorted(failed, key=lambda task: task.stay_id is None)
    if not recording.raws:
        failure = (str(Reason.NOTHING_RECORDED), "LiveKit left no file of this recording")
    elif problems:
        failure = (problems[0].reason, f"no file could be made of what LiveKit left: {problems[0].message}")
    else:
        failure = (str(Reason.NOTHING_RECORDED), "what LiveKit left of this recording is empty")
    return Ending(
        remarks=tuple(dict.fromkeys(remarks)),
        keeps=tuple((one, why) for one, why in decisions if why is not None),
        keeps_all=tuple((one, why or _FAILED) for one, why in decisions),
        failure=failure,
    )


def annotations_file(recording: RecordingWork, directory: Path) -> Made | None:
    """annotations.json: the very bytes that were handed over; None where nothing was drawn."""
    annotations = recording.annotations
    if annotations is None or not annotations.data:
        return None
    path = directory / ANNOTATIONS_NAME
    path.write_bytes(annotations.data)
    return Made(name=ANNOTATIONS_NAME, role="annotations", path=path)


def recording_file(
    recording: RecordingWork, files: Sequence[RecordingFile], ending: Ending, directory: Path, *, made_at: int
) -> Made:
    """recording.json about `files`, which are all but itself."""
    path = directory / RECORDING_NAME
    write_document(path, recording_document(recording, files, ending.remarks, made_at=made_at))
    return Made(name=RECORDING_NAME, role="document", path=path)


def _problems(recording: RecordingWork) -> Iterator[str]:
    for egress in recording.egresses:
        of = "the room's own composite" if egress.kind == "composite" else participant_name(egress)
        if (problem := problem_of(recording, egress)) is not None:
            yield f"{of}: {problem}"
    composite = recording.task("composite", None)
    if composite is not None and composite.state == "FAILED":
        yield f"the composite could not be made: {composite.message}"
