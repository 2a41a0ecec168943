"""Colours in the numbers of a picture: its own matrix (ITU-T H.273, table 4) and range, for eight bits."""

from typing import Final

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

# MatrixCoefficients: KR and KB.
_BT709: Final = (0.2126, 0.0722)
_BT601: Final = (0.299, 0.114)
_MATRICES: Final = {
    1: _BT709,
    4: (0.30, 0.11),
    5: _BT601,
    6: _BT601,
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
# Where a picture does not say: what players take it for (mpv, video/csputils.c).
_HIGHER_THAN_SD, _WIDER_THAN_SD = 576, 1280


def in_full_range(frame: VideoFrame) -> bool:
    """Whether black is 0 and white 255, not 16 and 235."""
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")


def matrix_of(frame: VideoFrame) -> tuple[float, float]:
    """KR and KB of a picture."""
    usual = _BT709 if frame.width >= _WIDER_THAN_SD or frame.height > _HIGHER_THAN_SD else _BT601
    return _MATRICES.get(frame.colorspace, usual)


def in_numbers_of(colour: str, matrix: tuple[float, float], *, full: bool) -> tuple[float, float, float]:
    """Y', Cb and Cr of #rrggbb, not rounded."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    kr, kb = matrix
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    blueness, redness = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    if full:
        return 255 * luma, 128 + 255 * blueness, 128 + 255 * redness
    return 16 + 219 * luma, 128 + 224 * blueness, 128 + 224 * redness
