"""What LiveKit left becomes evidence, or a reason why not; nothing is lost, nothing is there twice."""

import hashlib
import io
import json
from importlib.resources import files
from typing import Any

import av
import pytest

from media.recordings.tiles import tile_layout
from media.records.recording_work import RecordingFile, RecordingWork
from sandbox.livekit.film import Shown, cut_tile, film_room, read_marker
from tests.media.recordings.processing.staging import FILMING, SECOND, STARTED_AT, Left, Stage, film, stroke

RAW = "acme/recordings/raw/"


def checked(document: bytes) -> Any:
    """recording.json, against its published schema."""
    jsonschema: Any = pytest.importorskip("jsonschema", reason="the schemas are checked with jsonschema")
    schema = json.loads((files("media.recordings") / "schemas" / "recording-1.json").read_text())
    parsed = json.loads(document)
    jsonschema.Draft202012Validator(schema).validate(parsed)
    return parsed


def nothing_is_lost(stage: Stage, work: RecordingWork) -> dict[str, bytes]:
    """The finished files as they lie in the store, each once; the chain tells what there is, and only that."""
    assert work.state == "COMPLETED", work
    there = stage.stored(work.recording_id)
    names = {file.stored.key: file.name for file in work.files}
    contents = {names[key]: versions[0] for key, versions in there.items() if key in names and len(versions) == 1}
    assert {name: sha256(content) for name, content in contents.items()} == {
        file.name: file.stored.sha256 for file in work.files
    }
    (end,) = stage.payloads("recording.completed")
    assert stage.payloads("recording.completed", "operations") == [end]
    assert {one["name"]: one["sha256"] for one in end["artefacts"]} == {
        file.name: file.stored.sha256 for file in work.files
    }
    # Raw objects are where the chain says that they are kept, and nowhere else.
    kept = [(raw["key"], raw["sha256"]) for egress in end["egresses"] for raw in egress["raws"] if raw["kept"]]
    left = [(key, sha256(one)) for key, versions in there.items() if key.startswith(RAW) for one in versions]
    assert sorted(left) == sorted(kept)
    assert stage.kinds().count("recording.file_stored") == len(work.files)
    assert stage.kinds()[-1] == "recording.completed"
    checked(contents["recording.json"])
    return contents


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_of(work: RecordingWork, name: str) -> RecordingFile:
    return next(file for file in work.files if file.name == name)


def picture(video: bytes, at: float) -> av.VideoFrame:
    """The first picture that is shown at a time (seconds), or later."""
    with av.open(io.BytesIO(video), "r") as container:
        return next(frame for frame in container.decode(video=0) if frame.time is not None and frame.time >= at)


def heard_only(video: bytes) -> bytes:
    """The sound of a file."""
    target = io.BytesIO()
    with av.open(io.BytesIO(video), "r") as source, av.open(target, "w", format="mp4") as output:
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return target.getvalue()


def redness(video: bytes, at: float, *, x: float, y: float) -> int:
    """How red the picture shown at a time is at a place."""
    frame = picture(video, at)
    pixels = frame.to_ndarray(format="rgb24")
    red, green, blue = pixels[round(y * (frame.height - 1)), round(x * (frame.width - 1))].tolist()
    return int(red) - max(int(green), int(blue))


async def test_two_participants_become_files_a_composite_and_documents_that_the_chain_ties_together(
    stage: Stage,
) -> None:
    recording_id = await stage.recorded(
        Left(tile=0, seconds=1.5), Left(tile=1, starts_after=0.5), annotations=stroke(tile=0), expected=True
    )
    work = await stage.processed(recording_id)
    contents = nothing_is_lost(stage, work)
    media = {f"participant-{tile}{part}" for tile in (0, 1) for part in (".mp4", "-video.mp4", "-audio.m4a")}
    assert contents.keys() == {*media, "composite.mp4", "annotations.json", "recording.json"}

    # The strokes are where they were drawn, from when on, in the participant's file and in their tile only.
    own = contents["participant-0.mp4"]
    assert redness(own, 0.1, x=0.5, y=0.7) < 60
    assert redness(own, 0.8, x=0.5, y=0.7) > 100
    assert redness(contents["participant-1.mp4"], 0.3, x=0.5, y=0.7) < 60
    composite = contents["composite.mp4"]
    # Until the second came, the operator fills the picture; afterwards the two stand side by side.
    assert redness(composite, 0.4, x=0.5, y=0.7) > 100
    assert redness(composite, 0.9, x=0.25, y=0.6) > 100
    assert redness(composite, 0.9, x=0.75, y=0.6) < 60

    assert contents["annotations.json"] == stroke(tile=0)
    about = checked(contents["recording.json"])
    assert [(one["tile"], one["participant"]) for one in about["tiles"]] == [(0, "operator"), (1, "field-1")]
    entry = next(one for one in about["artefacts"] if one["name"] == "participant-1.mp4")
    assert entry["annotations"]["offset_us"] == SECOND // 2
    assert file_of(work, "composite.mp4").starts_at == STARTED_AT
    # All digests of raw objects are on the chain before anything is dropped, and the drops are told.
    hashed = {one["sha256"] for one in stage.payloads("recording.file_hashed")}
    assert {digest for file in work.files for digest in file.raw_sha256} == hashed
    assert {one["sha256"] for one in stage.payloads("recording.raw_dropped", "operations")} == hashed
    kinds = [kind for _, kind, _ in stage.told]
    assert "recording.completed" not in kinds[kinds.index("recording.raw_dropped") :]


