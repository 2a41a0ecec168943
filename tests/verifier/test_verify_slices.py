"""What is wrong in one line is found among many lines of its shape, although every hash is right."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.verifier.bundle_forge import STARTED, Chain
from verifier.quick_lines import QuickReader
from verifier.slices import check_slice


@pytest.mark.parametrize("change", [b"\n", b"\x1f", b"0", b" "])
def test_a_change_anywhere_in_a_line_of_a_known_shape_is_found_as_if_it_stood_alone(change: bytes) -> None:
    chain = Chain().open()
    for number in range(120):
        chain.add("door.opened", {"door": "north", "n": number, "text": "x" * 500})
    reader = QuickReader()
    assert not check_slice(chain.events, reader).problems
    line = chain.lines[100]
    events = b"".join(one + b"\n" for one in chain.lines[97:103])
    start = events.index(line)
    for at in {*range(230), *range(230, len(line), 7), *range(len(line) - 110, len(line))} - {
        place for place in range(len(line)) if line[place : place + 1] == change
    }:
        changed = events[: start + at] + change + events[start + at + 1 :]
        result = check_slice(changed, reader)
        assert result.count == 3, at
        alone = check_slice(changed[start : changed.index(b"\n", start) + 1], QuickReader())
        assert {code for code, _ in alone.problems} <= {code for code, _ in result.problems}, at


NOT_CANONICAL = [b"no\x01rth", b"no\nrth", b"no\trth", b"\x1f", b"\xff", b"\\u0041", b"\\/", b'", "n":1,"x":"']


def forged(payload: bytes, kind: str = "door.opened") -> tuple[bytes, bytes]:
    """A chain whose hashes are right, with one event among many of its shape that is not as the format wants it."""
    chain = Chain().open()
    for number in range(120):
        chain.add("door.opened", {"door": "north", "n": number, "text": "x" * 500})
    chain.add(kind, payload)
    for number in range(120):
        chain.add("door.opened", {"door": "north", "n": number, "text": "x" * 500})
    return chain.events, chain.lines[121]


@pytest.mark.parametrize("text", NOT_CANONICAL)
def test_a_payload_that_is_not_canonical_is_found_although_its_hash_is_right(text: bytes) -> None:
    events, _ = forged(b'{"door":"' + text + b'","n":1,"text":"y"}')
    result = check_slice(events, QuickReader())
    assert result.count == 121
    assert {code for code, _ in result.problems} <= {"event-not-canonical", "event-malformed"}
    assert result.problems


@pytest.mark.parametrize(
    ("old", "new"),
    [(b".000006Z", b".00_006Z"), (b".000006Z", b". 00006Z"), (b".000006Z", b".+00006Z"), (b".000006Z", b"x000006Z")],
)
def test_a_time_written_otherwise_is_found_although_its_hash_is_right(old: bytes, new: bytes) -> None:
    events, line = forged(b'{"door":"north","n":1,"text":"y"}')
    assert line.count(old) == 1
    result = check_slice(events.replace(line, line.replace(old, new)), QuickReader())
    assert (result.count, [code for code, _ in result.problems]) == (121, ["event-malformed"])


@pytest.mark.parametrize("moment", [STARTED - timedelta(microseconds=1), datetime(1969, 12, 31, tzinfo=UTC)])
def test_a_time_that_goes_back_among_lines_of_a_known_shape_is_found_although_its_hash_is_right(
    moment: datetime,
) -> None:
    chain = Chain()
    for number in range(240):
        payload = {"door": "north", "n": number, "text": "x" * 500}
        # All of one time but for one, so that what was looked up for one event is looked up again for others.
        chain.add("door.opened", payload, moment=moment if number == 121 else STARTED, sequence=number + 2)
    reader = QuickReader()
    assert [code for code, _ in check_slice(chain.events, reader).problems] == ["event-time-order"]
    # Once more, when nothing is new.
    result = check_slice(chain.events, reader)
    assert (result.count, [code for code, _ in result.problems]) == (121, ["event-time-order"])


def test_hashes_in_capitals_are_found_although_their_bytes_are_right() -> None:
    events, line = forged(b'{"door":"north","n":1,"text":"y"}')
    stated = line[9:73]
    assert stated != stated.upper()
    result = check_slice(events.replace(stated, stated.upper()), QuickReader())
    assert (result.count, [code for code, _ in result.problems]) == (121, ["event-malformed"])
    opening = events.index(b'"prev_hash":"')
    first = events.index(b'"prev_hash":"', opening + 1) + len(b'"prev_hash":"')
    cut = events[events.index(b"\n") + 1 :]
    changed = cut.replace(events[first : first + 64], events[first : first + 64].upper())
    reader = QuickReader()
    assert check_slice(cut, reader).count == 241
    assert check_slice(changed, reader).count == 0


@pytest.mark.parametrize("kind", ["door.opened\x01", "Door.opened", "door", "door.open\ned", "door..opened"])
def test_a_kind_of_another_form_is_found_although_its_hash_is_right(kind: str) -> None:
    events, _ = forged(b'{"door":"north","n":1,"text":"y"}', kind)
    result = check_slice(events, QuickReader())
    assert result.count == 121
    assert result.problems
