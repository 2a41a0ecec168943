"""Videos from real cameras and telephones, where the corpus is at hand."""

import os
from pathlib import Path

import av
import pytest

from media.errors import MediaError, Reason
from media.video.apart import write_artefacts_apart
from media.video.probe import probe
from tests.media.video.filming import NOON, SECOND, lasts, segment, window

_FOLDER = Path(os.environ.get("INDELIBLE_CORPUS", "/nowhere")) / "video"
pytestmark = pytest.mark.skipif(not _FOLDER.is_dir(), reason="INDELIBLE_CORPUS names no folder with videos")


@pytest.mark.parametrize(
    ("name", "starts", "ends", "native", "native_from", "audio"),
    [
        ("vtest.avi", 30, 34, "native.mkv", 25.0, None),
        ("phone_1080p_vfr.mp4", 0.3, 1.2, "native.mp4", 0.0, "aac"),
        ("hello_mpeg2_ps.mpeg", 1, 5, "native.mp4", 0.8008, "mp2"),
        ("cockatoo_720p_bframes.mp4", 4.1, 5.3, "native.mp4", 3.8, "mp3"),
        ("motion_audio_first.mov", 1.5, 5.2, "native.mp4", 1.0, "aac"),
    ],
)
async def test_a_real_video_is_cut(
    name: str, starts: float, ends: float, native: str, native_from: float, audio: str | None, tmp_path: Path
) -> None:
    artefacts = await write_artefacts_apart([segment(_FOLDER / name)], window(starts, ends), tmp_path)
    frame = max(probe(_FOLDER / name).video.duration_us // probe(_FOLDER / name).video.frames, 34_000)
    clip, copy = artefacts.clip, artefacts.native[0]
    assert lasts(clip.path) * SECOND == pytest.approx((ends - starts) * SECOND, abs=frame + 34_000)
    assert clip.audio_codec == (None if audio is None else "aac")
    assert (copy.name, copy.audio_codec) == (native, audio)
    # Cameras that watch make keyframes 25 s apart: the copy starts early, and says so.
    assert (copy.actual_from - NOON) / SECOND == pytest.approx(native_from, abs=0.001)
    assert f"{starts - native_from:.3f} s before the window" in copy.notes[-1]
    with av.open(str(clip.path)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"
        assert sum(1 for _ in container.decode(video=0)) == clip.frames


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("audio_only.mp4", Reason.NO_VIDEO),
        ("derived_truncated_half.mp4", Reason.FOOTAGE_TRUNCATED),
        ("sample_truncated.mkv", Reason.FOOTAGE_TRUNCATED),
    ],
)
def test_a_real_video_without_pictures_is_refused_with_the_reason(name: str, reason: Reason) -> None:
    with pytest.raises(MediaError) as refused:
        probe(_FOLDER / name)
    assert refused.value.reason == reason
