"""The clip: H.265 in MP4 under the tag `hvc1`, with exactly the frames of the window at the times of the wall clock."""

from collections.abc import Sequence
from pathlib import Path

from media.video.copying import Copied, copy_packets
from media.video.encoding import Encoder
from media.video.plan import Piece, Stretch, stretch_of_clip
from media.video.sound import can_be_copied
from media.video.values import Limits, VideoSettings


def copy_clip(pieces: Sequence[Piece], path: Path, limits: Limits) -> Copied | None:
    """Write the clip without encoding, or None where that cannot give exactly the window (media/video/plan.py)."""
    with_audio = any(piece.scan.probe.audio is not None for piece in pieces)
    if any(piece.scan.probe.video.codec != "hevc" for piece in pieces) or (with_audio and not can_be_copied(pieces)):
        return None
    stretches: list[Stretch] = []
    for piece in pieces:
        stretch = stretch_of_clip(piece, is_last=piece is pieces[-1])
        if stretch is None or (stretches and stretch.kind != stretches[0].kind):
            return None
        stretches.append(stretch)
    return copy_packets(stretches, path, limits, tag="hvc1")


def encoder_options(settings: VideoSettings) -> dict[str, str]:
    """What libx265 is told."""
    # Left to itself x265 holds more pictures the more cores there are; so 1080p stays under 500 MB on any machine.
    # Without B frames decoding and showing have one order: what MP4 says of times and lengths is exact in every player.
    parameters = "log-level=none:bframes=0:frame-threads=2:rc-lookahead=10"
    if settings.threads:
        parameters += f":pools={settings.threads}"
    return {"preset": settings.preset, "crf": str(settings.crf), "x265-params": parameters}


def clip_encoder(settings: VideoSettings) -> Encoder:
    """The encoder of clips."""
    return Encoder(name="libx265", codec="hevc", tag="hvc1", options=encoder_options(settings))
