"""Starting the double as a process, and moving its rooms, from the side of whoever needs it."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.announced import NotAnnouncedError, announced
from sandbox.doors import NotDoneError, ask
from sandbox.livekit.faults import ApiFaults, EgressFaults, Outcome


class LiveKitError(RuntimeError):
    """The local LiveKit could not be started or moved; the text says why."""


class LiveKitSandbox:
    """A running double, by its addresses; `process_id` is its process."""

    def __init__(self, process_id: int, ready: Mapping[str, str]) -> None:
        self.process_id = process_id
        self.url = ready["url"]
        self.control_url = ready["control"]
        self.api_key = ready["api_key"]
        self.api_secret = ready["api_secret"]

    def open_room(self, room: str) -> None:
        """Open a room, unless it is open."""
        self._order("open_room", room=room)

    def join(self, room: str, identity: str, *, attributes: Mapping[str, str] | None = None) -> str:
        """Somebody comes in, with camera and microphone; their `sid`."""
        return str(self._order("join", room=room, identity=identity, attributes=dict(attributes or {})))

    def leave(self, room: str, identity: str) -> None:
        """Somebody goes."""
        self._order("leave", room=room, identity=identity)

    def reconnect(self, room: str, identity: str) -> str:
        """Somebody goes and comes back; their new `sid`."""
        return str(self._order("reconnect", room=room, identity=identity))

    def share_screen(self, room: str, identity: str) -> None:
        """Somebody shows their screen."""
        self._order("share_screen", room=room, identity=identity)

    def close_room(self, room: str) -> None:
        """Everybody goes, and the room is no more."""
        self._order("close_room", room=room)

    def advance(self, seconds: float) -> None:
        """Let so much time have passed in everything that is being filmed."""
        self._order("advance", seconds=seconds)

    def misbehave(self, faults: EgressFaults, *, identity: str | None = None) -> None:
        """Let the next egress of `identity` do this."""
        told = dataclasses.asdict(faults)
        told |= {"lost": sorted(faults.lost), "duplicated": sorted(faults.duplicated)}
        self._order("misbehave", faults=told, identity=identity)

    def trouble(self, faults: ApiFaults) -> None:
        """Let calls meet this; `words` cannot be chosen here."""
        told = dataclasses.asdict(faults)
        del told["words"]
        self._order("trouble", faults=told)

    def heal(self) -> None:
        """End all troubles and plans."""
        self._order("heal")

    def end_egress(self, egress_id: str, outcome: Outcome = Outcome.COMPLETE) -> None:
        """Let it end by itself."""
        self._order("end_egress", egress_id=egress_id, outcome=outcome)

    def send_webhooks_to(self, urls: Sequence[str]) -> None:
        """Deliver reports to these addresses from now on."""
        self._order("send_webhooks_to", urls=list(urls))

    def status(self) -> dict[str, Any]:
        """Rooms with their participants' attributes, recordings, and reports made so far."""
        return self._ask("/")

    def _order(self, order: str, **details: object) -> object:
        return self._ask(f"/{order}", details)["answer"]

    def _ask(self, path: str, order: Mapping[str, object] | None = None) -> dict[str, Any]:
        try:
            told: dict[str, Any] = json.loads(ask(f"{self.control_url}{path}", order))
        except NotDoneError as error:
            raise LiveKitError(f"the local LiveKit {error}") from error
        return told


@contextlib.contextmanager
def start_livekit(directory: Path, *, webhook_urls: Sequence[str] = ()) -> Iterator[LiveKitSandbox]:
    """Run the double until the block ends; its log is in `directory`. Raises LiveKitError when it does not come up."""
    try:
        with announced("sandbox.livekit", webhook_urls, directory) as (process_id, ready):
            yield LiveKitSandbox(process_id, ready)
    except NotAnnouncedError as error:
        raise LiveKitError(f"the local LiveKit did not start; its log ends with:\n{error}") from error
