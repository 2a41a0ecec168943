"""Annotation documents: what is accepted, what is refused and where, and that nothing else ever happens."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import MediaError, Reason
from media.video.strokes.document import (
    MOST_BYTES,
    AnnotationDocument,
    annotation_offset,
    annotation_schema,
    parse_annotations,
)
from tests.media.video.strokes.drawing import clear, document, erase, stroke

POINT = [0.5, 0.5, 100]


def published() -> Any:
    return json.loads((files("media.video.strokes") / "schemas" / "annotations-1.json").read_text())


def test_the_published_schema_is_that_of_the_code() -> None:
    assert published() == annotation_schema()


def test_a_document_that_is_read_agrees_with_the_published_schema() -> None:
    jsonschema: Any = pytest.importorskip("jsonschema", reason="the schemas are checked with jsonschema")
    jsonschema.Draft202012Validator.check_schema(published())
    whole = document([stroke([POINT])], [erase(200, "s"), clear(300), clear(300, 1)])
    parse_annotations(whole)
    jsonschema.Draft202012Validator(published()).validate(json.loads(whole))


def test_the_example_of_the_specification_is_a_document() -> None:
    page = (Path(__file__).parents[4] / "docs/spec/annotations.md").read_text()
    example = page.partition("```json\n")[2].partition("```")[0]
    read = parse_annotations(example.encode())
    assert [stroke.tool for stroke in read.strokes] == ["pen", "rectangle"]
    assert [action.at for action in read.actions] == [9000, 15000]


def test_the_offset_is_from_the_annotation_clock_to_the_start_of_the_file() -> None:
    noon = 1_772_366_400_000_000
    read = parse_annotations(document([], started_at="2026-03-01T12:00:00.25Z"))
    assert annotation_offset(read, noon + 1_000_000) == 750_000


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in stroke([POINT]).items() if key != name}


@pytest.mark.parametrize(
    ("whole", "field"),
    [
        (document([], format="indelible-annotations/2"), "format"),
        (document([], more=1), "more"),
        (document([], started_at="2026-03-01T12:00:00+00:00"), "started_at"),
        (document([], started_at="2026-02-30T12:00:00Z"), "started_at"),
        (document([], started_at=1_772_366_400), "started_at"),
        (document([], started_at="1969-12-31T23:59:59Z"), "started_at"),
        (document([], started_at="2200-01-01T00:00:00Z"), "started_at"),
        (document([], started_at="2199-12-31T23:59:59Z"), None),
        (document([without("author")]), "strokes.0.author"),
        (document([stroke([POINT], note="x")]), "strokes.0.note"),
        (document([stroke([POINT], tool="text")]), "strokes.0.tool"),
        (document([stroke([POINT], colour="red")]), "strokes.0.colour"),
        (document([stroke([POINT], colour="#ff00000")]), "strokes.0.colour"),
        (document([stroke([POINT], colour="#ff0000\n")]), "strokes.0.colour"),
        (document([stroke([POINT], opacity=0)]), "strokes.0.opacity"),
        (document([stroke([POINT], opacity=1.01)]), "strokes.0.opacity"),
        (document([stroke([POINT], opacity="1")]), "strokes.0.opacity"),
        (document([stroke([POINT], width=0.2)]), "strokes.0.width"),
        (document([stroke([POINT], tile=-1)]), "strokes.0.tile"),
        (document([stroke([POINT], tile=True)]), "strokes.0.tile"),
        (document([stroke([POINT], tile=1.0)]), "strokes.0.tile"),
        (document([stroke([POINT], id="")]), "strokes.0.id"),
        (document([stroke([POINT], id="a\x00")]), "strokes.0.id"),
        (document([stroke([POINT], id="a" * 129)]), "strokes.0.id"),
        (document([stroke([])]), "strokes.0.points"),
        (document([stroke([POINT] * 5001)]), "strokes.0.points"),
        (document([stroke([[0.5, 0.5]])]), "strokes.0.points.0.2"),
        (document([stroke([[0.5, 0.5, 1, 1]])]), "strokes.0.points.0"),
        (document([stroke([[0.5, -0.01, 1]])]), "strokes.0.points.0.1"),
        (document([stroke([[1.0001, 0.5, 1]])]), "strokes.0.points.0.0"),
        (document([stroke([[0.5, 0.5, 1.5]])]), "strokes.0.points.0.2"),
        (document([stroke([[0.5, 0.5, 604_800_001]])]), "strokes.0.points.0.2"),
        (document([stroke([[0.5, 0.5, 2], [0.5, 0.5, 1]])]), "strokes.0.points.1.2"),
        (document([stroke([POINT]), stroke([POINT])]), "strokes.1.id"),
        (document([stroke([POINT]), stroke([[0, 0, 99]], id="t")]), "strokes.1.points.0.2"),
        (document([], [{"action": "undo", "at": 1, "author": "ann"}]), "actions.0"),
        (document([], [{"action": "clear", "at": 1, "author": "ann"}]), "actions.0.tile"),
        (document([stroke([POINT])], [erase(200)]), "actions.0.strokes"),
        (document([stroke([POINT])], [erase(200, "s", "t")]), "actions.0.strokes.1"),
        (document([stroke([POINT])], [erase(99, "s")]), "actions.0.strokes.0"),
        (document([], [clear(2), clear(1)]), "actions.1.at"),
        (document([stroke([[0, 0, n] for n in range(5000)], id=str(k)) for k in range(2)]), None),
        (document([stroke([[0, 0, 0], [1, 1, 0]], id=str(n)) for n in range(1000)]), "strokes"),
        (document([stroke([[0, 0, 0]] + [[1, 1, 0]] * 4999, tool="ellipse")]), "strokes"),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused_with_the_path(whole: bytes, field: str | None) -> None:
    if field is None:
        parse_annotations(whole)
        return
    with pytest.raises(MediaError) as refused:
        parse_annotations(whole)
    assert (refused.value.reason, refused.value.metadata["field"]) == (Reason.INVALID_ARGUMENT, field)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{",
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        document([])[:-1] + b',"format":"indelible-annotations/1"}',
        document([stroke([POINT])]).replace(b"0.5", b"NaN", 1),
        document([stroke([POINT])]).replace(b"0.5", b"1e999", 1),
        document([stroke([POINT])]).replace(b"100", b"1" * 5000, 1),
        document([stroke([POINT])]).replace(b'"ann"', b'"\\ud800"', 1),
        document([]).decode().encode("utf-16"),
        b'{"' + b'\\"' * 1_000_000,
    ],
    ids=range(14),
)
def test_what_is_no_such_document_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(MediaError) as refused:
        parse_annotations(data)
    assert refused.value.reason == Reason.INVALID_ARGUMENT


def test_a_document_over_the_limit_is_too_large() -> None:
    with pytest.raises(MediaError) as refused:
        parse_annotations(document([]) + b" " * MOST_BYTES)
    assert refused.value.reason == Reason.TOO_LARGE


def test_too_many_points_in_all_are_refused() -> None:
    strokes = [stroke([[0, 0, 0]] * 4_001, id=str(n), width=0.001) for n in range(50)]
    with pytest.raises(MediaError) as refused:
        parse_annotations(json.dumps(json.loads(document(strokes)), separators=(",", ":")).encode())
    assert "200000 points" in refused.value.message


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def nearly(draw: st.DrawFn) -> Any:
    """A sound document in which one value anywhere is replaced, removed or doubled."""
    whole = json.loads(document([stroke([POINT, [0, 1, 100]]), stroke([POINT], id="t")], [erase(200, "s"), clear(300)]))
    place: Any = whole
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.booleans()):
            break
        place = place[key]
    match draw(st.sampled_from(["replace", "remove", "double"])):
        case "remove":
            del place[key]
        case "double" if isinstance(place, list):
            place.append(place[key])
        case _:
            place[key] = draw(ANYTHING)
    return whole


@settings(max_examples=300, deadline=None)
@given(nearly())
def test_a_damaged_document_gives_a_success_or_a_clear_error_and_nothing_else(whole: Any) -> None:
    data = json.dumps(whole).encode()
    outcome = read_or_refused(data)
    if isinstance(outcome, MediaError):
        assert outcome.reason == Reason.INVALID_ARGUMENT
        assert outcome.metadata["field"]
    else:
        # What is accepted has places for everything, and can be written and read again.
        assert parse_annotations(outcome.model_dump_json().encode()) == outcome


def read_or_refused(data: bytes) -> AnnotationDocument | MediaError:
    try:
        return parse_annotations(data)
    except MediaError as error:
        return error


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_give_a_clear_error(data: bytes) -> None:
    with pytest.raises(MediaError):
        parse_annotations(data)
