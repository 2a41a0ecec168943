"""Making a recording's files of what LiveKit left: strokes burned in, tracks separated, the composite put together."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from media.errors import MediaError, Reason
from media.recordings.facts import doubts, facts_of_composite, facts_of_file
from media.recordings.objects import Tick
from media.recordings.plan import CompositePlan, joins, participant_name
from media.recordings.tiles import Join, placements
from media.records.recording_work import Egress, FileRole, Raw, RecordingWork
from media.video.apart import probe_apart
from media.video.apart_recordings import (
    burn_in_apart,
    compose_apart,
    keep_sound_apart,
    limits_for,
    separate_apart,
)
from media.video.composite_values import CompositeSettings, ParticipantFile
from media.video.recording_values import Encoded, EncodingSettings
from media.video.strokes.document import annotation_offset, parse_annotations
from media.video.values import Limits, Probe

_SECOND = 1_000_000
# In a recording of more stays than this, somebody came and went all the time; their files can still be taken apart.
MAX_SEPARATED = 80
# A week of drawing and a day of filming. What LiveKit says of a file may be of any year, and no event holds the offset.
MOST_OFFSET_US = 8 * 24 * 3600 * _SECOND


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A finished file on this worker's disk."""

    name: str
    role: FileRole
    path: Path
    participant: str | None = None
    tile: int | None = None
    raw_sha256: tuple[str, ...] = ()
    starts_at: int | None = None
    duration_us: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Maker:
    """How files are made."""

    settings: EncodingSettings = field(default_factory=EncodingSettings)
    composite_settings: CompositeSettings = field(default_factory=CompositeSettings)
    limits: Limits = field(default_factory=Limits)

    async def participant(  # noqa: PLR0913, PLR0917 - what a participant's file is made of
        self, recording: RecordingWork, egress: Egress, raw: Raw, source: Path, directory: Path, tick: Tick
    ) -> list[Made]:
        """The participant's file, and its sound and picture apart. Raises MediaError, as video work does."""
        made = partial(_made_of, egress, raw)
        audio_name = participant_name(egress, part="-audio", extension="m4a")
        try:
            probe = await self._probe(source)
        except MediaError as error:
            if error.reason is not Reason.NO_VIDEO:
                raise
            sound = await keep_sound_apart(source, directory / "sound.m4a", settings=self.settings, limits=self.limits)
            facts = facts_of_file(sound) | doubts(sound)
            facts["notes"] = [*sound.notes, "the participant was heard and never seen: there is no picture"]
            return [made(audio_name, "audio", sound, facts)]
        strokes = await _strokes(recording, egress.file_started_at)
        limits = self._limits(probe.video.duration_us)
        encoded = await burn_in_apart(
            source,
            directory / "whole.mp4",
            annotations=strokes.data,
            placing=egress.tile or 0,
            offset_us=strokes.offset_us,
            settings=self.settings,
            limits=limits,
            progress=tick,
            may_copy=recording.stream_copy,
        )
        whole = facts_of_file(encoded) | strokes.facts(encoded.strokes_painted) | doubts(encoded, probe)
        whole["notes"] = [*encoded.notes, *strokes.notes]
        files = [made(participant_name(egress), "participant", encoded, whole)]
        if len(recording.egresses) > MAX_SEPARATED:
            return files
        parts = await separate_apart(encoded.path, directory / "apart", limits=limits)
        files.append(made(participant_name(egress, part="-video"), "video", parts.video, facts_of_file(parts.video)))
        if parts.audio is not None:
            files.append(made(audio_name, "audio", parts.audio, facts_of_file(parts.audio)))
        return files

    async def composite(  # noqa: PLR0913, PLR0917 - what the composite is made of
        self,
        recording: RecordingWork,
        plan: CompositePlan,
        raws: Sequence[Raw],
        sources: Sequence[Path],
        target: Path,
        tick: Tick,
    ) -> Made:
        """The composite as planned; `raws` and `sources` are in the plan's order. Raises MediaError."""
        strokes = await _strokes(recording, plan.starts_at)
        shot = await (
            self._of_files(recording, plan, sources, target, strokes, tick)
            if plan.room is None
            else self._of_room(recording, plan, sources[0], target, strokes, tick)
        )
        strays = (f"strokes of tiles that nobody was given are not drawn: {strokes.strays}",) if strokes.strays else ()
        return Made(
            name=target.name,
            role="composite",
            path=target,
            raw_sha256=tuple(
                raw.stored.sha256 for raw, path in zip(raws, sources, strict=True) if path.name not in shot.unused
            ),
            starts_at=shot.starts_at,
            duration_us=shot.duration_us,
            facts={**shot.facts, "notes": [*shot.facts["notes"], *strokes.notes, *strays, *plan.notes]},
        )

    async def _of_files(  # noqa: PLR0913, PLR0917 - as composite
        self,
        recording: RecordingWork,
        plan: CompositePlan,
        sources: Sequence[Path],
        target: Path,
        strokes: "_Strokes",
        tick: Tick,
    ) -> "_Shot":
        settings = self.composite_settings
        # By LiveKit's word, which is good enough to know how long the work may take.
        ends = [part.egress.file_ended_at or plan.starts_at for part in plan.parts]
        composite = await compose_apart(
            [
                ParticipantFile(
                    path=path,
                    tile=part.egress.tile or 0,
                    starts_at=plan.starts_at + part.starts_at_us,
                    ends_at=part.egress.file_ended_at,
                )
                for part, path in zip(plan.parts, sources, strict=True)
            ],
            target,
            placing=placements(joins(recording), width=settings.width, height=settings.height),
            annotations=strokes.data,
            settings=settings,
            limits=self._limits(max(ends) - plan.starts_at),
            progress=tick,
        )
        painted = replace(strokes, offset_us=strokes.offset_us + composite.starts_at - plan.starts_at)
        return _Shot(
            facts=facts_of_composite(composite) | painted.facts(composite.strokes_painted),
            starts_at=composite.starts_at,
            duration_us=composite.duration_us,
            unused=frozenset(one.name for one in composite.inputs if one.unusable is not None),
        )

    async def _of_room(  # noqa: PLR0913, PLR0917 - as composite
        self, recording: RecordingWork, plan: CompositePlan, source: Path, target: Path, strokes: "_Strokes", tick: Tick
    ) -> "_Shot":
        probe = await self._probe(source)
        # The page moves the tiles at the moments at which they came into being; what was there before is there at once.
        placed = [Join(tile=join.tile, at_us=max(0, join.at_us - plan.starts_at)) for join in joins(recording)]
        encoded = await burn_in_apart(
            source,
            target,
            annotations=strokes.data,
            placing=placements(placed, width=probe.video.width, height=probe.video.height),
            offset_us=strokes.offset_us,
            settings=self.settings,
            limits=self._limits(probe.video.duration_us),
            progress=tick,
            may_copy=recording.stream_copy,
        )
        return _Shot(
            facts=facts_of_file(encoded) | strokes.facts(encoded.strokes_painted) | doubts(encoded, probe),
            starts_at=plan.starts_at,
            duration_us=encoded.duration_us,
        )

    def _limits(self, duration_us: int) -> Limits:
        return limits_for(duration_us / _SECOND, self.limits)

    async def _probe(self, source: Path) -> Probe:
        (found,) = await probe_apart([source], limits=self.limits)
        if isinstance(found, MediaError):
            raise found
        return found


