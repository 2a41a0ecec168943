"""What the operator set for each organisation: its cameras, which nobody else sees, and how sessions are recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from media.clips.naming import NamePattern
from media.clips.window import WindowLengths, choose_window
from media.errors import MediaError, Reason
from media.video.values import Window


class SourceKind(StrEnum):
    """What footage lies in."""

    DIRECTORY = "directory"
    S3 = "s3"
    RECORDER = "recorder"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """Where segments lie in an S3 store. Without keys, boto3 looks for them where it always does."""

    name: str
    prefix: str
    endpoint_url: str | None
    region: str | None
    access_key: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One camera's footage."""

    organisation_id: str
    source_id: str
    camera_id: str
    kind: SourceKind
    location: Path | Bucket
    names: NamePattern | None  # None: the files' own creation time, or when they were written
    clock_error_us: int  # how wrong the clock may be that gave the names
    longest_segment_us: int  # no segment lasts longer
    settle_us: int  # a segment that did not change for so long is complete
    wait_us: int  # how long after a window's end its last segment may take to arrive
    lengths: WindowLengths

    @property
    def has_sidecars(self) -> bool:
        """Whether our recorder's own notes lie beside the segments."""
        return self.kind is SourceKind.RECORDER


class CompositeChoice(StrEnum):
    """How the composite of a recording is made, unless its start says otherwise."""

    FROM_FILES = "from_files"
    ROOM = "room"


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingChoice:
    """How an organisation's sessions are recorded. `stream_copy`: a file that needs no change is kept as it is."""

    composite: CompositeChoice = CompositeChoice.FROM_FILES
    stream_copy: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Organisation:
    """One organisation's cameras, and how its sessions are recorded."""

    lengths: WindowLengths
    sources: Mapping[str, Source]
    recordings: RecordingChoice = field(default_factory=RecordingChoice)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Every organisation's sources."""

    organisations: Mapping[str, Organisation] = field(default_factory=dict)

    def find(self, organisation_id: str, source_id: str) -> Source:
        """The source of this organisation. Raises MediaError (SOURCE_NOT_FOUND), for another's as for none."""
        source = self._organisation(organisation_id).sources.get(source_id)
        if source is None:
            # The same words whether it exists elsewhere or not: else names could be tried out.
            raise MediaError(
                Reason.SOURCE_NOT_FOUND,
                f"your organisation has no source called {source_id!r}",
                {"field": "source_id", "source_id": source_id},
            )
        return source

    def find_camera(self, organisation_id: str, camera_id: str) -> Source:
        """The one source of this camera. Raises MediaError (SOURCE_NOT_FOUND) when there is none, or several."""
        sources = self._organisation(organisation_id).sources.values()
        found = [source for source in sources if source.camera_id == camera_id]
        if len(found) != 1:
            raise MediaError(
                Reason.SOURCE_NOT_FOUND,
                f"your organisation has {len(found) or 'no'} sources for the camera {camera_id!r}; name the source",
                {"field": "source_id", "camera_id": camera_id},
            )
        return found[0]

    def window(
        self, source: Source, event_at: int, *, before_seconds: int | None = None, after_seconds: int | None = None
    ) -> Window:
        """The window of a request: what it says itself, then the source, the organisation, 30 s before to 60 s after.

        Raises MediaError (INVALID_ARGUMENT).
        """
        return choose_window(
            event_at,
            WindowLengths(before_seconds=before_seconds, after_seconds=after_seconds),
            source.lengths,
            self._organisation(source.organisation_id).lengths,
        )

    def recording_choice(self, organisation_id: str) -> RecordingChoice:
        """How this organisation's sessions are recorded."""
        return self._organisation(organisation_id).recordings

    def _organisation(self, organisation_id: str) -> Organisation:
        nothing = Organisation(lengths=WindowLengths(), sources={})
        return self.organisations.get(organisation_id, nothing)
