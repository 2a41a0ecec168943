"""Where time zero of a file lies: what a recorder means when it says when the file started."""

from pathlib import Path
from typing import Final

from av.container import InputContainer

from media.video.reading import opened
from media.video.values import Limits

# The presentation of these begins at zero of their own clock (ISO/IEC 14496-12, 8.6.6), whatever is shown first.
_FROM_ZERO: Final = "mp4"


def time_zero(path: Path, first_picture_us: int, limits: Limits) -> int:
    """Time zero on the clock on which the first picture is shown at `first_picture_us` (`Scan.zero_us`).

    The clocks of other formats begin anywhere: there it is where the first picture or sound begins. Raises MediaError.
    """
    with opened(path, limits) as source:
        return min(first_picture_us, zero_of(source.container, first_picture_us))


def zero_of(container: InputContainer, first_us: int) -> int:
    """Time zero of an opened file whose first picture, or sound where it has no pictures, comes at `first_us`."""
    if _FROM_ZERO in container.format.name.split(","):
        return 0
    starts_at = container.start_time
    return first_us if starts_at is None else min(starts_at, first_us)
