"""Pictures that know when they were taken: a moving pattern, with the time as a row of black and white cells on top.

The cells survive any ordinary encoding, so a test can ask a decoded frame of any copy when its camera saw it.
"""

import av

# Cells from the left: white, black (so that a reader knows the levels), then the bits, highest first.
_TIME_BITS = 42  # milliseconds since 1970 until the year 2109
_CHECK_BITS = 4
_CELLS = 2 + _TIME_BITS + _CHECK_BITS
_BLACK, _WHITE = 16, 235
_GRADIENT = bytes(range(40, 216)) + bytes(range(215, 39, -1))
_CHROMA = 128
_MICROSECONDS_PER_MILLISECOND = 1000


class UnreadableClockError(ValueError):
    """The frame carries no readable clock."""


def draw_frame(width: int, height: int, at: int) -> av.VideoFrame:
    """The picture of the time `at` (microseconds since 1970, drawn to the millisecond), in yuv420p."""
    frame = av.VideoFrame(width, height, "yuv420p")
    luma, *chroma = frame.planes
    padding = bytes(luma.line_size - width)
    moved = (at // 20_000) % len(_GRADIENT)
    repeats = (moved + width) // len(_GRADIENT) + 1
    pattern = (_GRADIENT * repeats)[moved : moved + width] + padding
    clock = _clock_row(width, at // _MICROSECONDS_PER_MILLISECOND) + padding
    rows = _clock_rows(height)
    luma.update(clock * rows + pattern * (height - rows))
    for plane in chroma:
        plane.update(bytes([_CHROMA]) * plane.buffer_size)
    return frame


def read_clock(frame: av.VideoFrame) -> int:
    """When the frame was drawn, in microseconds since 1970 (whole milliseconds). Raises UnreadableClockError.

    The frame must have the width it was drawn with, or a scaled one of the same shape.
    """
    plane = frame.reformat(format="gray").planes[0]
    row = bytes(plane)[_clock_rows(frame.height) // 2 * plane.line_size :][: frame.width]
    levels = [row[(2 * cell + 1) * frame.width // (2 * _CELLS)] for cell in range(_CELLS)]
    white, black = levels[:2]
    if white - black < (_WHITE - _BLACK) // 2:
        raise UnreadableClockError("the frame carries no clock")
    number = 0
    for level in levels[2:]:
        number = number << 1 | (2 * level > white + black)
    milliseconds, check = number >> _CHECK_BITS, number & (1 << _CHECK_BITS) - 1
    if check != _check(milliseconds):
        raise UnreadableClockError("the clock of the frame is blurred")
    return milliseconds * _MICROSECONDS_PER_MILLISECOND


def _clock_rows(height: int) -> int:
    return height // 8


def _clock_row(width: int, milliseconds: int) -> bytes:
    number = milliseconds << _CHECK_BITS | _check(milliseconds)
    bits = [1, 0, *(number >> place & 1 for place in reversed(range(_TIME_BITS + _CHECK_BITS)))]
    return bytes(_WHITE if bits[column * _CELLS // width] else _BLACK for column in range(width))


def _check(milliseconds: int) -> int:
    """A number of four bits that a misread cell most likely changes."""
    return milliseconds % 13
