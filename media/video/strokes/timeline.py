"""What is drawn at a moment: which strokes, and how many of their points.

1. A point is there from its time on; a stroke is there from its first point on.
2. An erased stroke, and every stroke of a cleared tile that was begun by then, is gone for ever; later points of it
   are not drawn.
3. Of points and actions at one time the points come first.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge

from media.video.strokes.document import AnnotationDocument, Clear, Erase

_MILLISECOND_US = 1000


@dataclass(frozen=True, slots=True)
class StrokeTimeline:
    """A document that can be asked for moments."""

    document: AnnotationDocument

    def cursor(self) -> "Cursor":
        """At the beginning, where nothing is drawn."""
        return Cursor(document=self.document)

    def is_drawn_on(self, tiles: Iterable[int], from_us: int, to_us: int) -> bool:
        """Whether a stroke is on one of these tiles at some moment of `from_us <= moment < to_us`."""
        wanted, cursor = frozenset(tiles), self.cursor()
        cursor.move_to(from_us)
        if any(tile in wanted and drawn for tile, drawn in cursor.drawn.items()):
            return True
        return any(
            stroke.tile in wanted and from_us < stroke.begins_ms * _MILLISECOND_US < to_us
            for stroke in self.document.strokes
        )


@dataclass(frozen=True, slots=True)
class _Moment:
    at: int
    is_action: bool
    stroke: int  # its index; -1 in an action
    points: int
    action: Erase | Clear | None


@dataclass(slots=True)
class Cursor:
    """Goes through a document in time. `drawn`: by tile, the indices of its strokes and how many points of each."""

    document: AnnotationDocument
    drawn: dict[int, dict[int, int]] = field(default_factory=dict, init=False)
    changes: int = field(default=0, init=False)  # rises whenever `drawn` may have changed
    _numbers: dict[str, int] = field(init=False)
    _gone: set[int] = field(default_factory=set, init=False)
    _ahead: Iterator[_Moment] = field(init=False)
    _next: _Moment | None = field(init=False)

    def __post_init__(self) -> None:
        self._numbers = {stroke.id: number for number, stroke in enumerate(self.document.strokes)}
        points = [
            _Moment(at=at, is_action=False, stroke=number, points=count, action=None)
            for number, stroke in enumerate(self.document.strokes)
            for count, (_, _, at) in enumerate(stroke.points, start=1)
        ]
        actions = (
            _Moment(at=action.at, is_action=True, stroke=-1, points=0, action=action)
            for action in self.document.actions
        )
        points.sort(key=lambda moment: moment.at)
        self._ahead = merge(points, actions, key=lambda moment: (moment.at, moment.is_action))
        self._next = next(self._ahead, None)

    def move_to(self, at_us: int) -> None:
        """Go on to this moment of the annotation clock; it does not go back."""
        while self._next is not None and self._next.at * _MILLISECOND_US <= at_us:
            moment, self._next = self._next, next(self._ahead, None)
            self.changes += 1
            if moment.action is not None:
                self._take_away(moment.action)
            elif moment.stroke not in self._gone:
                self.drawn.setdefault(self.document.strokes[moment.stroke].tile, {})[moment.stroke] = moment.points

    def _take_away(self, action: Erase | Clear) -> None:
        if isinstance(action, Erase):
            taken = [self._numbers[name] for name in action.strokes]
        else:
            tiles = list(self.drawn) if action.tile is None else [action.tile]
            taken = [number for tile in tiles for number in self.drawn.get(tile, {})]
        for number in taken:
            self._gone.add(number)
            self.drawn.get(self.document.strokes[number].tile, {}).pop(number, None)
