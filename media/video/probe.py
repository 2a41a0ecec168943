"""What a file of footage holds."""

from pathlib import Path

from media.video.scan import scan
from media.video.values import DEFAULT_LIMITS, Limits, Probe


def probe(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> Probe:
    """Read a whole file, decoding nothing.

    Raises MediaError: FOOTAGE_EMPTY, FOOTAGE_UNREADABLE, FOOTAGE_TRUNCATED, NO_VIDEO, UNSUPPORTED_CODEC, TOO_LARGE.
    """
    return scan(path, limits).probe
