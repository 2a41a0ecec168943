"""Makes every artefact of one window of footage.

1. Read all files without decoding (media/video/scan.py) and plan the cut (media/video/plan.py).
2. Copy the source's own packets: `native.mp4`.
3. Copy the clip where the source is H.265 and begins with a keyframe; otherwise play the window once and let the
   encoders of clip, preview and thumbnail take what they need from each picture.
4. Read every file back and compare it with the plan.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from media.errors import MediaError, Reason
from media.video.check import Expected, check_copy, check_video
from media.video.clip import clip_encoder, copy_clip
from media.video.copying import Copied, container_for, copy_packets
from media.video.encoding import tool
from media.video.gaps import gaps
from media.video.movie import MovieWriter
from media.video.plan import Piece, Stretch, plan, stretches
from media.video.preview import PreviewWriter, preview_range
from media.video.preview import encoder_options as preview_encoder_options
from media.video.scan import scan
from media.video.showing import Heard, Player
from media.video.sound import can_be_copied
from media.video.thumbnail import ThumbnailWriter
from media.video.values import (
    DEFAULT_LIMITS,
    DEFAULT_SETTINGS,
    Artefacts,
    Derivative,
    Limits,
    Progress,
    Report,
    Segment,
    VideoSettings,
    Window,
)


def write_artefacts(  # noqa: PLR0913 - the footage, where to, and how
    segments: Sequence[Segment],
    window: Window,
    directory: Path,
    *,
    settings: VideoSettings = DEFAULT_SETTINGS,
    limits: Limits = DEFAULT_LIMITS,
    progress: Report | None = None,
) -> Artefacts:
    """Write native copy, clip, thumbnail and preview into `directory`. Raises MediaError; files may then be left there.

    Reasons: those of `probe`, OUTSIDE_FOOTAGE, DERIVATIVE_WRONG.
    """
    work = _Work(window=window, directory=directory, settings=settings, limits=limits, report=progress or _silent)
    scanned = []
    for number, segment in enumerate(segments):
        work.report(Progress(step="read", done=number / len(segments)))
        scanned.append((segment, scan(segment.path, limits)))
    if not scanned:
        raise MediaError(Reason.NO_FOOTAGE, "there is no footage to cut from")
    pieces = plan(scanned, window)
    native = tuple(_native_files(work, pieces))
    return _shown_files(work, pieces, native)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    window: Window
    directory: Path
    settings: VideoSettings
    limits: Limits
    report: Report


def _silent(_: Progress) -> None:
    return


def _native_files(work: _Work, pieces: Sequence[Piece]) -> Iterator[Derivative]:
    parts = stretches(pieces)
    for number, part in enumerate(parts):
        work.report(Progress(step="copy", done=number / len(parts)))
        extension, audio = container_for(part)
        name = f"native{f'-{number + 1}' if number else ''}.{extension}"
        copied = copy_packets(part, work.directory / name, work.limits, audio=audio)
        video = part[0].piece.scan.probe.video
        remark = check_copy(work.directory / name, copied.starts, copied.ends)
        yield Derivative(
            name=name,
            path=work.directory / name,
            actual_from=copied.frames[0][0],
            actual_to=max(end for _, end in copied.frames),
            gaps=gaps(copied.frames, copied.frames[0][0], copied.frames[-1][1], [stretch.piece for stretch in part]),
            video_codec=video.codec,
            audio_codec=_audio_codec(part[0].piece) if copied.has_audio else None,
            width=video.width,
            height=video.height,
            frames=len(copied.frames),
            copied=True,
            tool=tool("stream copy", container=extension),
            notes=(*_native_notes(work, part, extension, copied), *([] if remark is None else [remark])),
        )


def _native_notes(work: _Work, part: Sequence[Stretch], extension: str, copied: Copied) -> Iterator[str]:
    probe = part[0].piece.scan.probe
    if extension != "mp4":
        codecs = probe.video.codec if probe.audio is None else f"{probe.video.codec} and {probe.audio.codec}"
        yield f"MP4 cannot hold {codecs} as recorded, so this copy is another kind of file"
    if probe.audio is not None and not copied.has_audio:
        yield f"no container holds sound of the codec {probe.audio.codec} with this video: the copy is without sound"
    early = work.window.asked_from - copied.frames[0][0]
    if early > part[0].piece.scan.nominal_us:
        yield f"it starts {early / 1_000_000:.3f} s before the window, at the last keyframe before it"


def _shown_files(work: _Work, pieces: Sequence[Piece], native: tuple[Derivative, ...]) -> Artefacts:
    planned = [frame for piece in pieces for frame in piece.frames()]
    clip_path = work.directory / "clip.mp4"
    work.report(Progress(step="clip", done=0))
    copied = _copy_of_clip(work, pieces, clip_path)
    thumbnail = ThumbnailWriter(work.directory / "thumbnail.jpg", work.window.event_at, work.settings)
    with ExitStack() as stack:
        starts_at, ends_at = preview_range(planned, work.window.event_at, work.settings)
        preview = stack.enter_context(PreviewWriter(work.directory / "preview.webm", starts_at, ends_at, work.settings))
        if copied is not None:
            player = Player(pieces=pieces, limits=work.limits, audio=False)
            _play(work, player, (preview, thumbnail), min(starts_at, _event_frame(planned, work.window)), ends_at)
            clip = _copied_clip(work, pieces, copied)
        else:
            writer = stack.enter_context(_clip_writer(work, pieces, clip_path))
            player = Player(pieces=pieces, limits=work.limits, audio=True)
            _play(work, player, (writer, preview, thumbnail), work.window.asked_from, work.window.asked_to)
            stack.close()
            clip = _encoded_clip(work, pieces, writer, player.lost)
    return Artefacts(
        native=native,
        clip=clip,
        thumbnail=_thumbnail(work, thumbnail),
        preview=_preview(work, preview, pieces),
        gaps=clip.gaps,
    )


def _clip_writer(work: _Work, pieces: Sequence[Piece], path: Path) -> MovieWriter:
    encoder, bit_rate = clip_encoder(work.settings), work.settings.audio_bit_rate
    return MovieWriter(pieces=pieces, path=path, limits=work.limits, encoder=encoder, audio_bit_rate=bit_rate)


def _copy_of_clip(work: _Work, pieces: Sequence[Piece], path: Path) -> Copied | None:
    copied = copy_clip(pieces, path, work.limits)
    if copied is None:
        return None
    try:
        check_video(path, Expected(starts=copied.starts, ends=copied.ends, codec="hevc", tag="hvc1"))
    except MediaError as error:
        if error.reason != Reason.DERIVATIVE_WRONG:
            raise
        # Sources whose packets do not add up to the right times are encoded instead.
        return None
    return copied


def _play(
    work: _Work, player: Player, writers: Sequence[MovieWriter | PreviewWriter | ThumbnailWriter], start: int, end: int
) -> None:
    for item in player.play(start, end):
        if isinstance(item, Heard):
            for writer in writers:
                if isinstance(writer, MovieWriter):
                    writer.hear(item)
            continue
        for writer in writers:
            writer.show(item)
        work.report(Progress(step="clip", done=min(1.0, (item.ends_at - start) / (end - start))))
    for writer in writers:
        writer.finish()


def _event_frame(planned: Sequence[tuple[int, int]], window: Window) -> int:
    return max((start for start, _ in planned if start <= window.event_at), default=planned[0][0])


def _encoded_clip(work: _Work, pieces: Sequence[Piece], writer: MovieWriter, lost: int) -> Derivative:
    pictures = writer.pictures
    if not pictures.frames:
        raise MediaError(Reason.FOOTAGE_UNREADABLE, "not one frame of the window can be decoded")
    encoder = writer.encoder
    expected = Expected(starts=pictures.starts, ends=pictures.ends, codec=encoder.codec, tag=encoder.tag)
    check_video(writer.path, expected)
    options = dict(encoder.options)
    if writer.has_audio:
        options |= {"audio": "copied"} if can_be_copied(pieces) else {"audio": f"aac {work.settings.audio_bit_rate}"}
    return Derivative(
        name=writer.path.name,
        path=writer.path,
        actual_from=pictures.frames[0][0],
        actual_to=min(pictures.frames[-1][1], work.window.asked_to),
        gaps=gaps(pictures.frames, work.window.asked_from, work.window.asked_to, pieces),
        video_codec="hevc",
        audio_codec="aac" if writer.has_audio else None,
        width=pictures.size[0],
        height=pictures.size[1],
        frames=len(pictures.frames),
        copied=False,
        tool=tool(encoder.name, **options),
        notes=tuple(_clip_notes(pieces, pictures.size, lost + pictures.misplaced)),
    )


def _copied_clip(work: _Work, pieces: Sequence[Piece], copied: Copied) -> Derivative:
    path = work.directory / "clip.mp4"
    video = pieces[0].scan.probe.video
    return Derivative(
        name=path.name,
        path=path,
        actual_from=copied.frames[0][0],
        actual_to=min(copied.frames[-1][1], work.window.asked_to),
        gaps=gaps(copied.frames, work.window.asked_from, work.window.asked_to, pieces),
        video_codec="hevc",
        audio_codec="aac" if copied.has_audio else None,
        width=video.width,
        height=video.height,
        frames=len(copied.frames),
        copied=True,
        tool=tool("stream copy", container="mp4", codec_tag="hvc1"),
        notes=(),
    )


def _clip_notes(pieces: Sequence[Piece], size: tuple[int, int], lost: int) -> Iterator[str]:
    sizes = {(piece.scan.probe.video.width, piece.scan.probe.video.height) for piece in pieces}
    if lost:
        yield f"{lost} frames of the window could not be decoded and are missing"
    if any(other != size for other in sizes):
        yield f"pictures of another size than {size[0]}x{size[1]} were fitted into it; the rest of it is black"


def _preview(work: _Work, writer: PreviewWriter, pieces: Sequence[Piece]) -> Derivative:
    if not writer.frames:
        raise MediaError(Reason.FOOTAGE_UNREADABLE, "not one frame around the event can be decoded")
    check_video(writer.path, Expected.of(writer.frames, "vp9", None))
    return Derivative(
        name=writer.path.name,
        path=writer.path,
        actual_from=writer.frames[0][0],
        actual_to=writer.frames[-1][1],
        gaps=gaps(writer.frames, writer.frames[0][0], writer.frames[-1][1], pieces),
        video_codec="vp9",
        audio_codec=None,
        width=writer.size[0],
        height=writer.size[1],
        frames=len(writer.frames),
        copied=False,
        tool=tool("libvpx-vp9", **preview_encoder_options(work.settings)),
        notes=(),
    )


def _thumbnail(work: _Work, writer: ThumbnailWriter) -> Derivative:
    if writer.taken is None:
        raise MediaError(Reason.FOOTAGE_UNREADABLE, "no frame near the event can be decoded")
    return Derivative(
        name=writer.path.name,
        path=writer.path,
        actual_from=writer.taken.starts_at,
        actual_to=writer.taken.ends_at,
        gaps=(),
        video_codec="mjpeg",
        audio_codec=None,
        width=writer.size[0],
        height=writer.size[1],
        frames=1,
        copied=False,
        tool=tool("mjpeg", quality=str(work.settings.thumbnail_quality)),
        notes=(),
    )


def _audio_codec(piece: Piece) -> str | None:
    audio = piece.scan.probe.audio
    return None if audio is None else audio.codec