async def test_somebody_who_left_and_came_back_has_two_files_and_one_tile(stage: Stage) -> None:
    recording_id = await stage.recorded(
        Left(tile=0, seconds=1.5), Left(tile=0, stay=2, starts_after=2, seconds=0.6), stream_copy=True
    )
    work = await stage.processed(recording_id)
    contents = nothing_is_lost(stage, work)
    assert {"participant-0.mp4", "participant-0-2.mp4"} <= contents.keys()
    assert file_of(work, "participant-0-2.mp4").starts_at == STARTED_AT + 2 * SECOND
    assert read_marker(picture(contents["composite.mp4"], 2.2)) == 0
    # Without a stroke, and the organisation keeps files that are within its policy as they are.
    assert checked(contents["recording.json"])["artefacts"][1]["copied"] is True


# Of each tile: how it ended, why its raw object stays (None: there is none), and whether a file came of it.
BROKEN: dict[int, tuple[Left, str | None, bool]] = {
    1: (Left(tile=1, outcome="CUT_BY_LIMIT", error="limit"), "LiveKit cut the recording short at a limit", True),
    2: (Left(tile=2, outcome="FAILED", error="disk full"), "LiveKit said that the recording failed", True),
    3: (
        Left(tile=3, outcome="FAILED", uploads=(film(3)[:900],), is_told=False),
        "LiveKit said that the recording failed",
        False,
    ),
    4: (
        Left(tile=4, outcome="ABORTED", uploads=(b"",), is_told=False),
        "LiveKit said that the recording was aborted",
        False,
    ),
    5: (Left(tile=5, outcome="NEVER_FINISHED", is_told=False), "LiveKit never said that the recording ended", True),
    6: (Left(tile=6, outcome="NEVER_FINISHED", uploads=(), is_told=False), None, False),
}
ODD: dict[int, tuple[Left, str | None, bool]] = {
    1: (Left(tile=1, uploads=()), None, False),
    2: (Left(tile=2, uploads=(b"<html>502 Bad Gateway</html>" * 40,)), "", False),
    3: (Left(tile=3, size=7), "it is not of the size that LiveKit stated", True),
}


@pytest.mark.parametrize("wrong", [BROKEN, ODD], ids=["broken", "odd"])
async def test_egresses_that_went_wrong_cost_the_others_nothing_and_are_told(
    stage: Stage, wrong: dict[int, tuple[Left, str | None, bool]]
) -> None:
    lefts = [left for left, _, _ in wrong.values()]
    if wrong is ODD:
        lefts.append(Left(tile=4, uploads=(heard_only(film(4)),)))
    work = await stage.processed(await stage.recorded(Left(tile=0), *lefts, expected=wrong is ODD))
    contents = nothing_is_lost(stage, work)
    assert {"participant-0.mp4", "composite.mp4"} <= contents.keys()
    # Of who was heard and never seen there is the sound.
    assert ({name for name in contents if name.startswith("participant-4")} == {"participant-4-audio.m4a"}) == (
        wrong is ODD
    )
    (end,) = stage.payloads("recording.completed")
    # Annotations that were announced and never come are not waited for for ever.
    assert (end["notes"][0] == "no annotations were handed over in time, so the files are without strokes") == (
        wrong is ODD
    )
    for tile, (left, why, has_file) in wrong.items():
        account = next(one for one in end["egresses"] if one["tile"] == tile)
        assert (account["outcome"], account["outcome_detail"]) == (left.outcome.lower(), left.error)
        name = f"participant-{tile}.mp4"
        assert (name in contents) == (name in account["files"]) == (account["problem"] is None) == has_file
        # What nothing places in time cannot be in the composite.
        assert ("composite.mp4" in account["files"]) == (has_file and left.is_told)
        assert any(remark.startswith(f"{name}: ") for remark in end["notes"]) == (not has_file)
        if why is None:
            assert account["raws"] == []
        else:
            (raw,) = account["raws"]
            assert why in raw["kept"]
            assert raw["sha256"] == sha256(left.contents[-1])


