"""Pictures of any shape and colour in a composite, and strokes on them."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from media.recordings.tiles import Join, placements, tile_layout
from media.video.composite_values import CompositeSettings, ParticipantFile
from media.video.placing import Rect
from media.video.stage import BACKGROUND
from media.video.strokes.document import parse_annotations
from media.video.strokes.painter import StrokePainter
from media.video.strokes.timeline import StrokeTimeline
from tests.media.recordings.composing import HEIGHT, SETTINGS, WIDTH, composed, participant, pictures, rect_of
from tests.media.video.filming import NOON, Film

BLACK_BELOW = 28


def painted(path: Path, colour: tuple[int, int, int], size: tuple[int, int], **tags: int) -> ParticipantFile:
    """A file of one colour, given in its own numbers, whose stream says `tags` of itself."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10, width=size[0], height=size[1])
        context = video.codec_context
        context.options = {"preset": "ultrafast", "qp": "4"}
        for name, value in tags.items():
            setattr(context, name, value)
        for number in range(3):
            frame = VideoFrame(*size, "yuv420p")
            for plane, level in zip(frame.planes, colour, strict=True):
                plane.update(bytes([level]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return ParticipantFile(path=path, tile=0, starts_at=NOON)


# A strong orange, #e06010, in the numbers of each matrix and range.
@pytest.mark.parametrize(
    ("colour", "size", "tags"),
    [
        ((117, 80, 187), (320, 180), {"color_range": 1, "colorspace": 1}),
        ((123, 74, 190), (320, 180), {"color_range": 1, "colorspace": 6}),
        ((117, 73, 196), (320, 180), {"color_range": 2, "colorspace": 1}),
        ((125, 66, 199), (320, 180), {"color_range": 2, "colorspace": 5}),
        # What says nothing of itself is BT.601 when it is small, BT.709 when it is large: as players have it.
        ((123, 74, 190), (320, 180), {}),
        ((117, 80, 187), (1280, 720), {}),
    ],
)
def test_colours_come_out_as_bt709_in_limited_range(
    colour: tuple[int, int, int], size: tuple[int, int], tags: dict[str, int], tmp_path: Path
) -> None:
    expected = [117, 80, 187]
    seen = pictures(composed([painted(tmp_path / "0.mp4", colour, size, **tags)], tmp_path / "composite.mp4").path)
    for plane, level in zip(seen[1].planes, expected, strict=True):
        assert np.abs(plane.astype(int) - level).max() <= 2


def shape_of(film: Film, folder: Path) -> tuple[int, int, int, int]:
    """Where the picture of a film stands in its own tile, the right one of two: x, y, width, height from the tile."""
    files = [participant(folder / "0.mp4", 0), participant(folder / "1.mp4", 1, wanted=film)]
    settings = CompositeSettings(width=1280, height=720, preset="ultrafast", frame_rate=5)
    placing = placements([Join(tile=tile, at_us=NOON) for tile in (0, 1)], width=1280, height=720)
    seen = pictures(composed(files, folder / "composite.mp4", placing=placing, settings=settings).path)[1]
    tile = seen.part(tile_layout([0, 1], 1280, 720)[1]) > BLACK_BELOW
    rows, columns = np.flatnonzero(tile.any(axis=1)), np.flatnonzero(tile.any(axis=0))
    assert not seen.planes[0][:176].max() > BLACK_BELOW  # nothing above the tiles
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


@pytest.mark.parametrize(
    ("film", "expected"),
    [
        (Film(seconds=0.6, size=(320, 180)), (0, 0, 640, 360)),
        (Film(seconds=0.6, size=(320, 240)), (80, 0, 480, 360)),
        (Film(seconds=0.6, size=(180, 320)), (218, 0, 202, 360)),
        (Film(seconds=0.6, size=(320, 90)), (0, 90, 640, 180)),
        (Film(seconds=0.6, size=(320, 180), rotation=90), (218, 0, 202, 360)),
        (Film(seconds=0.6, size=(240, 240), aspect=Fraction(4, 3)), (80, 0, 480, 360)),
        (Film(seconds=0.6, size=(854, 480)), (0, 0, 640, 360)),
    ],
)
def test_a_picture_keeps_its_shape_upright_and_whole_in_the_middle_of_its_tile(
    film: Film, expected: tuple[int, int, int, int], tmp_path: Path
) -> None:
    assert shape_of(film, tmp_path) == pytest.approx(expected, abs=3)


def test_the_background_is_the_published_one(tmp_path: Path) -> None:
    published = json.loads((Path(__file__).parents[3] / "media" / "recordings" / "tiles.json").read_text())
    levels = tuple(published["background"][name] for name in ("y", "cb", "cr"))
    assert levels == BACKGROUND
    files = [participant(tmp_path / "0.mp4", 0), participant(tmp_path / "1.mp4", 1)]
    seen = pictures(composed(files, tmp_path / "composite.mp4").path)[3]
    for plane, level in zip(seen.planes, BACKGROUND, strict=True):
        assert np.abs(plane[: HEIGHT // 8].astype(int) - level).max() <= 2


def rectangle(tile: int, at_ms: int, *, colour: str = "#ff0000") -> dict[str, Any]:
    """A thick frame around all of a tile's picture."""
    points = [[0.0, 0.0, at_ms], [1.0, 1.0, at_ms]]
    return {
        "id": f"s{tile}",
        "tile": tile,
        "author": "ann",
        "tool": "rectangle",
        "colour": colour,
        "opacity": 1.0,
        "width": 0.1,
        "points": points,
    }


def painter(*strokes: dict[str, Any], actions: Sequence[dict[str, Any]] = ()) -> StrokePainter:
    document = parse_annotations(
        json.dumps(
            {
                "format": "indelible-annotations/1",
                "started_at": "2026-03-01T12:00:00.000000Z",
                "strokes": list(strokes),
                "actions": list(actions),
            }
        ).encode()
    )
    return StrokePainter(StrokeTimeline(document), offset_us=-document.started_at_us)


def redness(seen: Any, rect: Rect) -> float:
    """How much of a rectangle is red."""
    return float((seen.part(rect, 2) > 200).mean())


DRAWN_ON = {
    "24": Film(seconds=1, rate=24, size=(320, 240)),
    "30": Film(seconds=1, rate=30, b_frames=2, size=(320, 240)),
    "uneven": Film(stamps=[0, 33_000, 50_000, 300_000, 399_900, 699_000, 700_100, 848_000, 960_000], size=(320, 240)),
}


@pytest.mark.parametrize("rate", DRAWN_ON)
def test_a_stroke_is_on_the_picture_of_its_tile_from_its_time_until_its_erasure_and_moves_with_it(
    rate: str, tmp_path: Path
) -> None:
    files = [
        participant(tmp_path / "0.mp4", 0),
        participant(tmp_path / "1.mp4", 1, wanted=DRAWN_ON[rate]),
        participant(tmp_path / "2.mp4", 2, starts=0.7, wanted=Film(seconds=0.3, rate=20)),
    ]
    erased = {"action": "erase", "at": 850, "author": "ann", "strokes": ["s1"]}
    drawn = painter(rectangle(1, 400), actions=[erased])
    composite = composed(files, tmp_path / "composite.mp4", painter=drawn)
    assert composite.strokes_painted == 1
    for one in pictures(composite.path):
        tiles = [0, 1] if one.at_us < 700_000 else [0, 1, 2]
        tile = rect_of(1, tiles)
        # A picture of 4:3 in its tile: the stroke runs around the picture, not around the tile.
        picture = Rect(x=tile.x + 20, y=tile.y, width=120, height=90)
        inside, beside = redness(one, picture), redness(one, Rect(x=tile.x, y=tile.y, width=16, height=90))
        assert beside == 0
        assert redness(one, rect_of(0, tiles)) == 0
        if one.at_us < 390_000 or one.at_us > 860_000:
            assert inside == 0
        elif 410_000 < one.at_us < 840_000:
            assert 0.1 < inside < 0.35


def test_a_stroke_on_the_tile_of_somebody_away_stays_where_their_picture_was(tmp_path: Path) -> None:
    files = [
        participant(tmp_path / "0.mp4", 0),
        participant(tmp_path / "1.mp4", 1, wanted=Film(seconds=0.5, rate=20, size=(320, 240))),
    ]
    composite = composed(files, tmp_path / "composite.mp4", painter=painter(rectangle(1, 200)))
    tile = rect_of(1, [0, 1])
    last = pictures(composite.path)[-1]
    assert redness(last, Rect(x=tile.x + 20, y=tile.y, width=120, height=90)) > 0.1
    assert redness(last, Rect(x=tile.x, y=tile.y, width=16, height=90)) == 0


def test_a_picture_as_large_as_the_composite_is_taken_as_it_is(tmp_path: Path) -> None:
    files = [participant(tmp_path / "0.mp4", 0, wanted=Film(seconds=0.3, rate=30, size=(WIDTH, HEIGHT)))]
    assert SETTINGS.width == WIDTH
    numbers = [
        one.number(Rect(x=0, y=0, width=WIDTH, height=HEIGHT))
        for one in pictures(composed(files, tmp_path / "c.mp4").path)
    ]
    assert numbers == list(range(9))
