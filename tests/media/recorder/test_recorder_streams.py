"""Which of a camera's streams are recorded."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.video.stream import VideoStream

from media.video.recorder import CameraLostError, _choose_streams


def film(codec: str, *unknown: bytes) -> InputContainer:
    """A second of pictures and silence; the codecs that Matroska calls `unknown` are called otherwise."""
    made = io.BytesIO()
    with av.open(made, "w", format="matroska") as container:
        video = container.add_stream(codec, rate=5)
        assert isinstance(video, VideoStream)
        video.width = video.height = 64
        sound = container.add_stream("pcm_s16le", rate=8_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8_000), np.int16), layout="mono")
        silence.sample_rate, silence.pts, silence.time_base = 8_000, 0, Fraction(1, 8_000)
        for packet in (*sound.encode(silence), *sound.encode(None)):
            container.mux(packet)
        for number in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    data = made.getvalue()
    for name in unknown:
        assert data.count(name) == 1
        data = data.replace(name, name[:2] + b"?" * len(name[2:]))
    return av.open(io.BytesIO(data), "r")


def test_pictures_that_nobody_can_decode_lose_the_camera_with_a_reason() -> None:
    with film("libx264", b"V_MPEG4/ISO/AVC") as container:
        assert container.streams.video[0].codec_context is None
        with pytest.raises(CameraLostError, match="it sends an unknown codec, which is not recorded"):
            _choose_streams(container)


def test_sound_that_nobody_can_decode_is_left_out() -> None:
    with film("libx264", b"A_PCM/INT/LIT") as container:
        assert container.streams.audio[0].codec_context is None
        video, audio = _choose_streams(container)
        assert (video.codec_context.name, audio) == ("h264", None)


def test_pictures_of_a_codec_that_is_not_recorded_lose_the_camera_with_its_name() -> None:
    with film("vp8") as container, pytest.raises(CameraLostError, match="it sends vp8, which is not recorded"):
        _choose_streams(container)
