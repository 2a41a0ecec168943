"""The file of a participant who was heard and never seen: AAC in M4A, copied where it can be."""

from pathlib import Path

import av
from av.container import OutputContainer

from media.errors import MediaError, Reason
from media.video.check import check_sound
from media.video.encoding import mp4_options, tool
from media.video.plan import FOR_EVER
from media.video.reading import OpenedSound, codec_name, opened_sound, timed_sound
from media.video.recording_values import DEFAULT_ENCODING, Encoded, EncodingSettings
from media.video.showing import Heard
from media.video.sound import CopiedSound, EncodedSound, encoded_sound
from media.video.timing import zero_of
from media.video.values import DEFAULT_LIMITS, AudioTrack, Limits


def keep_sound(
    source: Path, target: Path, *, settings: EncodingSettings = DEFAULT_ENCODING, limits: Limits = DEFAULT_LIMITS
) -> Encoded:
    """Write the sound of a file, at the times it has, into `target` (M4A); video it may hold is left out.

    Raises MediaError: those of `probe` but NO_VIDEO; FOOTAGE_EMPTY for a file without sound; DERIVATIVE_WRONG.
    """
    first, packets = _first(source, limits)
    with (
        opened_sound(source, limits) as heard,
        av.open(str(target), "w", format="ipod", container_options=mp4_options()) as container,
    ):
        zero = zero_of(heard.container, first)
        is_copied = codec_name(heard.audio) == "aac"
        track = _track(container, heard, settings, is_copied=is_copied)
        heard_until = 0
        for timed in timed_sound(heard):
            heard_until = max(heard_until, timed.pts + timed.duration - zero)
            track.hear(Heard(packet=timed.packet, starts_at=timed.pts - zero, duration=timed.duration))
        track.finish()
    lost = track.lost if isinstance(track, EncodedSound) else 0
    if is_copied:
        check_sound(target, packets, heard_until)
    return Encoded(
        path=target,
        width=0,
        height=0,
        frames=0,
        duration_us=heard_until,
        video_codec=None,
        audio_codec="aac",
        copied=is_copied,
        tool=tool("stream copy", container="m4a") if is_copied else tool("aac", bit_rate=str(settings.audio_bit_rate)),
        annotation_offset_us=None,
        strokes_painted=0,
        notes=(f"{lost} packets of sound could not be decoded and are silent",) if lost else (),
    )


def _first(source: Path, limits: Limits) -> tuple[int, int]:
    """When the first sound comes on the clock of the file, and how many packets there are."""
    with opened_sound(source, limits) as heard:
        times = [timed.pts for timed in timed_sound(heard)]
    if not times:
        raise MediaError(Reason.FOOTAGE_EMPTY, f"{source.name} holds no sound")
    return min(times), len(times)


def _track(
    container: OutputContainer, heard: OpenedSound, settings: EncodingSettings, *, is_copied: bool
) -> CopiedSound | EncodedSound:
    context = heard.audio.codec_context
    if is_copied:
        stream = container.add_stream_from_template(heard.audio, opaque=True)
        return CopiedSound(container=container, stream=stream, rate=context.sample_rate, origin=0, early=True)
    audio = AudioTrack(codec=codec_name(heard.audio), sample_rate=context.sample_rate, channels=context.channels)
    return encoded_sound(container, audio, bit_rate=settings.audio_bit_rate, origin=0, ends_us=FOR_EVER)
