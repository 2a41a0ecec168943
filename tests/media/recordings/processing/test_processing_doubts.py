"""What LiveKit left in parts, with holes, or not at all: shown as far as it goes, told, and nothing of it dropped."""

import io
from dataclasses import replace

import av

from media.recordings.plan import joins, plan_of_files
from media.recordings.tiles import tile_layout
from media.records.recording_values import Member
from sandbox.livekit.film import Shown, cut_tile, film_room, read_marker
from tests.media.recordings.processing.staging import FILMING, SECOND, STARTED_AT, Left, Stage, film, stroke
from tests.media.recordings.processing.test_processing import checked, file_of, nothing_is_lost, picture, redness
from tests.media.recordings.processing.test_recording_events import restless


def hurt(video: bytes, part: float) -> bytes:
    """The same file with the end of one picture's bytes overwritten: still whole for whoever counts packets."""
    with av.open(io.BytesIO(video), "r") as source:
        packet = [one for one in source.demux(source.streams.video[0]) if one.dts is not None][5]
        place, size = packet.pos, packet.size
    assert place is not None
    kept = place + round(part * size)
    return video[:kept] + bytes(place + size - kept) + video[place + size :]


async def test_a_room_that_was_filmed_in_parts_has_a_composite_of_each(stage: Stage) -> None:
    def room(starts_at: int) -> bytes:
        shown = tuple(Shown(number=tile, tile=tile, from_us=starts_at, to_us=starts_at + SECOND) for tile in (0, 1))
        return film_room(FILMING, shown, starts_at, SECOND, 30)

    parts = [
        Left(tile=None, uploads=(room(STARTED_AT),), outcome="CUT_BY_LIMIT"),
        Left(tile=None, stay=2, starts_after=1.5, uploads=(b"<html>" * 99,)),
        Left(tile=None, stay=3, starts_after=3, uploads=(room(STARTED_AT + 3 * SECOND),)),
    ]
    work = await stage.processed(
        await stage.recorded(
            Left(tile=0, seconds=4), Left(tile=1), *parts, composite="ROOM", annotations=stroke(tile=1)
        )
    )
    contents = nothing_is_lost(stage, work)
    first, second = file_of(work, "composite.mp4"), file_of(work, "composite-2.mp4")
    assert (first.starts_at, second.starts_at) == (STARTED_AT, STARTED_AT + 3 * SECOND)
    assert [redness(contents[one.name], 0.7, x=0.75, y=0.6) > 100 for one in (first, second)] == [True, True]
    (end,) = stage.payloads("recording.completed")
    accounts = {one["stay"]: one for one in end["egresses"] if one["of"] == "composite"}
    assert [accounts[stay]["files"] for stay in (1, 2, 3)] == [["composite.mp4"], [], ["composite-2.mp4"]]
    assert accounts[2]["problem"] == "no composite could be made of it"
    assert [[raw["kept"] for raw in accounts[stay]["raws"]] for stay in (1, 2, 3)] == [
        ["LiveKit cut the recording short at a limit"],
        ["no file was made of it"],
        [None],
    ]
    assert any("filmed the room in 3 parts" in note for note in end["notes"])


async def test_a_room_of_which_nothing_can_be_shown_has_a_composite_of_the_files(stage: Stage) -> None:
    broken = Left(tile=None, uploads=(film_room(FILMING, (), STARTED_AT, SECOND, 30)[:900],))
    work = await stage.processed(await stage.recorded(Left(tile=0), broken, composite="ROOM"))
    contents = nothing_is_lost(stage, work)
    assert read_marker(picture(contents["composite.mp4"], 0.5)) == 0
    (end,) = stage.payloads("recording.completed")
    assert any("built of the participants' files" in note for note in end["notes"])