async def test_an_upload_that_is_repeated_counts_once_and_other_bytes_are_kept(stage: Stage) -> None:
    first, second, same = film(0, crf=40), film(0), film(1)
    recording_id = await stage.recorded(Left(tile=0, uploads=(first, second)), Left(tile=1, uploads=(same, same)))
    work = await stage.processed(recording_id)
    nothing_is_lost(stage, work)
    assert file_of(work, "participant-0.mp4").raw_sha256 == (sha256(second),)
    accounts = {one["tile"]: one["raws"] for one in stage.payloads("recording.completed")[0]["egresses"]}
    assert {raw["sha256"]: raw["kept"] for raw in accounts[0]} == {
        sha256(first): "the same recording was uploaded with other bytes as well",
        sha256(second): None,
    }
    assert [(raw["sha256"], raw["kept"]) for raw in accounts[1]] == [(sha256(same), None)] * 2


async def test_an_upload_is_waited_for_and_one_that_comes_too_late_is_kept_and_told(stage: Stage) -> None:
    recording_id = await stage.recorded(Left(tile=0), Left(tile=1, uploads=()))
    egress = next(one for one in (await stage.work_of(recording_id)).egresses if one.tile == 1)
    await stage.advance()
    stage.put(egress.raw_key, film(1))
    work = await stage.processed(recording_id)
    assert "participant-1.mp4" in nothing_is_lost(stage, work)

    stage.put(egress.raw_key, film(1, crf=40))
    await stage.swept()
    await stage.swept()
    await stage.tell()
    (late,) = stage.payloads("recording.file_hashed", "operations")
    assert (late["sha256"], late["session_chain_id"]) == (sha256(film(1, crf=40)), work.session_chain_id)
    assert late["kept"] == "it came after the recording had ended"
    assert stage.stored(recording_id)[egress.raw_key] == [film(1, crf=40)]


@pytest.mark.parametrize("fails", [False, True], ids=["usable", "failed"])
async def test_the_rooms_own_composite_is_used_where_livekit_made_one(stage: Stage, *, fails: bool) -> None:
    shown = tuple(Shown(number=tile, tile=tile, from_us=STARTED_AT, to_us=STARTED_AT + SECOND) for tile in (0, 1))
    room = film_room(FILMING, shown, STARTED_AT, SECOND, 30)
    left = (
        Left(tile=None, uploads=(room,))
        if not fails
        else Left(tile=None, uploads=(), outcome="FAILED", is_told=False, error="no browser")
    )
    work = await stage.processed(
        await stage.recorded(Left(tile=0), Left(tile=1), left, composite="ROOM", annotations=stroke(tile=1))
    )
    contents = nothing_is_lost(stage, work)
    composite = contents["composite.mp4"]
    frame = picture(composite, 0.7)
    layout = tile_layout([0, 1], frame.width, frame.height)
    assert [read_marker(cut_tile(frame, layout[tile])) for tile in (0, 1)] == [0, 1]
    assert redness(composite, 0.7, x=0.75, y=0.6) > 100
    assert redness(composite, 0.7, x=0.25, y=0.6) < 60
    notes = stage.payloads("recording.completed")[0]["notes"]
    assert any("built of the participants' files" in note for note in notes) == fails
    assert (file_of(work, "composite.mp4").raw_sha256 == (sha256(room),)) == (not fails)


async def test_annotations_that_cannot_be_used_leave_files_without_strokes_and_every_raw_object(stage: Stage) -> None:
    work = await stage.processed(await stage.recorded(Left(tile=0, seconds=0.5), annotations=b'{"format": 1}'))
    contents = nothing_is_lost(stage, work)
    assert contents["annotations.json"] == b'{"format": 1}'
    (end,) = stage.payloads("recording.completed")
    (egress,) = end["egresses"]
    assert [raw["kept"] for raw in egress["raws"]] == ["strokes that were drawn could not be burned in"]


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        ((), "NOTHING_RECORDED"),
        ((Left(tile=0, uploads=(), outcome="ABORTED", is_told=False),), "NOTHING_RECORDED"),
        ((Left(tile=0, uploads=(b"\0" * 5_000,)),), "FOOTAGE_UNREADABLE"),
    ],
    ids=["no egress", "no file", "no video"],
)
async def test_a_recording_of_which_nothing_came_fails_and_keeps_what_there_is(
    stage: Stage, left: tuple[Left, ...], reason: str
) -> None:
    recording_id = await stage.recorded(*left, expected=not left)
    work = await stage.processed(recording_id)
    assert (work.state, work.files) == ("FAILED", ())
    (end,) = stage.payloads("recording.failed")
    assert stage.payloads("recording.failed", "operations") == [end]
    assert end["reason"] == reason
    uploads = [content for one in left for content in one.contents]
    assert [one for versions in stage.stored(recording_id).values() for one in versions] == uploads
    assert [raw["sha256"] for egress in end["egresses"] for raw in egress["raws"]] == [
        sha256(content) for content in uploads
    ]
    assert all(raw["kept"] for egress in end["egresses"] for raw in egress["raws"])
    assert stage.kinds()[-1] == "recording.failed"
