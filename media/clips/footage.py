"""Finds the footage of a window: lists, chooses, copies, reads and places segments, and says what is missing.

1. Until the window is over there is nothing to look for.
2. The source is listed, around the window only where its names allow.
3. Segments that may touch the window are copied here, hashed while they come. A copy, so that neither a ring that moves
   on nor a file that grows can change what is read next; its digest is the digest at acquisition.
4. Each copy is read as a whole, in a process of its own: its length comes from its packets, never from its header.
5. Each is placed by the best clock it has, neighbours are joined, doubles dropped.
6. When something of the window is missing, and it may still come, the answer is: later. Once the source's time for it
   is over (`wait_us` after the window's end), the answer is what there is, with the gaps named.

Nothing is remembered between two searches, so that any worker can go on with any other's.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ledger.timestamps import moment, rfc3339
from media.clips.acquiring import MAX_NOTES, Acquisition, Candidate
from media.clips.bucket_shelf import BucketShelf
from media.clips.placing import Placed, arrange, depends_on_earlier, find_gaps, needed
from media.clips.shelves import DirectoryShelf, Shelf
from media.clips.sources import Bucket, Source
from media.errors import MediaError, Reason
from media.video.values import Gap, Limits, Segment, Window

# An hour in segments of two seconds, and some more.
MAX_SEGMENTS = 2000
# Where names tell no time, files must be opened to learn it.
MAX_UNNAMED = 200
# Segments before the window are tried until one reaches into it; overlapping ones are hardly deeper nested.
MAX_LOOK_BACK = 3
# A group of pictures may begin some segments earlier: a minute in segments of two seconds.
MAX_GROUP_SEGMENTS = 30
SHORTEST_PAUSE_US = 2_000_000

_BATCH = 8  # files without telling names that are copied before the next look at whether enough was found
_PAUSES = 6  # searches during the wait, about
_TICK_SECONDS = 5.0

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search found. While it is not `complete`, search again at `again_at`."""

    segments: tuple[Segment, ...]
    gaps: tuple[Gap, ...]
    newest_at: int | None  # the newest footage the source is known to have
    complete: bool
    waiting_until: int  # then it is complete, whatever is missing
    again_at: int
    notes: tuple[str, ...]  # sentences for the clip's documents


