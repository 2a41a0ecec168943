"""Builds the composite of a recording out of its participants' files: one pass, at a constant frame rate.

1. Read every file without decoding it (media/video/stays.py). Each has its own start; a file of which nothing can be
   used is named in the outcome and stops nothing.
2. For every picture of the composite: the tiles stand where the placement of that moment says; each shows the picture
   that its participant's file has for it, a shared screen before a camera, and background where there is none.
3. Strokes are painted onto the picture, in the places where the participants' pictures stand.
4. All sound is added up (media/video/mixing.py).
5. Read the file back and compare it with what was written.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import av
from av.video.frame import VideoFrame

from media.errors import MediaError, Reason
from media.video.check import Expected, check_video
from media.video.composite_values import (
    DEFAULT_COMPOSITE,
    ComposedInput,
    Composite,
    CompositeSettings,
    ParticipantFile,
    Shows,
    TileGap,
)
from media.video.encoding import Encoder, PictureWriter, mp4_options, recording_encoder, tool
from media.video.mixing import MixWriter, Voice
from media.video.placing import Placement, Rect, rects_at
from media.video.reading import SECOND
from media.video.recording_values import EncodingSettings
from media.video.showing import Shown
from media.video.stage import Stage
from media.video.stays import Stay, examined, unusable
from media.video.values import DEFAULT_LIMITS, GapReason, Limits, Progress, Report

# Files seldom begin and end to the microsecond of what LiveKit tells of them.
_LEAST_GAP_US: Final = SECOND // 2


class Painter(Protocol):
    """Paints strokes: `StrokePainter`, whose annotation clock counts from 1970 here."""

    @property
    def painted(self) -> int:
        """How many strokes have been on a picture so far."""

    def paint(self, frame: VideoFrame, at_us: int, rects: Mapping[int, Rect]) -> None:
        """Paint, in place, what is drawn at this moment on the pictures that stand in these rectangles."""


def compose(  # noqa: PLR0913 - the files, where they stand, and how
    files: Sequence[ParticipantFile],
    target: Path,
    *,
    placing: Sequence[Placement],
    painter: Painter | None = None,
    settings: CompositeSettings = DEFAULT_COMPOSITE,
    limits: Limits = DEFAULT_LIMITS,
    progress: Report | None = None,
) -> Composite:
    """Write `target`, an MP4 file. `placing` is in UTC (`from_us`), like the starts of the files.

    Raises MediaError: NO_FOOTAGE when no file can be used; TOO_LARGE; DERIVATIVE_WRONG. `target` may then be left.
    """
    report = progress or _silent
    stays: list[Stay] = []
    refused: list[tuple[ParticipantFile, MediaError]] = []
    for number, file in enumerate(files):
        report(Progress(step="read", done=number / len(files)))
        try:
            stays.append(examined(file, limits, longest_us=settings.longest_seconds * SECOND))
        except MediaError as error:
            if error.reason == Reason.TOO_LARGE:
                raise
            refused.append((file, error))
    if not stays:
        raise MediaError(Reason.NO_FOOTAGE, "not one of the participants' files can be used")
    starts_at, ends_at = min(stay.file.starts_at for stay in stays), max(stay.ends_at for stay in stays)
    if ends_at - starts_at > settings.longest_seconds * SECOND:
        raise MediaError(Reason.TOO_LARGE, f"the composite would last longer than {settings.longest_seconds} s")
    work = _Work(
        target=target, settings=settings, placing=placing, painter=painter, starts_at=starts_at, ends_at=ends_at
    )
    gaps = work.compose(stays, limits, report)
    inputs = [stay.outcome(starts_at) for stay in stays] + [unusable(file, starts_at, error) for file, error in refused]
    return work.composite(inputs, [*gaps, *_gaps_of(refused)])


def _silent(_: Progress) -> None:
    return


def _gaps_of(refused: Sequence[tuple[ParticipantFile, MediaError]]) -> Iterator[TileGap]:
    for file, error in refused:
        truncated = error.reason == Reason.FOOTAGE_TRUNCATED
        why = GapReason.TRUNCATED if truncated else GapReason.UNREADABLE
        ends_at = file.starts_at if file.ends_at is None else file.ends_at
        yield TileGap(tile=file.tile, starts_at=file.starts_at, ends_at=max(file.starts_at, ends_at), why=why)


@dataclass(kw_only=True, slots=True)
class _Work:
    target: Path
    settings: CompositeSettings
    placing: Sequence[Placement]
    painter: Painter | None
    starts_at: int
    ends_at: int
    has_audio: bool = field(default=False, init=False)

    @property
    def frames(self) -> int:
        return max(1, -(-(self.ends_at - self.starts_at) * self.settings.frame_rate // SECOND))

    @property
    def encoder(self) -> Encoder:
        settings = self.settings
        return recording_encoder(EncodingSettings(preset=settings.preset, crf=settings.crf, threads=settings.threads))

    def at(self, number: int) -> int:
        """When a picture of the composite begins, in microseconds of its own timeline."""
        return number * SECOND // self.settings.frame_rate

    def compose(self, stays: Sequence[Stay], limits: Limits, report: Report) -> list[TileGap]:
        settings = self.settings
        numbers = sorted({stay.file.tile for stay in stays})
        tiles = {number: _Tile(number, [stay for stay in stays if stay.file.tile == number]) for number in numbers}
        show = _Show(Stage(settings.width, settings.height), tiles, SECOND // settings.frame_rate // 2)
        encoder = self.encoder
        with (
            av.open(str(self.target), "w", format="mp4", container_options=mp4_options()) as container,
            closing(PictureWriter(container, encoder, SECOND // settings.frame_rate, origin=0)) as pictures,
        ):
            pictures.start(show.stage.picture())
            voices = [self._voice(stay, limits) for stay in stays if stay.has_audio]
            rate, bit_rate = settings.audio_rate, settings.audio_bit_rate
            sound = MixWriter(container=container, voices=voices, rate=rate, bit_rate=bit_rate) if voices else None
            self.has_audio = sound is not None
            for number in range(self.frames):
                starts, ends = self.at(number), self.at(number + 1)
                frame = self._picture(show, self.starts_at + starts)
                pictures.show(frame, starts, ends)
                if sound is not None:
                    sound.write_until(ends)
                report(Progress(step="compose", done=number / self.frames))
            pictures.finish()
            if sound is not None:
                sound.write_until(self.at(self.frames), last=True)
        for stay in stays:
            stay.finish()
        check_video(
            self.target, Expected(starts=pictures.starts, ends=pictures.ends, codec=encoder.codec, tag=encoder.tag)
        )
        return [gap for tile in tiles.values() for gap in tile.gaps_until(self.ends_at)]

    def composite(self, inputs: Sequence[ComposedInput], gaps: Sequence[TileGap]) -> Composite:
        settings = self.settings
        arguments = {
            **self.encoder.arguments,
            "size": f"{settings.width}x{settings.height}",
            "frame_rate": str(settings.frame_rate),
        }
        if self.has_audio:
            arguments["audio"] = f"aac {settings.audio_bit_rate} at {settings.audio_rate} Hz, mixed"
        return Composite(
            path=self.target,
            starts_at=self.starts_at,
            duration_us=self.at(self.frames),
            frames=self.frames,
            width=settings.width,
            height=settings.height,
            frame_rate=settings.frame_rate,
            has_audio=self.has_audio,
            strokes_painted=0 if self.painter is None else self.painter.painted,
            inputs=tuple(inputs),
            gaps=tuple(sorted(gaps, key=lambda gap: (gap.starts_at, gap.tile))),
            tool=tool(self.encoder.name, **arguments),
        )

    def _picture(self, show: "_Show", at_us: int) -> VideoFrame:
        rects = show.change(rects_at(self.placing, at_us), at_us)
        frame = show.stage.picture()
        if self.painter is not None:
            self.painter.paint(frame, at_us, rects)
        return frame

    def _voice(self, stay: Stay, limits: Limits) -> Voice:
        return Voice(
            path=stay.file.path,
            zero_us=stay.zero_us,
            zero_at=stay.file.starts_at - self.starts_at,
            rate=self.settings.audio_rate,
            limits=limits,
        )


@dataclass(slots=True)
class _Show:
    """What stands on the stage."""

    stage: Stage
    tiles: Mapping[int, "_Tile"]
    half_us: int  # of a picture's time: the nearest picture of a file is shown, not the last one before
    _rects: Mapping[int, Rect] = field(default_factory=dict, init=False)

    def change(self, rects: Mapping[int, Rect], at_us: int) -> dict[int, Rect]:
        """Bring the stage to a moment; returns where the pictures stand, and for tiles without one the tiles."""
        if rects != self._rects:
            self._rects = rects
            self.stage.clear_all()
            for tile in self.tiles.values():
                tile.forget()
        pictures = dict(rects)
        for number, tile in self.tiles.items():
            shown = tile.look(at_us, self.half_us)
            if number in rects:
                pictures[number] = tile.put(self.stage, rects[number], shown)
        return pictures


@dataclass(slots=True)
class _Tile:
    """One participant's files, and what stands in their tile."""

    number: int
    stays: Sequence[Stay]
    _chosen: Stay | None = field(default=None, init=False)
    _put: Shown | None = field(default=None, init=False)
    _where: Rect | None = field(default=None, init=False)
    _dark: tuple[int, GapReason] | None = field(default=None, init=False)
    _gaps: list[TileGap] = field(default_factory=list, init=False)

    def forget(self) -> None:
        """The tile was cleared, or moved."""
        self._put = self._where = None

    def look(self, at_us: int, half_us: int) -> Shown | None:
        """Let every file come to this moment, and choose the picture: a screen before a camera, the newest stay."""
        found = [(stay, shown) for stay in self.stays if (shown := stay.picture_at(at_us, at_us + half_us))]
        self._chosen, chosen = max(found, key=lambda pair: _rank(pair[0]), default=(None, None))
        dark = None if chosen else next((why for stay in self.stays if (why := stay.why_dark(at_us))), None)
        if self._dark is not None and dark != self._dark[1]:
            self._end_gap(at_us)
        if self._dark is None and dark is not None:
            self._dark = at_us, dark
        return chosen

    def put(self, stage: Stage, tile: Rect, shown: Shown | None) -> Rect:
        """Put the picture into the tile; returns where it stands."""
        if shown is None or self._chosen is None:
            if self._put is not None:
                stage.clear(tile)
                self._put = None
            return self._where or tile
        if shown is not self._put:
            picture, where = self._chosen.fitter.fitted(shown.frame, shown.aspect, shown.matrix, tile)
            if where != self._where or self._put is None:
                stage.clear(tile)
            stage.put(picture, where)
            self._put, self._where = shown, where
        return self._where or tile

    def gaps_until(self, at_us: int) -> list[TileGap]:
        """The gaps that are long enough to be one."""
        self._end_gap(at_us)
        return self._gaps

    def _end_gap(self, at_us: int) -> None:
        if self._dark is not None and at_us - self._dark[0] >= _LEAST_GAP_US:
            starts_at, why = self._dark
            self._gaps.append(TileGap(tile=self.number, starts_at=starts_at, ends_at=at_us, why=why))
        self._dark = None


def _rank(stay: Stay) -> tuple[bool, int]:
    return stay.file.shows == Shows.SCREEN_SHARE, stay.file.starts_at