def _made_of(  # noqa: PLR0913, PLR0917 - a file and whose it is
    egress: Egress, raw: Raw, name: str, role: FileRole, one: Encoded, facts: Mapping[str, Any]
) -> Made:
    return Made(
        name=name,
        role=role,
        path=one.path,
        participant=egress.participant,
        tile=egress.tile,
        raw_sha256=(raw.stored.sha256,),
        starts_at=egress.file_started_at,
        duration_us=one.duration_us,
        facts=facts,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shot:
    """A composite that was made, and the names of the files that it could not use."""

    facts: dict[str, Any]
    starts_at: int
    duration_us: int
    unused: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Strokes:
    """What is to be burned into a file: no `data` where nothing is; `notes` say why, where something was drawn.

    `strays` is how many strokes are of tiles that nobody was ever given.
    """

    data: bytes | None = None
    sha256: str | None = None
    offset_us: int = 0
    notes: tuple[str, ...] = ()
    strays: int = 0

    def facts(self, painted: int) -> dict[str, Any]:
        """What the documents say of it."""
        if self.data is None:
            return {"strokes_missing": True} if self.notes else {}
        return {
            "annotations_sha256": self.sha256,
            "annotation_offset_us": self.offset_us,
            "strokes_painted": painted,
        }


async def _strokes(recording: RecordingWork, starts_at: int | None) -> _Strokes:
    """The strokes for a file whose first picture is of `starts_at`."""
    given = recording.annotations
    if given is None or not given.data:
        return _Strokes()
    if starts_at is None:
        return _Strokes(notes=("nothing says when its pictures begin, so it is without strokes",))
    try:
        document = await asyncio.to_thread(parse_annotations, given.data)
    except MediaError as error:
        return _Strokes(notes=(f"the annotations cannot be used, so it is without strokes: {error.message}",))
    offset_us = annotation_offset(document, starts_at)
    if abs(offset_us) > MOST_OFFSET_US:
        return _Strokes(notes=("it is of another time than the annotations, so it is without strokes",))
    tiles = {member.tile for member in recording.members}
    strays = sum(stroke.tile not in tiles for stroke in document.strokes)
    return _Strokes(data=given.data, sha256=given.sha256, offset_us=offset_us, strays=strays)
