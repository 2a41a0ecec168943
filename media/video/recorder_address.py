"""Where a camera is. Its name and password are part of the address, so the address is never shown whole."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

MAX_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraAddress:
    """An RTSP address; as text it is without name and password."""

    shown: str
    for_libav: str = field(repr=False)
    has_password: bool

    def __str__(self) -> str:
        return self.shown

    @classmethod
    def parse(cls, text: str) -> "CameraAddress":
        """Read an address. Raises ValueError, whose text does not repeat it."""
        if len(text) > MAX_CHARACTERS or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("the address of a camera is one line of ASCII; write other characters as %XX")
        try:
            parts = urlsplit(text)
            port = f":{parts.port}" if parts.port is not None else ""
        except ValueError as error:
            raise ValueError("the address of the camera has an unusable host or port") from error
        if parts.scheme not in {"rtsp", "rtsps"} or not parts.hostname:
            raise ValueError("give the address as rtsp://HOST/PATH or rtsps://HOST/PATH")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        # Some cameras take their password in the query.
        return cls(
            shown=f"{parts.scheme}://{host}{port}{parts.path}" + ("?..." if parts.query else ""),
            for_libav=text,
            has_password=parts.password is not None or bool(parts.query),
        )
