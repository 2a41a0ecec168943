"""Settings of the processing of recordings, from the environment."""

from dataclasses import dataclass, field

from ledger.settings_reader import Reader, whole_number
from media.recordings.plan import Waiting
from media.video.composite_values import CompositeSettings
from media.video.recording_values import EncodingSettings

DEFAULT_ANNOTATION_WAIT_SECONDS = 3600
DEFAULT_UPLOAD_WAIT_SECONDS = 600
# H.264 takes pictures of whole pairs of pixels; larger than 4K is not what anybody films with a phone.
_SIZES = range(64, 3841, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessingSettings:
    """How long processing waits, and what it makes."""

    waiting: Waiting = field(default_factory=Waiting)
    encoding: EncodingSettings = field(default_factory=EncodingSettings)
    composite: CompositeSettings = field(default_factory=CompositeSettings)


def read_processing(read: Reader) -> ProcessingSettings:
    """Read what the operator set; problems are the reader's."""
    prefix = "INDELIBLE_RECORDINGS"
    seconds = whole_number(1)
    annotations = read.value(f"{prefix}_ANNOTATION_WAIT_SECONDS", seconds, DEFAULT_ANNOTATION_WAIT_SECONDS)
    upload = read.value(f"{prefix}_UPLOAD_WAIT_SECONDS", seconds, DEFAULT_UPLOAD_WAIT_SECONDS)
    return ProcessingSettings(
        waiting=Waiting(annotations=float(annotations), upload=float(upload)),
        composite=CompositeSettings(
            width=read.value(f"{prefix}_WIDTH", _even, CompositeSettings().width),
            height=read.value(f"{prefix}_HEIGHT", _even, CompositeSettings().height),
        ),
    )


def _even(text: str) -> int:
    pixels = whole_number(1)(text)
    if pixels not in _SIZES:
        raise ValueError(f"give an even number of pixels from {_SIZES.start} to {_SIZES.stop - 1}")
    return pixels
