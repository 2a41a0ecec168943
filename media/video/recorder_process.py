"""The recorder as a process: limits on what libav may take, signals, metrics."""

import contextlib
import resource
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import av.logging
import structlog
from prometheus_client import start_http_server

from ledger.address import Address
from ledger.settings_reader import SettingsError
from media.video.recorder import RecorderSettings, record
from media.video.recorder_metrics import RecorderMetrics

# A recorder decodes nothing and holds a second of video; a camera that makes libav ask for more than this is hostile.
ADDRESS_SPACE_BYTES = 4 << 30

_log = structlog.stdlib.get_logger("media.recorder")


def run_recorder(settings: RecorderSettings, metrics_listen: Address | None) -> None:
    """Record until SIGTERM or SIGINT. Raises RingError, SettingsError."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    # libav would write the address, password and all, to standard error.
    av.logging.set_level(None)
    _limit(resource.RLIMIT_AS, ADDRESS_SPACE_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    metrics = RecorderMetrics()
    with _served(metrics, metrics_listen):
        _log.info("recording", camera=str(settings.address), directory=str(settings.directory))
        record(settings, stop, metrics)
    _log.info("stopped")


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


@contextlib.contextmanager
def _served(metrics: RecorderMetrics, listen: Address | None) -> Iterator[None]:
    if listen is None:
        yield
        return
    try:
        server, _thread = start_http_server(listen.port, listen.host, metrics.registry)
    except OSError as error:
        raise SettingsError(
            (f"INDELIBLE_METRICS_LISTEN: cannot listen on {listen} ({error.strerror}); choose a free port",)
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
