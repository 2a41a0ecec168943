"""One participant's file while a composite is made of it: its place in time, and the picture it shows at a moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from media.errors import MediaError, Reason
from media.video.composite_values import ComposedInput, ParticipantFile
from media.video.plan import FOR_EVER, Piece, whole
from media.video.reading import opened_sound, timed_sound
from media.video.scan import scan
from media.video.showing import Heard, Player, Shown
from media.video.stage import Fitter
from media.video.timing import time_zero, zero_of
from media.video.values import GapReason, Limits


@dataclass(kw_only=True, slots=True)
class Stay:
    """A file that can be used. Without `piece` there is only sound in it."""

    file: ParticipantFile
    limits: Limits
    zero_us: int  # time zero on the file's own clock
    piece: Piece | None
    heard_until: int | None
    fitter: Fitter = field(default_factory=Fitter, init=False)
    frames: int = field(default=0, init=False)
    _player: Player | None = field(default=None, init=False)
    _coming: Iterator[Shown | Heard] | None = field(default=None, init=False)
    _current: Shown | None = field(default=None, init=False)
    _next: Shown | None = field(default=None, init=False)

    @property
    def has_audio(self) -> bool:
        """Whether there is sound in it."""
        return self.heard_until is not None

    @property
    def ends_at(self) -> int:
        """Where the last picture or sound ends."""
        seen = self.file.starts_at if self.piece is None else self.piece.segment.ends_at
        return max(seen, self.heard_until or seen)

    @property
    def truncated(self) -> bool:
        """Whether the file ends before what it declares."""
        return self.piece is not None and self.piece.scan.probe.truncated

    def picture_at(self, at_us: int, soon_us: int) -> Shown | None:
        """The picture nearest to a moment, which begins by `soon_us`; None where there is none. Moments must rise."""
        if self.piece is None or soon_us < self.piece.segment.starts_at:
            return None
        if self._player is None:
            self._player = Player(pieces=[self.piece], limits=self.limits, audio=False)
            self._coming = self._player.play(-FOR_EVER, FOR_EVER)
            self._next = self._following()
        while self._next is not None and self._is_nearer(self._next.starts_at, at_us, soon_us):
            self._current, self._next = self._next, self._following()
        shown = self._current
        return shown if shown is not None and shown.ends_at > at_us else None

    def _is_nearer(self, next_at: int, at_us: int, soon_us: int) -> bool:
        if self._current is None or next_at <= at_us:
            return next_at <= soon_us
        return next_at <= soon_us and next_at - at_us < at_us - self._current.starts_at

    def why_dark(self, at_us: int) -> GapReason | None:
        """Why there is no picture at a moment at which there should be one; None where none is expected."""
        if self.piece is None or not self.file.starts_at <= at_us < max(self.ends_at, self.file.ends_at or 0):
            return None
        if at_us < self.piece.segment.starts_at:
            return GapReason.MISSING
        if at_us < self.piece.segment.ends_at:
            return GapReason.UNREADABLE
        return GapReason.TRUNCATED if self.truncated else GapReason.MISSING

    def finish(self) -> None:
        """Count the pictures after the last moment that was asked for."""
        while self._next is not None:
            self._next = self._following()

    def outcome(self, starts_at: int) -> ComposedInput:
        """What became of it, in a composite that starts then."""
        return ComposedInput(
            name=self.file.path.name,
            tile=self.file.tile,
            shows=self.file.shows,
            offset_us=self.file.starts_at - starts_at,
            duration_us=self.ends_at - self.file.starts_at,
            frames=self.frames,
            lost_frames=0 if self.piece is None else max(0, len(self.piece.scan.shown) - self.frames),
            truncated=self.truncated,
            has_audio=self.has_audio,
            unusable=None,
        )

    def _following(self) -> Shown | None:
        item: Shown | Heard | None = None
        with passing_over():
            item = None if self._coming is None else next(self._coming, None)
        if not isinstance(item, Shown):  # without sound asked for, there is nothing but pictures until the end
            return None
        self.frames += 1
        return item


def examined(file: ParticipantFile, limits: Limits, *, longest_us: int) -> Stay:
    """Read a file without decoding it. Raises MediaError for one of which nothing can be seen or heard."""
    try:
        found = scan(file.path, limits)
    except MediaError as error:
        if error.reason != Reason.NO_VIDEO:
            raise
        sound = _sound(file, limits, longest_us)
        return Stay(file=file, limits=limits, zero_us=sound.zero_us, piece=None, heard_until=sound.heard_until)
    zero = time_zero(file.path, found.zero_us, limits)
    if found.zero_us - zero + found.probe.video.duration_us > longest_us:
        raise _endless(file)
    first_at = file.starts_at + found.zero_us - zero
    heard_until = None
    if found.probe.audio is not None:
        with passing_over():
            heard_until = replace(_sound(file, limits, longest_us), zero_us=zero).heard_until
    return Stay(
        file=file, limits=limits, zero_us=zero, piece=whole(file.path, found, first_at), heard_until=heard_until
    )


@contextmanager
def passing_over() -> Iterator[None]:
    """Go on without what a file does not yield; but not where memory is what is missing."""
    try:
        yield
    except MediaError as error:
        if error.reason == Reason.TOO_LARGE:
            raise


def unusable(file: ParticipantFile, starts_at: int, error: MediaError) -> ComposedInput:
    """What is said of a file of which nothing can be seen or heard."""
    return ComposedInput(
        name=file.path.name,
        tile=file.tile,
        shows=file.shows,
        offset_us=file.starts_at - starts_at,
        duration_us=0,
        frames=0,
        lost_frames=0,
        truncated=error.reason == Reason.FOOTAGE_TRUNCATED,
        has_audio=False,
        unusable=error.message,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sound:
    starts_at: int  # of the file
    zero_us: int
    ends_us: int  # on the file's own clock

    @property
    def heard_until(self) -> int:
        return self.starts_at + self.ends_us - self.zero_us


def _sound(file: ParticipantFile, limits: Limits, longest_us: int) -> _Sound:
    begins, ends = FOR_EVER, -FOR_EVER
    with opened_sound(file.path, limits) as source:
        for timed in timed_sound(source):
            begins, ends = min(begins, timed.pts), max(ends, timed.pts + timed.duration)
        zero = zero_of(source.container, begins)
    if begins >= ends:
        raise MediaError(Reason.FOOTAGE_EMPTY, f"{file.path.name} holds no sound")
    if ends - zero > longest_us:
        raise _endless(file)
    return _Sound(starts_at=file.starts_at, zero_us=zero, ends_us=ends)


def _endless(file: ParticipantFile) -> MediaError:
    message = f"{file.path.name} lasts longer than any recording, by its own time stamps"
    return MediaError(Reason.FOOTAGE_UNREADABLE, message)
