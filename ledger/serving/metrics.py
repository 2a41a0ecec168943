"""The address at which Prometheus finds a service's metrics."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, start_http_server

from ledger.address import Address
from ledger.settings_reader import SettingsError


def serve_metrics(listen: Address, registry: CollectorRegistry, *, variable: str) -> Callable[[], None]:
    """Serve `registry` at the address the setting `variable` gave; what is returned ends that. Raises SettingsError."""
    try:
        server, _thread = start_http_server(listen.port, listen.host, registry)
    except OSError as error:
        raise SettingsError(
            (f"{variable}: cannot listen on {listen} ({error.strerror}); choose a free port",)
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop
