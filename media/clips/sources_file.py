"""The operator's sources file: where each organisation's cameras leave their footage, and how its names tell the time.

[organisations.acme]
after_seconds = 90                      # of every clip of this organisation, unless a source says otherwise

[organisations.acme.sources.gate-1]
kind = "directory"                      # or "recorder": the directory of `indelible camera record`
camera = "gate-1"
path = "/srv/footage/gate-1"
names = "%Y-%m-%d/%H-%M-%S.mp4"         # without it, files are placed by their own creation time, or when written
time_zone = "Europe/Paris"              # of the names, unless they tell it with %z

[organisations.acme.sources.gate-2]
kind = "s3"
camera = "gate-2"
bucket = "footage"
prefix = "gate-2/"
names = "%Y%m%dT%H%M%S%z.ts"

[organisations.acme.recordings]
composite = "room"                      # or "from_files": how the composite of a session's recording is made
stream_copy = true                      # a recorded file that needs no change is kept as it is
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

from media.clips.naming import NamePattern, parse_zone
from media.clips.sources import (
    Bucket,
    CompositeChoice,
    Organisation,
    RecordingChoice,
    Source,
    SourceKind,
    Sources,
)
from media.clips.window import MAX_WINDOW_SECONDS, WindowLengths
from media.errors import MediaError
from media.storage.keys import check_identifier, check_organisation
from media.video.recorder_ring import SEGMENT_NAMES

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_KEYS_FILE_BYTES = 4096

DEFAULT_CLOCK_ERROR_SECONDS = 2.0
# Names of our recorder's segments say when their first picture was read: later than it was taken by as much as opening
# the stream took (15 s at most), and the delay of an arrival.
RECORDER_CLOCK_ERROR_SECONDS = 20.0
DEFAULT_LONGEST_SEGMENT_SECONDS = 3600.0
DEFAULT_SETTLE_SECONDS = 10.0
DEFAULT_WAIT_SECONDS = 120.0
# A clock that is wrong by more places nothing.
MAX_CLOCK_ERROR_SECONDS = 3600.0
# A search begins so long before the window.
MAX_SEGMENT_SECONDS = 24 * 3600.0
MAX_SETTLE_SECONDS = 3600.0
MAX_WAIT_SECONDS = 24 * 3600.0

_MICROSECONDS = 1_000_000
_LENGTHS = ("before_seconds", "after_seconds")
_KEYS = {
    SourceKind.DIRECTORY: {"path", "names", "time_zone"},
    SourceKind.RECORDER: {"path"},
    SourceKind.S3: {"bucket", "prefix", "endpoint_url", "region", "keys_file", "names", "time_zone"},
}
_COMMON_KEYS = {
    "kind",
    "camera",
    "clock_error_seconds",
    "longest_segment_seconds",
    "settle_seconds",
    "wait_seconds",
    *_LENGTHS,
}

T = TypeVar("T")


class SourcesError(ValueError):
    """The sources file cannot be used; the text lists every problem with its table, key and remedy."""


def load_sources(path: Path) -> Sources:
    """Read and check the sources file, and every file it names. Raises SourcesError."""
    content = _read(path)
    problems: list[str] = []
    top = _Table("the top of the file", content, problems)
    top.refuse_unknown({"organisations"})
    organisations = {
        name: _organisation(name, table, path.parent, problems)
        for name, table in sorted(top.tables("organisations").items())
    }
    if problems:
        raise SourcesError("\n".join(f"{path}, {problem}" for problem in problems))
    return Sources(organisations=MappingProxyType(organisations))


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise SourcesError(f"{path}: larger than {MAX_FILE_BYTES} bytes; this cannot be a sources file")
        return tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise SourcesError(f"{path}: cannot be read ({error.strerror}); is the path right?") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise SourcesError(f"{path}: not valid TOML: {error}") from error


def _organisation(name: str, content: object, directory: Path, problems: list[str]) -> Organisation:
    table = _Table(f"[organisations.{name}]", content, problems)
    table.check("", check_organisation, name)
    table.refuse_unknown({"sources", "recordings", *_LENGTHS})
    sources = {
        source_id: _source(name, source_id, source, directory, problems)
        for source_id, source in sorted(table.tables("sources").items())
    }
    recordings = _Table(f"[organisations.{name}.recordings]", table.tables("recordings"), problems)
    recordings.refuse_unknown({"composite", "stream_copy"})
    return Organisation(
        lengths=table.lengths(),
        sources=MappingProxyType({key: value for key, value in sources.items() if value}),
        recordings=RecordingChoice(
            composite=recordings.composite(), stream_copy=recordings.flag("stream_copy", default=False)
        ),
    )


def _source(
    organisation_id: str, source_id: str, content: object, directory: Path, problems: list[str]
) -> Source | None:
    """The source, or None with its problems noted."""
    table = _Table(f"[organisations.{organisation_id}.sources.{source_id}]", content, problems)
    table.check("", lambda text: check_identifier(text, "source"), source_id)
    kind = table.kind()
    if kind is None:
        return None
    table.refuse_unknown(_COMMON_KEYS | _KEYS[kind])
    camera = table.required("camera", "give the camera's name")
    if camera:
        table.check("camera", lambda text: check_identifier(text, "camera"), camera)
    location = _bucket(table, directory) if kind is SourceKind.S3 else _directory(table, directory)
    return Source(
        organisation_id=organisation_id,
        source_id=source_id,
        camera_id=camera,
        kind=kind,
        location=location,
        names=NamePattern(SEGMENT_NAMES, None) if kind is SourceKind.RECORDER else table.names(),
        clock_error_us=table.microseconds(
            "clock_error_seconds",
            RECORDER_CLOCK_ERROR_SECONDS if kind is SourceKind.RECORDER else DEFAULT_CLOCK_ERROR_SECONDS,
            MAX_CLOCK_ERROR_SECONDS,
        ),
        longest_segment_us=table.microseconds(
            "longest_segment_seconds", DEFAULT_LONGEST_SEGMENT_SECONDS, MAX_SEGMENT_SECONDS
        ),
        settle_us=table.microseconds("settle_seconds", DEFAULT_SETTLE_SECONDS, MAX_SETTLE_SECONDS),
        wait_us=table.microseconds("wait_seconds", DEFAULT_WAIT_SECONDS, MAX_WAIT_SECONDS),
        lengths=table.lengths(),
    )


def _directory(table: "_Table", directory: Path) -> Path:
    text = table.required("path", "give the directory that the footage lies in")
    if "\0" in text:
        table.note("path", "is no path")
    # Not required to be there: a network drive may come later than the service.
    return directory / text


def _bucket(table: "_Table", directory: Path) -> Bucket:
    name = table.required("bucket", "give the name of the bucket that the footage lies in")
    endpoint = table.text("endpoint_url")
    if endpoint is not None:
        address = urlsplit(endpoint)
        if address.scheme not in {"http", "https"} or not address.hostname or "@" in address.netloc:
            table.note("endpoint_url", 'must be an address such as "https://s3.example.com", without name and password')
    access_key, secret_key = _keys(table, directory)
    return Bucket(
        name=name,
        prefix=table.text("prefix") or "",
        endpoint_url=endpoint,
        region=table.text("region"),
        access_key=access_key,
        secret_key=secret_key,
    )


def _keys(table: "_Table", directory: Path) -> tuple[str | None, str | None]:
    name = table.text("keys_file")
    if name is None:
        return None, None
    try:
        with (directory / name).open("rb") as file:
            text = file.read(MAX_KEYS_FILE_BYTES).decode("ascii").strip()
    except (OSError, ValueError):
        table.note("keys_file", f"cannot read {str(directory / name)!r}; is the path right?")
        return None, None
    access_key, colon, secret_key = text.partition(":")
    if not (access_key and colon and secret_key) or not text.isprintable():
        table.note("keys_file", "must hold one line, ACCESS_KEY:SECRET_KEY")
        return None, None
    return access_key, secret_key


class _Table:
    """One table, read key by key; every problem is noted, and a harmless value goes on in its place."""

    def __init__(self, name: str, content: object, problems: list[str]) -> None:
        self._name = name
        self._problems = problems
        self._content: dict[str, object] = content if isinstance(content, dict) else {}
        if not isinstance(content, dict):
            self.note("", "must be a table")

    def note(self, key: str, text: str) -> None:
        self._problems.append(f"{self._name}{', ' if key else ''}{key}: {text}")

    def refuse_unknown(self, known: set[str]) -> None:
        for key in sorted(set(self._content) - known):
            self.note(key, f"unknown key; the keys are {', '.join(sorted(known))}")

    def tables(self, key: str) -> dict[str, object]:
        value = self._content.get(key, {})
        if not isinstance(value, dict):
            self.note(key, "must be tables")
            return {}
        return value

    def text(self, key: str) -> str | None:
        value = self._content.get(key)
        if value is not None and not (isinstance(value, str) and value):
            self.note(key, "must be a text")
            return None
        return value

    def required(self, key: str, meaning: str) -> str:
        if key not in self._content:
            self.note(key, f"missing; {meaning}")
        return self.text(key) or ""

    def kind(self) -> SourceKind | None:
        value = self._content.get("kind")
        if value not in set(SourceKind):
            self.note("kind", f"must be one of {', '.join(SourceKind)}")
            return None
        return SourceKind(str(value))

    def composite(self) -> CompositeChoice:
        value = self._content.get("composite", CompositeChoice.FROM_FILES)
        if value not in set(CompositeChoice):
            self.note("composite", f"must be one of {', '.join(CompositeChoice)}")
            return CompositeChoice.FROM_FILES
        return CompositeChoice(str(value))

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._content.get(key, default)
        if not isinstance(value, bool):
            self.note(key, "must be true or false")
            return default
        return value

    def names(self) -> NamePattern | None:
        pattern, zone = self.text("names"), self.text("time_zone")
        if pattern is None:
            if zone is not None:
                self.note("time_zone", "has no use without names")
            return None
        known_zone = None if zone is None else self._parsed("time_zone", parse_zone, zone)
        if zone is not None and known_zone is None:
            return None
        return self._parsed("names", lambda text: NamePattern(text, known_zone), pattern)

    def lengths(self) -> WindowLengths:
        before, after = (self._seconds(key) for key in _LENGTHS)
        if (before or 0) + (after or 0) > MAX_WINDOW_SECONDS:
            self.note(_LENGTHS[1], f"a clip may last at most {MAX_WINDOW_SECONDS} seconds in all")
        return WindowLengths(before_seconds=before, after_seconds=after)

    def microseconds(self, key: str, default: float, most: float) -> int:
        value = self._content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            self.note(key, f"must be a number of seconds from 0 to {most:g}")
            value = default
        return round(value * _MICROSECONDS)

    def _seconds(self, key: str) -> int | None:
        value = self._content.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_WINDOW_SECONDS:
            self.note(key, f"must be a whole number of seconds from 0 to {MAX_WINDOW_SECONDS}")
            return None
        return value

    def check(self, key: str, rule: Callable[[str], str], text: str) -> None:
        try:
            rule(text)
        except MediaError as error:
            self.note(key, error.message)

    def _parsed(self, key: str, parse: Callable[[str], T], text: str) -> T | None:
        try:
            return parse(text)
        except ValueError as error:
            self.note(key, str(error))
            return None
