"""`indelible camera record`: one camera, one process, one directory."""

import math
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ledger.address import Address
from ledger.settings_reader import LOG_FORMATS, LOG_LEVELS, LogSettings
from media.video.recorder_address import CameraAddress

_MAX_ADDRESS_FILE_BYTES = 4096
_HOUR_US = 3600 * 1_000_000
_GIGABYTE = 10**9


class Number(click.FloatRange):
    """A number in a range; `nan` is in none, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the option's text."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


@click.group()
def camera() -> None:
    """Record cameras."""


@camera.command()
@click.option(
    "--directory",
    envvar="INDELIBLE_CAMERA_DIRECTORY",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The ring: a directory for this camera alone.",
)
@click.option(
    "--address",
    envvar="INDELIBLE_CAMERA_ADDRESS",
    help="rtsp://HOST/PATH. A password may stand in it only in the variable INDELIBLE_CAMERA_ADDRESS.",
)
@click.option(
    "--address-file",
    envvar="INDELIBLE_CAMERA_ADDRESS_FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that holds the address, with its password.",
)
@click.option(
    "--segment-seconds",
    envvar="INDELIBLE_CAMERA_SEGMENT_SECONDS",
    type=Number(1, 3600),
    default=10.0,
    show_default=True,
    help="Segments end at the first keyframe after so long.",
)
@click.option(
    "--keep-hours",
    envvar="INDELIBLE_CAMERA_KEEP_HOURS",
    type=Number(0.01, 24 * 366),
    default=72.0,
    show_default=True,
    help="Older segments are deleted.",
)
@click.option(
    "--keep-gigabytes",
    envvar="INDELIBLE_CAMERA_KEEP_GIGABYTES",
    type=Number(0.001, 1_000_000),
    default=50.0,
    show_default=True,
    help="When there is more, the oldest segments are deleted.",
)
@click.option("--metrics-listen", envvar="INDELIBLE_METRICS_LISTEN", help="HOST:PORT for Prometheus.")
@click.option("--log-level", envvar="INDELIBLE_LOG_LEVEL", type=click.Choice(LOG_LEVELS), default="info")
@click.option("--log-format", envvar="INDELIBLE_LOG_FORMAT", type=click.Choice(LOG_FORMATS), default="json")
@click.pass_context
def record(  # noqa: PLR0913 - click's calling style
    ctx: click.Context,
    *,
    directory: Path,
    address: str | None,
    address_file: Path | None,
    segment_seconds: float,
    keep_hours: float,
    keep_gigabytes: float,
    metrics_listen: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Record an RTSP camera into a ring of segments until SIGTERM or Ctrl-C.

    The camera is tried again for ever when it is lost. Each segment has a JSON file beside it that tells its clock.
    """
    from ledger.telemetry import configure_logging  # noqa: PLC0415 - libraries that `--help` should not wait for
    from media.video.recorder import RecorderSettings  # noqa: PLC0415 - as above
    from media.video.recorder_process import run_recorder  # noqa: PLC0415 - as above
    from media.video.recorder_ring import RingError  # noqa: PLC0415 - as above

    given = ctx.get_parameter_source("address") is ParameterSource.COMMANDLINE
    settings = RecorderSettings(
        address=_address(address, address_file, on_command_line=given),
        directory=directory,
        segment_us=round(segment_seconds * 1_000_000),
        keep_us=round(keep_hours * _HOUR_US),
        keep_bytes=round(keep_gigabytes * _GIGABYTE),
    )
    try:
        listen = Address.parse(metrics_listen) if metrics_listen else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--metrics-listen") from error
    configure_logging(LogSettings(level=log_level, format=log_format))
    try:
        run_recorder(settings, listen)
    except RingError as error:
        raise click.ClickException(str(error)) from error


def _address(text: str | None, file: Path | None, *, on_command_line: bool) -> CameraAddress:
    if (text is None) == (file is None):
        raise click.UsageError("give the camera's address: either --address or --address-file")
    if file is not None:
        try:
            with file.open("rb") as opened:
                text = opened.read(_MAX_ADDRESS_FILE_BYTES).decode("utf-8", "replace").strip()
        except OSError as error:
            raise click.UsageError(f"--address-file: {file} cannot be read ({error.strerror})") from error
    try:
        address = CameraAddress.parse(text or "")
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if on_command_line and address.has_password:
        raise click.UsageError(
            "everyone on this machine can read a command line; put an address with a password into --address-file or "
            "INDELIBLE_CAMERA_ADDRESS"
        )
    return address