async def test_a_raw_object_of_which_not_everything_could_be_read_stays(stage: Stage) -> None:
    recording_id = await stage.recorded(
        Left(tile=0),
        Left(tile=1, uploads=(hurt(film(1), 0.5),)),
        Left(tile=4, uploads=(hurt(film(4), 0.02),)),
        Left(tile=2, is_told=False),
        Left(tile=3, uploads=(film(3, seconds=0.4),), seconds=2),
    )
    work = await stage.processed(recording_id)
    contents = nothing_is_lost(stage, work)
    (end,) = stage.payloads("recording.completed")
    kept = {one["tile"]: [raw["kept"] for raw in one["raws"]] for one in end["egresses"]}
    assert kept == {
        0: [None],
        1: ["not all of its pictures and sound could be read"],
        # Nobody said when it begins.
        2: ["it is not in the composite"],
        3: [None],
        4: ["not all of its pictures and sound could be read"],
    }
    notes = {one["name"]: one["notes"] for one in checked(contents["recording.json"])["artefacts"]}
    assert notes["participant-1.mp4"] == ["1 pictures are damaged and shown as far as they could be decoded"]
    assert notes["participant-4.mp4"] == ["1 pictures could not be decoded and are missing"]
    assert "composite.mp4: tile 3 shows no picture from 0.4 s to 1.0 s: its file has none there" in end["notes"]


async def test_strokes_of_another_time_keep_the_raw_object_and_no_event_from_its_chain(stage: Stage) -> None:
    long_ago = stroke().replace(b"2026-11-18", b"1971-11-18")
    assert long_ago != stroke()
    work = await stage.processed(await stage.recorded(Left(tile=0, seconds=0.5), annotations=long_ago))
    nothing_is_lost(stage, work)
    assert [one["annotation_offset_us"] for one in stage.payloads("recording.file_stored")] == [None] * len(work.files)
    (egress,) = stage.payloads("recording.completed")[0]["egresses"]
    assert [raw["kept"] for raw in egress["raws"]] == ["strokes that were drawn could not be burned in"]


def test_a_file_that_is_dated_to_another_year_costs_no_one_else_the_composite() -> None:
    recording = restless(3)
    years = 400 * 24 * 3600 * SECOND
    for off in (-years, years):
        starts = [STARTED_AT + 5 * SECOND, STARTED_AT + off, STARTED_AT + 3600 * SECOND]
        dated = [replace(one, file_started_at=at) for one, at in zip(recording.egresses, starts, strict=True)]
        plan = plan_of_files(replace(recording, egresses=tuple(dated)))
        assert plan is not None
        assert [(part.egress.tile, part.starts_at_us // SECOND) for part in plan.parts] == [(0, 0), (2, 3595)]
        assert plan.notes == (
            "the file participant-1.mp4 is not in the composite: LiveKit says that it begins at another time",
        )


def test_a_tile_is_there_before_the_first_picture_in_it_whatever_the_clocks_say() -> None:
    recording = restless(3)
    (late,) = (one for one in recording.egresses if one.tile == 2)
    members = tuple(
        Member(participant=f"p-{tile}", role="FIELD", tile=tile, first_seen_at=STARTED_AT + seconds * SECOND)
        for tile, seconds in ((0, 3), (1, -1), (2, 4))
    )
    egresses = (*recording.egresses[:2], replace(late, file_started_at=None))
    found = joins(replace(recording, members=members, egresses=egresses))
    assert [(one.tile, (one.at_us - STARTED_AT) // SECOND) for one in found] == [(1, -1), (0, 0), (2, 4)]


async def test_who_had_a_tile_and_was_never_recorded_leaves_it_empty(stage: Stage) -> None:
    drawn = stroke(tile=5)
    work = await stage.processed(await stage.recorded(Left(tile=0), Left(tile=2), absent=(1,), annotations=drawn))
    contents = nothing_is_lost(stage, work)
    frame = picture(contents["composite.mp4"], 0.5)
    layout = tile_layout([0, 1, 2], frame.width, frame.height)
    assert [read_marker(cut_tile(frame, layout[tile])) for tile in (0, 2)] == [0, 2]
    # Nor is anything drawn where no tile is, which the chain says.
    (end,) = stage.payloads("recording.completed")
    assert end["notes"] == ["composite.mp4: strokes of tiles that nobody was given are not drawn: 1"]
    tiles = checked(contents["recording.json"])["tiles"]
    assert [(one["tile"], one["participant"]) for one in tiles] == [(0, "operator"), (1, "field-1"), (2, "field-2")]
