"""Which files come out of which egresses, how they lie on one timeline, and which raw objects must stay. Pure.

A recording's egresses are what LiveKit was told to record; each left no object, one, or (where an upload was repeated)
several. From the one that counts, files are made under names that say which tile they show.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from media.recordings.tiles import Join
from media.records.recording_work import Egress, Raw, RecordingFile, RecordingWork
from media.storage.values import ListedObject, StoredObject

COMPOSITE_NAME = "composite.mp4"
ANNOTATIONS_NAME = "annotations.json"
RECORDING_NAME = "recording.json"


# Between the beginnings of two files in a composite, which lasts no longer (media/video/composite_values.py).
MOST_APART_US = 24 * 3600 * 1_000_000

# What the facts of a file say against dropping the raw object behind it.
_DOUBTS = {
    "truncated": "it ends before what it declares itself",
    "incomplete": "not all of its pictures and sound could be read",
    "strokes_missing": "strokes that were drawn could not be burned in",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What a recording's processing may wait for, in seconds.

    `annotations` counts from the stop, `upload` from what LiveKit said became of the egress. `again` is how soon the
    store is asked again for an upload, `told` how soon it is looked again whether the chains know everything, `retry`
    how soon what went wrong is tried again for the first time.
    """

    annotations: float = 3600.0
    upload: float = 600.0
    again: float = 5.0
    told: float = 1.0
    retry: float = 2.0


def participant_name(egress: Egress, *, part: str = "", extension: str = "mp4") -> str:
    """The name of a participant's file; a stay after the first has its number in it."""
    stay = "" if egress.stay <= 1 else f"-{egress.stay}"
    return f"participant-{egress.tile}{stay}{part}.{extension}"


def which_counts(egress: Egress, found: Sequence[tuple[ListedObject, str]]) -> ListedObject | None:
    """Of the objects that an egress left, each with its SHA-256, the one that files are made from.

    The one of the size that LiveKit stated, else the newest: an upload that was repeated replaces what it began with.
    """
    newest_first = sorted(found, key=lambda one: (one[0].modified_at, one[0].version_id or ""), reverse=True)
    stated = [one for one, _ in newest_first if one.size == egress.stated_size]
    return next(iter([*stated, *(one for one, _ in newest_first if one.size > 0)]), None)


def composite_name(number: int) -> str:
    """The name of a composite; those after the first have their number in it."""
    return COMPOSITE_NAME if number == 1 else f"composite-{number}.mp4"


@dataclass(frozen=True, kw_only=True, slots=True)
class CompositePart:
    """A participant's file in a composite: `starts_at_us` on the composite's own timeline."""

    egress: Egress
    raw: Raw
    starts_at_us: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CompositePlan:
    """Where the composite comes from.

    `room` is LiveKit's own, else it is built of `parts`. `starts_at` is the wall time of its first picture. `notes` say
    what is missing in it and why it was made this way.
    """

    room: Egress | None
    parts: tuple[CompositePart, ...]
    starts_at: int
    notes: tuple[str, ...]


def plan_rooms(recording: RecordingWork) -> tuple[CompositePlan, ...]:
    """LiveKit's own composites, one for each time that it filmed the room; none where they were not asked for."""
    if recording.composite != "ROOM":
        return ()
    filmed = [
        (egress, egress.file_started_at)
        for egress, _ in _sources(recording, "composite")
        if egress.file_started_at is not None
    ]
    return tuple(
        CompositePlan(
            room=egress,
            parts=(),
            starts_at=starts_at,
            notes=(f"LiveKit filmed the room in {len(filmed)} parts, and this is part {number}",) * (len(filmed) > 1),
        )
        for number, (egress, starts_at) in enumerate(filmed, 1)
    )


def plan_of_files(recording: RecordingWork) -> CompositePlan | None:
    """How the composite is built of the participants' files; None where there is nothing to build it of."""
    notes: list[str] = []
    if recording.composite == "ROOM":
        notes.append("LiveKit left no usable composite, so it was built of the participants' files")
    dated: list[tuple[Egress, Raw, int]] = []
    for egress, raw in _sources(recording, "participant"):
        if egress.file_started_at is None:
            notes.append(
                f"the file {participant_name(egress)} is not in the composite: nothing says when its pictures begin"
            )
        else:
            dated.append((egress, raw, egress.file_started_at))
    if not dated:
        return None
    # LiveKit's clock may be any; but one file that it dates to another day must not cost the others their composite.
    nearest = min((started for _, _, started in dated), key=lambda started: abs(started - recording.started_at))
    usable = [one for one in dated if abs(one[2] - nearest) <= MOST_APART_US]
    notes += [
        f"the file {participant_name(one[0])} is not in the composite: LiveKit says that it begins at another time"
        for one in dated
        if one not in usable
    ]
    starts_at = min(started for _, _, started in usable)
    parts = tuple(
        CompositePart(egress=egress, raw=raw, starts_at_us=started - starts_at) for egress, raw, started in usable
    )
    return CompositePlan(room=None, parts=parts, starts_at=starts_at, notes=tuple(notes))


