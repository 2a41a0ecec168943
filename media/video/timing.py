"""Where time zero of a file lies: what a recorder means when it says when the file started."""

from pathlib import Path
from typing import Final

from media.video.reading import opened
from media.video.values import Limits

# The presentation of these begins at zero of their own clock (ISO/IEC 14496-12, 8.6.6), whatever is shown first.
_FROM_ZERO: Final = "mp4"


def time_zero(path: Path, first_picture_us: int, limits: Limits) -> int:
    """Time zero on the clock on which the first picture is shown at `first_picture_us` (`Scan.zero_us`).

    The clocks of other formats begin anywhere: there it is where the first picture or sound begins. Raises MediaError.
    """
    with opened(path, limits) as source:
        if _FROM_ZERO in source.container.format.name.split(","):
            return min(0, first_picture_us)
        starts_at = source.container.start_time
    return first_picture_us if starts_at is None else min(starts_at, first_picture_us)
