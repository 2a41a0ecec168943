"""A camera to try things with: `python -m sandbox.camera live` serves RTSP, `... files` leaves a recording."""

import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import click

from sandbox.camera.files import Recording, write_segments
from sandbox.camera.server import Camera
from sandbox.camera.show import Filming
from sandbox.lifetime import clear_errors, stopped_by_signals


@click.group()
def camera() -> None:
    """Film a moving pattern that carries the time."""


@camera.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8554, show_default=True)
@click.option("--width", type=click.IntRange(160, 3840), default=640, show_default=True)
@click.option("--height", type=click.IntRange(90, 2160), default=360, show_default=True)
@click.option("--rate", type=click.IntRange(1, 60), default=15, show_default=True, help="Pictures per second.")
@click.option("--sound", is_flag=True, help="Send a tone as well.")
def live(port: int, width: int, height: int, rate: int, sound: bool) -> None:  # noqa: FBT001 - click's calling style
    """Serve RTSP on the loopback interface until Ctrl-C."""
    with clear_errors(), stopped_by_signals():
        filming = Camera(Filming(width=width, height=height, rate=rate, sound=sound), port=port)
        click.echo(filming.url)
        try:
            threading.Event().wait()
        finally:
            filming.stop()


@camera.command()
@click.argument("place")
@click.option("--seconds", type=click.FloatRange(1, 86400), default=120.0, show_default=True)
@click.option("--segment-seconds", type=click.FloatRange(1, 3600), default=10.0, show_default=True)
@click.option("--ago", type=click.FloatRange(0), help="How many seconds ago it began.  [default: it ends now]")
@click.option("--codec", type=click.Choice(["libx264", "libx265", "mjpeg"]), default="libx264", show_default=True)
@click.option("--endpoint-url", help="Of the S3 store. Its keys come from where boto3 looks for them.")
def files(  # noqa: PLR0913, PLR0917 - click's calling style
    place: str, seconds: float, segment_seconds: float, ago: float | None, codec: str, endpoint_url: str | None
) -> None:
    """Write a recording to PLACE, a directory or s3://BUCKET/PREFIX, in files named by their UTC time."""
    began = time.time() - (seconds if ago is None else ago)
    recording = Recording(
        starts_at=int(began) * 1_000_000, seconds=seconds, segment_seconds=segment_seconds, codec=codec
    )
    address = urlsplit(place)
    if address.scheme != "s3":
        for path in write_segments(Path(place), recording):
            click.echo(path)
        return
    client = boto3.client("s3", endpoint_url=endpoint_url)
    with tempfile.TemporaryDirectory() as directory:
        for path in write_segments(Path(directory), recording):
            key = address.path.lstrip("/") + path.name
            client.upload_file(str(path), address.netloc, key)
            click.echo(f"s3://{address.netloc}/{key}")


if __name__ == "__main__":
    camera()
