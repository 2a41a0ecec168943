"""Settings of the control of recordings, from the environment: which LiveKit records, and within what bounds."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ledger.settings_reader import Reader, whole_number
from media.recordings.control import ControlLimits
from media.recordings.livekit_values import ApiKey, EgressStorage, LiveKitSettings
from media.secret_settings import read_secret
from media.storage.client import StoreSettings

DEFAULT_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlSettings:
    """The LiveKit server that records. `layout_url` is where its egress finds our layout page."""

    livekit: LiveKitSettings
    layout_url: str | None
    limits: ControlLimits = field(default_factory=ControlLimits)


def read_control(read: Reader, store: StoreSettings) -> ControlSettings | None:
    """What the operator set; None without a LiveKit server: nothing is recorded then. Problems are the reader's."""
    prefix = "INDELIBLE_LIVEKIT"
    url = read.value(f"{prefix}_URL", _address, None)
    if url is None:
        return None
    seconds = whole_number(1)
    defaults = ControlLimits()
    bounds = {
        name: float(read.value(f"{prefix}_{name.upper()}_SECONDS", seconds, round(getattr(defaults, name))))
        for name in ("finish", "empty", "longest")
    }
    looks = read.value(f"{prefix}_LOOK_SECONDS", seconds, round(defaults.between_looks))
    return ControlSettings(
        livekit=LiveKitSettings(
            url=url,
            keys=_keys(read, prefix),
            storage=EgressStorage(
                bucket=store.bucket,
                region=store.region,
                endpoint_url=read.value(f"{prefix}_S3_ENDPOINT", str, store.endpoint_url),
                access_key=read.value(f"{prefix}_S3_ACCESS_KEY", str, None),
                secret_key=read_secret(read, f"{prefix}_S3_SECRET_KEY"),
            ),
            timeout_seconds=float(read.value(f"{prefix}_TIMEOUT_SECONDS", seconds, DEFAULT_TIMEOUT_SECONDS)),
        ),
        layout_url=read.value(f"{prefix}_LAYOUT_URL", _page, None),
        limits=ControlLimits(
            finish=bounds["finish"], empty=bounds["empty"], longest=bounds["longest"], between_looks=float(looks)
        ),
    )


def _keys(read: Reader, prefix: str) -> tuple[ApiKey, ...]:
    """The key that signs, and, while keys are being changed, the one before it."""
    keys = []
    for part in ("", "_PREVIOUS"):
        name = f"{prefix}{part}_API_KEY"
        secret_name = f"{prefix}{part}_API_SECRET"
        key, secret = read.value(name, str, ""), read_secret(read, secret_name)
        if (not part and not (key and secret)) or bool(key) != bool(secret):
            read.problem(name, f"is not set together with {secret_name} or {secret_name}_FILE; LiveKit needs both")
        elif key and secret:
            keys.append(ApiKey(key=key, secret=secret))
    return tuple(keys)


def _address(text: str) -> str:
    return _checked(text, ("http", "https", "ws", "wss"))


def _page(text: str) -> str:
    return _checked(text, ("http", "https"))


def _checked(text: str, schemes: tuple[str, ...]) -> str:
    address = urlsplit(text)
    if address.scheme not in schemes or not address.hostname or "@" in address.netloc:
        raise ValueError(f"give an address that begins with {' or '.join(f'{one}://' for one in schemes)}")
    return text