class Footage:
    """Finds footage; holds nothing but its limits."""

    def __init__(self, limits: Limits | None = None) -> None:
        """`limits` are those of reading one file."""
        self._limits = limits or Limits()

    async def find(
        self,
        source: Source,
        window: Window,
        *,
        directory: Path,
        now: int | None = None,
        progress: Callable[[], None] | None = None,
    ) -> Found:
        """Search once. `directory` must exist and be empty; it holds the copies, which are the caller's to delete.

        `progress` is called in the event loop every few seconds while the search lasts.

        Raises MediaError: NO_FOOTAGE when nothing of the window exists and nothing more will come, with the nearest
        footage in its metadata; TOO_LARGE; FOOTAGE_UNAVAILABLE when trying again may help.
        """
        search = _Search(source, window, directory, time.time_ns() // 1000 if now is None else now, self._limits)
        return await _ticking(search.run(), progress)


class _Search:
    """One search."""

    def __init__(self, source: Source, window: Window, directory: Path, now: int, limits: Limits) -> None:
        self._source = source
        self._window = window
        self._now = now
        self._deadline = window.asked_to + source.wait_us
        self._over = now >= self._deadline
        self._shelf = _open_shelf(source)
        self._acquisition = Acquisition(
            source,
            self._shelf,
            directory,
            limits,
            # When nothing more is waited for, what is still being written is taken as it is.
            unsettled_since=None if self._over else now - source.settle_us,
        )
        self._notes: list[str] = []

    async def run(self) -> Found:
        window = self._window
        if self._now < window.asked_to:
            return self._later(None, again_at=window.asked_to)
        candidates = await self._list()
        newest = max((one.latest for one in candidates), default=None)
        # What was written since the window's end may show it; otherwise there is no need to copy anything yet.
        if not self._over and not any(one.listed.modified_at >= window.asked_to for one in candidates):
            return self._later(newest)
        placed = await (self._place_named(candidates) if self._source.names else self._place_unnamed(candidates))
        arranged, notes = arrange(placed)
        newest = max((*(one.ends_at for one in arranged), newest or 0)) or None
        gaps = find_gaps(window, arranged, self._acquisition.unreadable, newest)
        if gaps and not self._over:
            return self._later(newest)
        chosen = needed(arranged, window)
        if not chosen:
            raise self._no_footage(candidates, arranged)
        await asyncio.to_thread(_delete, {one.acquired.path for one in placed} - {one.acquired.path for one in chosen})
        return Found(
            segments=tuple(one.as_segment() for one in chosen),
            gaps=tuple(gaps),
            newest_at=newest,
            complete=True,
            waiting_until=self._deadline,
            again_at=self._now,
            notes=tuple([*self._notes, *self._acquisition.notes, *notes][:MAX_NOTES]),
        )

    def _later(self, newest_at: int | None, *, again_at: int | None = None) -> Found:
        pause = max(SHORTEST_PAUSE_US, (self._deadline - self._now) // _PAUSES)
        return Found(
            segments=(),
            gaps=(),
            newest_at=newest_at,
            complete=False,
            waiting_until=self._deadline,
            again_at=min(self._deadline, again_at or self._now + pause),
            notes=(),
        )

    async def _list(self) -> list[Candidate]:
        """The files around the window, the earliest first."""
        source, window = self._source, self._window
        prefixes: tuple[str, ...] = ("",)
        if source.names is not None:
            prefixes = source.names.prefixes(self._earliest_start, window.asked_to + source.clock_error_us)
        listing = await asyncio.to_thread(self._shelf.list, prefixes)
        candidates, strangers = [], 0
        for listed in listing.files:
            named = source.names.match(listed.name) if source.names else None
            if source.names is None or named is not None:
                candidates.append(Candidate(listed=listed, named=named))
            else:
                strangers += 1
        if listing.passed_over:
            self._notes.append(
                f"{listing.passed_over} entries of the source were passed over: links, or names that cannot be shown"
            )
        if strangers and not source.has_sidecars:
            self._notes.append(f"{strangers} files of the source were passed over: their names tell no time")
        return sorted(candidates, key=lambda one: (one.earliest, one.listed.name))

    @property
    def _earliest_start(self) -> int:
        """Nothing that begins before reaches into the window."""
        return self._window.asked_from - self._source.longest_segment_us - self._source.clock_error_us

    async def _place_named(self, candidates: Sequence[Candidate]) -> list[Placed]:
        window = self._window
        last = window.asked_to + self._source.clock_error_us
        near = [one for one in candidates if one.latest >= self._earliest_start and one.earliest < last]
        inside = [one for one in near if one.latest >= window.asked_from]
        before = [one for one in near if one.latest < window.asked_from]
        if len(inside) > MAX_SEGMENTS:
            raise MediaError(
                Reason.TOO_LARGE, f"the window touches {len(inside)} segments; at most {MAX_SEGMENTS} are read"
            )
        placed = await self._acquisition.acquire([*before[-1:], *inside])
        for looked_back, one in enumerate(reversed(before[:-1]), start=1):
            reaching = [found for found in placed if found.starts_at <= window.asked_from < found.ends_at]
            if looked_back >= (MAX_GROUP_SEGMENTS if reaching else MAX_LOOK_BACK):
                break
            if any(not depends_on_earlier(found, window) for found in reaching):
                break
            placed += await self._acquisition.acquire([one])
        return placed

    async def _place_unnamed(self, candidates: Sequence[Candidate]) -> list[Placed]:
        """Read on from the first file written after the window's beginning, until some begin after its end."""
        window, error = self._window, self._source.clock_error_us
        after = [one for one in candidates if one.listed.modified_at >= window.asked_from - error]
        placed: list[Placed] = []
        for start in range(0, min(len(after), MAX_UNNAMED), _BATCH):
            batch = await self._acquisition.acquire(after[start : start + _BATCH])
            placed += batch
            if batch and all(one.starts_at > window.asked_to + one.clock.error_us for one in batch):
                return placed
        if len(after) > MAX_UNNAMED:
            self._notes.append(
                f"the search ended after {MAX_UNNAMED} of {len(after)} files: their names do not tell the time"
            )
        return placed

    def _no_footage(self, candidates: Sequence[Candidate], arranged: Sequence[Placed]) -> MediaError:
        window = self._window
        times = [
            *(one.earliest for one in candidates),
            *(at for one in arranged for at in (one.starts_at, one.ends_at)),
        ]
        before = max((at for at in times if at <= window.asked_from), default=None)
        after = min((at for at in times if at >= window.asked_to), default=None)
        near = [rfc3339(moment(at)) for at in (before, after) if at is not None]
        unreadable = len(self._acquisition.unreadable)
        return MediaError(
            Reason.NO_FOOTAGE,
            f"the source {self._source.source_id!r} has no footage from {rfc3339(moment(window.asked_from))} to "
            f"{rfc3339(moment(window.asked_to))}"
            + (f"; {unreadable} segments could not be used" if unreadable else "")
            + (f"; the nearest it has is at {' and at '.join(near)}" if near else "; nor any near it"),
            {
                "source_id": self._source.source_id,
                **({"nearest_before": rfc3339(moment(before))} if before is not None else {}),
                **({"nearest_after": rfc3339(moment(after))} if after is not None else {}),
            },
        )


def _open_shelf(source: Source) -> Shelf:
    if isinstance(source.location, Bucket):
        return BucketShelf(source.location)
    return DirectoryShelf(source.location)


def _delete(paths: set[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


async def _ticking(work: Awaitable[T], tick: Callable[[], None] | None) -> T:
    """The result of `work`, with a call of `tick` every few seconds until it is there."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_TICK_SECONDS)
            if tick is not None:
                tick()
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
