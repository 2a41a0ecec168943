import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.clips.sources import Bucket, SourceKind, Sources
from media.clips.sources_file import SourcesError, load_sources
from media.errors import MediaError, Reason

NOON = 1_772_366_400_000_000
SECOND = 1_000_000

GOOD = """
[organisations.acme]
after_seconds = 90

[organisations.acme.sources.gate-1]
kind = "directory"
camera = "gate-1"
path = "gate-1"
names = "%Y-%m-%d/%H-%M-%S.mp4"
time_zone = "Europe/Paris"
before_seconds = 10

[organisations.acme.sources.gate-2]
kind = "s3"
camera = "gate-2"
bucket = "footage"
prefix = "gate-2/"
endpoint_url = "https://s3.example.com"
keys_file = "keys"
names = "%Y%m%dT%H%M%S%z.ts"

[organisations.acme.sources.yard]
kind = "recorder"
camera = "yard"
path = "/srv/yard"
wait_seconds = 30

[organisations.other.sources.secret-source]
kind = "recorder"
camera = "secret-camera"
path = "/srv/secret"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "keys").write_text("AKEY:very-secret\n")
    return tmp_path / "sources.toml"


def load(file: Path, text: str) -> Sources:
    file.write_text(text)
    return load_sources(file)


def problems(file: Path, text: str) -> str:
    with pytest.raises(SourcesError) as refused:
        load(file, text)
    return str(refused.value)


def test_a_sources_file_names_directories_buckets_and_recorders(file: Path) -> None:
    sources = load(file, GOOD)
    gate = sources.find("acme", "gate-1")
    assert (gate.kind, gate.camera_id, gate.location) == (SourceKind.DIRECTORY, "gate-1", file.parent / "gate-1")
    bucket = sources.find("acme", "gate-2").location
    assert isinstance(bucket, Bucket)
    assert (bucket.name, bucket.prefix, bucket.access_key) == ("footage", "gate-2/", "AKEY")
    assert sources.find("acme", "yard").wait_us == 30 * SECOND


def test_keys_of_a_store_are_not_shown(file: Path) -> None:
    assert "very-secret" not in repr(load(file, GOOD))


def test_another_organisations_source_is_refused_in_the_words_for_one_that_does_not_exist(file: Path) -> None:
    sources = load(file, GOOD)
    told = []
    for organisation, source in (("acme", "secret-source"), ("acme", "nonsense-name"), ("nobody", "secret-source")):
        with pytest.raises(MediaError) as refused:
            sources.find(organisation, source)
        assert refused.value.reason is Reason.SOURCE_NOT_FOUND
        told.append(refused.value.message.replace(source, "NAME"))
    assert len(set(told)) == 1


def test_a_camera_is_found_only_in_its_own_organisation_and_only_if_it_is_one(file: Path) -> None:
    twice = GOOD.replace('camera = "yard"', 'camera = "gate-2"')
    assert load(file, GOOD).find_camera("acme", "gate-2").source_id == "gate-2"
    for text, camera in ((GOOD, "secret-camera"), (twice, "gate-2")):
        with pytest.raises(MediaError) as refused:
            load(file, text).find_camera("acme", camera)
        assert refused.value.reason is Reason.SOURCE_NOT_FOUND


def test_the_window_comes_from_the_request_then_the_source_then_the_organisation(file: Path) -> None:
    sources = load(file, GOOD)
    gate = sources.find("acme", "gate-1")
    window = sources.window(gate, NOON)
    assert (NOON - window.asked_from, window.asked_to - NOON) == (10 * SECOND, 90 * SECOND)
    window = sources.window(gate, NOON, before_seconds=1, after_seconds=2)
    assert (NOON - window.asked_from, window.asked_to - NOON) == (SECOND, 2 * SECOND)
    other = sources.window(sources.find("other", "secret-source"), NOON)
    assert (NOON - other.asked_from, other.asked_to - NOON) == (30 * SECOND, 60 * SECOND)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('kind = "directory"', 'kind = "ftp"', "sources.gate-1], kind"),
        ('camera = "gate-1"', "", "sources.gate-1], camera"),
        ('camera = "gate-1"', 'camera = "../gate"', "sources.gate-1], camera"),
        ('camera = "gate-1"', 'camera = "Gate"', "sources.gate-1], camera"),
        ('path = "gate-1"', "", "sources.gate-1], path"),
        ('path = "gate-1"', "path = 7", "sources.gate-1], path"),
        ('path = "gate-1"', 'path = "a\\u0000b"', "sources.gate-1], path"),
        ('time_zone = "Europe/Paris"', "", "time_zone"),
        ('time_zone = "Europe/Paris"', 'time_zone = "Mars"', "sources.gate-1], time_zone"),
        ("%H-%M-%S", "", "sources.gate-1], names"),
        ("before_seconds = 10", "before_seconds = 10.5", "sources.gate-1], before_seconds"),
        ("before_seconds = 10", "before_seconds = true", "sources.gate-1], before_seconds"),
        ("before_seconds = 10", "before_seconds = 3601", "sources.gate-1], before_seconds"),
        ("before_seconds = 10", "before_seconds = 10\nafter_seconds = 3600", "at most 3600"),
        ("before_seconds = 10", "before_second = 10", "before_second: unknown key"),
        ("after_seconds = 90", "after_seconds = -1", "[organisations.acme], after_seconds"),
        ("after_seconds = 90", "colour = 1", "[organisations.acme], colour: unknown key"),
        ("wait_seconds = 30", "wait_seconds = nan", "sources.yard], wait_seconds"),
        ("wait_seconds = 30", "wait_seconds = 1e9", "sources.yard], wait_seconds"),
        ("wait_seconds = 30", 'names = "%s"', "sources.yard], names: unknown key"),
        ("https://s3.example.com", "s3.example.com", "sources.gate-2], endpoint_url"),
        ("https://s3.example.com", "https://user:password@s3.example.com", "without name and password"),
        ('bucket = "footage"', "", "sources.gate-2], bucket"),
        ('keys_file = "keys"', 'keys_file = "nowhere"', "sources.gate-2], keys_file"),
        ("[organisations.acme]\n", '[organisations."../acme"]\n', "organisation"),
        ("[organisations.acme.sources.gate-1]", '[organisations.acme.sources."a/b"]', "a/b"),
        ("[organisations.acme]\n", "surprise = 1\n[organisations.acme]\n", "surprise: unknown key"),
    ],
)
def test_a_mistake_is_told_with_its_table_and_key(file: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    assert told in problems(file, GOOD.replace(old, new, 1))


def test_all_mistakes_are_told_at_once(file: Path) -> None:
    text = GOOD.replace('kind = "s3"', 'kind = "s4"').replace('path = "gate-1"', "path = 1")
    assert len(problems(file, text).splitlines()) == 2


def test_a_wrong_keys_file_is_told_without_its_content(file: Path) -> None:
    (file.parent / "keys").write_text("only-the-secret")
    told = problems(file, GOOD)
    assert "ACCESS_KEY:SECRET_KEY" in told
    assert "only-the-secret" not in told


@pytest.mark.parametrize(
    "text", ["[organisations", "organisations = 1", "organisations.acme = 1", "\x00", "a=" + "[" * 5000]
)
def test_what_is_not_a_sources_file_is_refused(file: Path, text: str) -> None:
    assert str(file) in problems(file, text)


def test_a_missing_or_endless_file_is_refused(file: Path) -> None:
    with pytest.raises(SourcesError, match="cannot be read"):
        load_sources(file)
    file.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(SourcesError, match="larger"):
        load_sources(file)


@given(text=st.text(max_size=200))
def test_no_text_makes_reading_fail_otherwise(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(SourcesError):
        load_sources(file)
