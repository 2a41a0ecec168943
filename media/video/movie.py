"""Writes pictures and sound of pieces of footage into one MP4 file, as they are shown and heard."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame

from media.video.encoding import Encoder, PictureWriter, mp4_options
from media.video.frames import Canvas, encodable_format
from media.video.placing import Rect
from media.video.plan import Piece
from media.video.showing import Heard, Shown
from media.video.sound import CopiedSound, EncodedSound, add_sound
from media.video.values import Limits

# What is done to a picture, shown from this time on, which fills this part of the canvas, before it is encoded.
Paint = Callable[[VideoFrame, int, Rect], None]


@dataclass(kw_only=True, slots=True)
class MovieWriter:
    """Takes what is shown and heard, in order, and encodes it. Use as a context manager."""

    pieces: Sequence[Piece]
    path: Path
    limits: Limits
    encoder: Encoder
    audio_bit_rate: int
    origin: int | None = None  # time zero of the file; None: the start of the first picture, and no sound before it
    eight_bits: bool = False
    paint: Paint | None = None
    pictures: PictureWriter = field(init=False)
    _container: OutputContainer = field(init=False)
    _sound: CopiedSound | EncodedSound | None = field(default=None, init=False)
    _canvas: Canvas | None = field(default=None, init=False)
    _early: list[Heard] = field(default_factory=list, init=False)

    def __enter__(self) -> Self:
        self._container = av.open(str(self.path), "w", format="mp4", container_options=mp4_options())
        nominal_us = self.pieces[0].scan.nominal_us
        self.pictures = PictureWriter(self._container, self.encoder, nominal_us, self.origin)
        return self

    def __exit__(self, *exception: object) -> None:
        self.pictures.close()
        self._container.close()

    @property
    def has_audio(self) -> bool:
        """Whether the file has sound."""
        return self._sound is not None

    @property
    def lost_sounds(self) -> int:
        """How many packets of sound could not be decoded; of sound that is copied nothing is decoded."""
        return self._sound.lost if isinstance(self._sound, EncodedSound) else 0

    def show(self, shown: Shown) -> None:
        """Encode a picture."""
        canvas = self._canvas or self._start(shown)
        frame = canvas.fit(shown.frame)
        if self.paint is not None:
            self.paint(frame, shown.starts_at, canvas.place(shown.frame))
        self.pictures.show(frame, shown.starts_at, shown.ends_at)
        if self._early:
            early, self._early = self._early, []
            for heard in early:
                self.hear(heard)

    def hear(self, heard: Heard) -> None:
        """Take a packet of audio. The decoder of pictures lags behind, so sound may come before the first one."""
        if self._canvas is None:
            self._early.append(heard)
        elif self._sound is not None:
            self._sound.hear(heard)

    def finish(self) -> None:
        """Write what the encoders kept back."""
        self.pictures.finish()
        if self._sound is not None:
            self._sound.finish()

    def _start(self, shown: Shown) -> Canvas:
        width, height = shown.frame.width + shown.frame.width % 2, shown.frame.height + shown.frame.height % 2
        pixel_format = encodable_format(shown.frame, eight_bits=self.eight_bits)
        canvas = self._canvas = Canvas(width=width, height=height, pixel_format=pixel_format)
        self.pictures.start(canvas.fit(shown.frame), shown.aspect, shown.matrix)
        self._sound = add_sound(
            self._container,
            self.pieces,
            self.limits,
            bit_rate=self.audio_bit_rate,
            origin=shown.starts_at if self.origin is None else self.origin,
            early=self.origin is not None,
        )
        return canvas
