"""Keys of objects: every clip in its place, and no identifier that leads out of it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import MediaError, Reason
from media.storage.keys import artefact_key, clip_prefix, prefix_of

EVENT_AT = 1_795_000_000_000_000
SAFE = re.compile(
    r"[a-z0-9][a-z0-9-]{0,63}/\d{4}/\d{2}/\d{2}/[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62}/", re.ASCII
)


def test_a_key_names_organisation_day_camera_incident_and_artefact() -> None:
    prefix = clip_prefix("acme", EVENT_AT, "gate", "inc-1")
    assert artefact_key(prefix, "clip.mp4") == "acme/2026/11/18/gate/inc-1/clip.mp4"
    assert prefix_of("acme/2026/11/18/gate/inc-1/clip.mp4") == prefix


@given(st.text(max_size=70), st.text(max_size=70), st.text(max_size=70), st.integers(-(2**63), 2**63 - 1))
def test_whatever_is_given_the_key_is_safe_or_there_is_none(
    organisation: str, camera: str, incident: str, event_at: int
) -> None:
    try:
        answer = clip_prefix(organisation, event_at, camera, incident)
    except MediaError as error:
        answer = error.reason
    assert answer == Reason.INVALID_ARGUMENT or SAFE.fullmatch(answer)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
)
def test_different_cameras_and_incidents_never_share_a_prefix(a: str, b: str, c: str, d: str) -> None:
    first, second = clip_prefix("acme", EVENT_AT, a, b), clip_prefix("acme", EVENT_AT, c, d)
    assert (first == second) == ((a, b) == (c, d))
    assert first == second or not (first.startswith(second) or second.startswith(first))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "A",
        "ä",
        "a b",
        "a\n",
        "a\x00",
        "-a",
        "_a",
        "a" * 65,
        "%2e%2e",
        "a?b",
        "a#b",
        "٣",
        "ﬀ",
    ],
)
def test_an_identifier_that_could_mean_something_else_is_refused(text: str) -> None:
    for arguments in ((text, "gate", "inc"), ("acme", text, "inc"), ("acme", "gate", text)):
        with pytest.raises(MediaError) as caught:
            clip_prefix(arguments[0], EVENT_AT, arguments[1], arguments[2])
        assert caught.value.reason is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["", "../clip.mp4", "a/clip.mp4", ".hidden", "Clip.mp4", "clip.mp4\n", "x" * 64])
def test_an_artefact_without_a_plain_name_has_no_key(name: str) -> None:
    with pytest.raises(MediaError):
        artefact_key("acme/2026/11/18/gate/inc-1/", name)
