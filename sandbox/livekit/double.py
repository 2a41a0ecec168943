"""LiveKit in this process: rooms that tests fill, recordings that end as they are told, and everything reported.

Times in what is filmed and reported come from a clock that `advance` moves, so that a file gets long without waiting.
Tokens and the times of reports are those of the wall clock: nobody believes a report from the future.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Self

from livekit.protocol.egress import EgressInfo
from livekit.protocol.webhook import WebhookEvent

from sandbox.livekit.egress import EgressRun, Request, has_file
from sandbox.livekit.faults import ApiFaults, EgressFaults, Outcome, Upload
from sandbox.livekit.film import Filming
from sandbox.livekit.reports import about_egress, about_room, as_misreported
from sandbox.livekit.rooms import LiveKitRoom
from sandbox.livekit.storage import S3Target, location_of, target_of, upload
from sandbox.livekit.twirp import NOT_FOUND, PRECONDITION, TwirpError, TwirpServer
from sandbox.livekit.webhooks import Delivery, PostOffice, forgeries_of, sign
from sandbox.livekit.world import Clock, RoomState

API_KEY = "sandbox"
API_SECRET = "the-sandbox-of-indelible-has-no-secrets"  # noqa: S105 - known to everybody, and worth nothing
_WORKERS = 4  # files are encoded and uploaded side by side
ANYBODY = None
ROOM = ""


class LiveKitDouble:
    """One LiveKit server with its egress. Use it as a context manager."""

    def __init__(
        self,
        *,
        keys: Mapping[str, str] | None = None,
        storage: S3Target | None = None,
        filming: Filming | None = None,
        page_size: int = 0,
    ) -> None:
        """The first of `keys` signs reports; `storage` is what egress was installed with; 0 lists without pages."""
        self.keys = dict(keys or {API_KEY: API_SECRET})
        self.page_size = page_size
        self.lock = threading.RLock()
        self._ended = threading.Condition(self.lock)
        self.clock = Clock()
        self.rooms: dict[str, RoomState] = {}
        self.egress: dict[str, EgressRun] = {}
        self._storage = storage
        self._filming = filming or Filming()
        self._planned: list[tuple[str | None, EgressFaults]] = []
        self._troubles: list[ApiFaults] = []
        self._held: dict[str, list[Delivery]] = {}
        self._calls: list[str] = []
        self._post = PostOffice()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="egress")
        self._timers: list[threading.Timer] = []
        self._server = TwirpServer(self)

    def __enter__(self) -> Self:
        """Start."""
        self._post.start()
        self._server.serve_in_thread(notices_end_seconds=0.02)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; what is being written is given up."""
        self._server.shutdown()
        self._server.server_close()
        for timer in self._timers:
            timer.cancel()
        self._pool.shutdown(cancel_futures=True)
        self._post.stop()

    @property
    def url(self) -> str:
        """Where LiveKit's API answers."""
        return self._server.url

    @property
    def api_key(self) -> str:
        """The name of the key that signs reports."""
        return next(iter(self.keys))

    @property
    def api_secret(self) -> str:
        """Its secret."""
        return self.keys[self.api_key]

    def advance(self, seconds: float) -> None:
        """Let so much time have passed in everything that is being filmed."""
        self.clock.advance(seconds)

    def sign_with(self, api_key: str) -> None:
        """Sign reports with another of `keys` from now on."""
        self.keys = {api_key: self.keys[api_key], **self.keys}

    def open_room(self, name: str) -> LiveKitRoom:
        """Open a room, or give the one there is."""
        with self.lock:
            if name not in self.rooms:
                self.rooms[name] = RoomState.opened(name, self.clock)
                self.report(about_room("room_started", self.rooms[name]))
            return LiveKitRoom(self, self.rooms[name])

    def misbehave(self, faults: EgressFaults, *, identity: str | None = ANYBODY) -> None:
        """Let the next egress of `identity` (ROOM: of the room, ANYBODY: of whomever) that is started do this."""
        with self.lock:
            self._planned.append((identity, faults))

    def trouble(self, faults: ApiFaults) -> None:
        """Let calls meet this, before what was said earlier."""
        with self.lock:
            self._troubles.insert(0, faults)

    def heal(self) -> None:
        """End all troubles and plans; egress that runs already keeps its own."""
        with self.lock:
            self._troubles.clear()
            self._planned.clear()

    def trouble_of(self, method: str) -> ApiFaults:
        """What a call of `method` meets; counts it."""
        with self.lock:
            self._calls.append(method)
            for place, faults in enumerate(self._troubles):
                if faults.method in {"", method} and faults.times != 0:
                    if faults.times is not None:
                        self._troubles[place] = replace(faults, times=faults.times - 1)
                    return faults
        return ApiFaults()

    def calls(self) -> list[str]:
        """The methods called so far, whatever became of the calls."""
        with self.lock:
            return list(self._calls)

    def egresses(self) -> list[EgressInfo]:
        """Everything that was ever started, as LiveKit tells it now."""
        with self.lock:
            return [run.snapshot() for run in self.egress.values()]

    def attributes(self, room: str, identity: str) -> dict[str, str]:
        """The attributes of a participant."""
        with self.lock:
            return dict(self.rooms[room].members[identity].info.attributes)

    def start_egress(self, room: RoomState, request: Request, identity: str) -> EgressInfo:
        """Begin to record. Starting twice records twice, as LiveKit does."""
        with self.lock:
            number = None if identity == ROOM else room.numbers.get(identity)
            run = EgressRun.begun(room, request, number, self._faults_for(identity))
            self.egress[run.info.egress_id] = run
            self._tell(run, "egress_started")
            started = run.snapshot()
            if identity != ROOM and identity not in room.members:
                run.finish(Outcome.FAILED, error=f"participant {identity} not found")
                self._tell(run, "egress_ended")
            else:
                run.activate()
                self._tell(run, "egress_updated")
                if run.faults.after_seconds is not None:
                    self._after(run.faults.after_seconds, self.end_egress, run.info.egress_id, run.faults.outcome)
            return started

    def stop_egress(self, egress_id: str) -> EgressInfo:
        """The order to end. Raises TwirpError when there is none of that id, or it has ended."""
        with self.lock:
            run = self.egress.get(egress_id)
            if run is None:
                raise TwirpError(NOT_FOUND, "egress does not exist")
            if not run.is_active:
                raise TwirpError(PRECONDITION, f"egress with status {run.info.status} cannot be stopped")
            self._end(run, run.faults.outcome)
            return run.snapshot()

    def end_egress(self, egress_id: str, outcome: Outcome = Outcome.COMPLETE) -> None:
        """Let it end by itself, without an order."""
        with self.lock:
            run = self.egress[egress_id]
            if run.is_active:
                self._end(run, outcome)

    def wait_until_ended(self, egress_id: str, *, seconds: float = 30.0) -> EgressInfo:
        """Wait, whether or not the end is reported. Raises TimeoutError."""
        with self._ended:
            if not self._ended.wait_for(lambda: not self.egress[egress_id].is_active, seconds):
                raise TimeoutError(f"{egress_id} did not end within {seconds} s")
            return self.egress[egress_id].snapshot()

    def end_egress_of(self, room: RoomState, identity: str | None) -> None:
        """Whoever was recorded has gone; None: everybody has."""
        with self.lock:
            for run in self.egress.values():
                if run.room is room and run.is_active and identity in {None, run.info.participant.identity}:
                    self._end(run, run.faults.outcome)

    def send_webhooks_to(self, *urls: str) -> None:
        """Deliver reports to these addresses from now on."""
        self._post.send_to(*urls)

    def webhooks(self) -> list[Delivery]:
        """Every report made so far, in the order of sending."""
        return self._post.deliveries()

    def webhook_statuses(self) -> list[int]:
        """What receivers answered, try by try; 0 for a broken connection."""
        return self._post.statuses()

    def wait_for_webhook(self, event: str, *, egress_id: str = "", number: int = 1, seconds: float = 30.0) -> Delivery:
        """The report of that name, and egress if given, with that number from 1. Raises TimeoutError."""
        return self._post.wait_for(event, egress_id, number, seconds)

    def flush_webhooks(self) -> None:
        """Wait until everything was delivered or given up."""
        self._post.flush()

    def replay(self, delivery: Delivery) -> None:
        """Send the very same once more, as somebody who overheard it can."""
        self._post.post(delivery)

    def forge(self, delivery: Delivery) -> None:
        """Send it as somebody without the secret can: with another signature, and with other bytes."""
        for forgery in forgeries_of(delivery, self.api_key):
            self._post.post(forgery)

    def report(self, event: WebhookEvent) -> None:
        """Sign and send a report."""
        self._post.post(sign(event, self.api_key, self.api_secret))

    def _tell(self, run: EgressRun, name: str) -> None:
        """Report on an egress, as it is to be reported."""
        delivery = sign(about_egress(name, run.info), self.api_key, self.api_secret)
        for one in as_misreported(delivery, run.faults, self._held.setdefault(delivery.about, []), self.api_key):
            self._post.post(one)

    def _faults_for(self, identity: str) -> EgressFaults:
        for place, (whose, faults) in enumerate(self._planned):
            if whose in {ANYBODY, identity}:
                del self._planned[place]
                return faults
        return EgressFaults()

    def _after(self, seconds: float, act: Callable[..., None], *details: object) -> None:
        timer = threading.Timer(seconds, act, details)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _end(self, run: EgressRun, outcome: Outcome) -> None:
        if run.ordered_to_end:
            return
        run.order_end()
        self._tell(run, "egress_updated")
        if outcome is not Outcome.NEVER_ENDS:
            # A server that is being stopped takes no more work.
            with contextlib.suppress(RuntimeError):
                self._pool.submit(self._finish, run, outcome)

    def _finish(self, run: EgressRun, outcome: Outcome) -> None:
        location, size, error = "", 0, ""
        if has_file(outcome):
            try:
                location, size = self._write(run)
            except Exception as problem:  # noqa: BLE001 - as LiveKit: whatever breaks is how the egress ends
                outcome, error = Outcome.FAILED, f"{type(problem).__name__}: {problem}"
        with self.lock:
            run.finish(outcome, location=location, size=size, error=error)
            self._tell(run, "egress_ended")
            self._ended.notify_all()
        if run.faults.upload in {Upload.LATE, Upload.TWICE} and has_file(outcome):
            self._after(run.faults.upload_seconds, self._upload_again, run)

    def _write(self, run: EgressRun) -> tuple[str, int]:
        """Film it, and upload it if now is the time; where it is said to be, and its size."""
        film = run.shoot(self._filming)
        if run.faults.upload in {Upload.NORMAL, Upload.TWICE}:
            return self._upload(run, film), len(film)
        return location_of(target_of(run.output, self._storage), run.output.filepath), len(film)

    def _upload_again(self, run: EgressRun) -> None:
        film = run.shoot(self._filming, again=run.faults.upload is Upload.TWICE)
        with contextlib.suppress(OSError):
            self._upload(run, film)

    def _upload(self, run: EgressRun, film: bytes) -> str:
        target = target_of(run.output, self._storage)
        location = upload(target, run.output.filepath, film)
        if not run.output.disable_manifest:
            folder = run.output.filepath.rpartition("/")[0]
            manifest = f"{folder}/{run.info.egress_id}.json".lstrip("/")
            upload(target, manifest, b"{}", "application/json")
        return location