def joins(recording: RecordingWork) -> tuple[Join, ...]:
    """When each tile first came into being, in the order in which they did.

    That is by our clock; the files are dated by LiveKit's, which may be behind. Who is in a picture has a tile.
    """
    at = {member.tile: member.first_seen_at for member in recording.members}
    for egress in recording.egresses:
        if egress.tile in at and egress.file_started_at is not None:
            at[egress.tile] = min(at[egress.tile], egress.file_started_at)
    return tuple(sorted((Join(tile=tile, at_us=at_us) for tile, at_us in at.items()), key=lambda join: join.at_us))


def why_kept(recording: RecordingWork, raw: Raw) -> str | None:
    """Why a raw object must stay after the recording has ended; None if all it held is safe in finished files.

    Any doubt keeps it (product.md): the answer is on the chain.
    """
    egress = recording.egress(raw.stay_id)
    outcomes = {
        "CUT_BY_LIMIT": "LiveKit cut the recording short at a limit",
        "FAILED": "LiveKit said that the recording failed",
        "ABORTED": "LiveKit said that the recording was aborted",
        "NEVER_FINISHED": "LiveKit never said that the recording ended",
    }
    if egress.outcome != "COMPLETE":
        return outcomes.get(egress.outcome or "", "nothing is known about how the recording ended")
    counting = recording.source_of(raw.stay_id)
    if counting is None:
        return "it is empty"
    if not raw.counts and raw.stored.sha256 != counting.stored.sha256:
        return "the same recording was uploaded with other bytes as well"
    if egress.stated_size is not None and raw.stored.size != egress.stated_size:
        return "it is not of the size that LiveKit stated"
    return _unfinished(recording, egress, counting)


def _unfinished(recording: RecordingWork, egress: Egress, raw: Raw) -> str | None:
    is_participant = egress.kind == "participant"
    own = recording.task(*(("participant", egress.stay_id) if is_participant else ("composite", None)))
    if own is None or own.state != "DONE":
        return "no file could be made of it" if own is None or not own.message else own.message
    made = [file for file in recording.files if raw.stored.sha256 in file.raw_sha256]
    if not made:
        return "no file was made of it"
    said = (why for fact, why in _DOUBTS.items() if any(file.facts.get(fact) for file in made))
    return next(said, None) or _missing_in_composite(recording, egress, raw)


def _missing_in_composite(recording: RecordingWork, egress: Egress, raw: Raw) -> str | None:
    composite = recording.task("composite", None)
    if composite is not None and composite.state == "FAILED":
        return "the composite could not be made"
    if egress.kind == "participant" and any(raw.stored.sha256 not in file.raw_sha256 for file in _built(recording)):
        return "it is not in the composite"
    return None


def _built(recording: RecordingWork) -> list[RecordingFile]:
    """The composite, where it was built of the participants' files."""
    rooms = {raw.stored.sha256 for _, raw in _sources(recording, "composite")}
    return [file for file in recording.files if file.role == "composite" and rooms.isdisjoint(file.raw_sha256)]


def problem_of(recording: RecordingWork, egress: Egress) -> str | None:
    """Why no file of its own came of an egress; None if one did, or where none was to."""
    task = recording.task("participant", egress.stay_id) or recording.task("acquire", egress.stay_id)
    if task is not None and task.state == "FAILED":
        return task.message
    raws = recording.raws_of(egress.stay_id)
    if raws and not any(raw.counts for raw in raws):
        return "LiveKit left an empty file of this recording"
    composite = recording.task("composite", None)
    is_made = any(raw.stored.sha256 in file.raw_sha256 for raw in raws for file in recording.files)
    if raws and egress.kind == "composite" and composite is not None and composite.state == "DONE" and not is_made:
        return "no composite could be made of it"
    return None


def owned(recording: RecordingWork) -> tuple[StoredObject, ...]:
    """Every object in the store that belongs to a recording and stays: what a disposal must delete."""
    return (
        *(file.stored for file in recording.files),
        *(raw.stored for raw in recording.raws if raw.drop_decided_at is None),
    )


def named_raws(recording: RecordingWork) -> list[tuple[str, Raw]]:
    """What egresses left, under names that people can follow: of several uploads under one key, each its own."""
    seen: Counter[str] = Counter()
    named = []
    for raw in recording.raws:
        name = f"raw/{raw.stored.key.rpartition('/')[2]}"
        seen[name] += 1
        named.append((name if seen[name] == 1 else f"{name} ({seen[name]})", raw))
    return named


def _sources(recording: RecordingWork, kind: str) -> Iterator[tuple[Egress, Raw]]:
    for egress in recording.egresses:
        raw = recording.source_of(egress.stay_id)
        if egress.kind == kind and raw is not None:
            yield egress, raw
