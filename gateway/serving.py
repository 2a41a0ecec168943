"""`indelible gateway` for integrators: as many processes as there are cores, which act as one."""

import gc
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from gateway.app import create_app
from gateway.auth.commands import clear_refusals
from gateway.auth.policies import load_policies
from gateway.metrics import forget_process, share_metrics, tell_metrics
from gateway.parts import Parts, opened_parts
from gateway.processes import Processes, Task
from gateway.server import INTEGRATORS_THREADS, MAX_BODY_BYTES, make_server, serve_until_stopped
from gateway.settings import GatewaySettings
from gateway.shared import Shared
from ledger.address import Address
from ledger.client import BlockingLedgerClient


def serve_integrators(settings: GatewaySettings, bound: Sequence[socket.socket], begun: Callable[[], None]) -> int:
    """Serve with a process at each socket until SIGTERM or Ctrl-C, and return the exit code.

    `begun` is called when it begins. The sockets stay open here: connections that wait at a process that dies are taken
    by the one that replaces it.

    What makes it impossible to begin is told on standard error. Raises SettingsError for policies that cannot be used.
    """
    policies = load_policies(settings.policies)
    shared = Shared()
    with tempfile.TemporaryDirectory(prefix="indelible-gateway-", ignore_cleanup_errors=True) as place:
        directory = Path(place)
        share_metrics(directory)
        opened = partial(opened_parts, settings, policies=policies, shared=shared)
        serving = [
            Task(name=f"gateway {number}", run=partial(_serve, settings, one, opened))
            for number, one in enumerate(bound, start=1)
        ]
        groups = [serving[:1], serving[1:]]
        if settings.metrics_listen is not None:
            groups.insert(0, [Task(name="metrics", run=partial(_tell, settings.metrics_listen, directory))])
        gc.freeze()
        return Processes(groups, begun=begun, ended=partial(forget_process, directory)).run()


def _serve(
    settings: GatewaySettings,
    bound: socket.socket,
    opened: Callable[[], AbstractContextManager[Parts]],
    ready: Callable[[], None],
) -> None:
    with clear_refusals(), ExitStack() as closing:
        parts = closing.enter_context(opened())
        ledger = settings.ledger
        client = closing.enter_context(BlockingLedgerClient(ledger.address, token=None, tls=ledger.tls))
        app = create_app(client, parts=parts)
        ready()
        server = make_server(
            app, bound, settings.trusted_proxy, threads=INTEGRATORS_THREADS, max_body_bytes=MAX_BODY_BYTES
        )
        serve_until_stopped(server)


def _tell(listen: Address, directory: Path, ready: Callable[[], None]) -> None:
    with clear_refusals(), ExitStack() as closing:
        closing.callback(tell_metrics(listen, directory))
        ready()
        threading.Event().wait()
