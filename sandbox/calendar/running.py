"""Starting, moving and describing the calendars, from the side of whoever needs them."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.announced import NotAnnouncedError, announced
from sandbox.calendar.faults import CalendarFaults
from sandbox.doors import NotDoneError, ask


class CalendarError(RuntimeError):
    """The local calendars could not be started or moved; the text says why."""


class CalendarSandbox:
    """Running calendars and explorers, by their addresses; `process_id` is the process that is all of them."""

    def __init__(self, process_id: int, ready: Mapping[str, Any]) -> None:
        self.process_id = process_id
        self.calendars: tuple[str, ...] = tuple(ready["calendars"])
        self.explorers: tuple[str, ...] = tuple(ready["explorers"])
        self._control: str = ready["control"]

    def mine(self, count: int = 1) -> None:
        """Add blocks; the first has everything that waits at the calendars."""
        self._ask("/mine", {"count": count})

    def misbehave(
        self, faults: CalendarFaults, *, calendars: Sequence[int] = (), explorers: Sequence[int] = ()
    ) -> None:
        """Let these do what `faults` says from now on."""
        order = {"faults": dataclasses.asdict(faults), "calendars": list(calendars), "explorers": list(explorers)}
        self._ask("/faults", order)

    def forget(self, calendars: Sequence[int]) -> None:
        """Let these lose everything that was handed in so far."""
        self._ask("/forget", {"calendars": list(calendars)})

    def heal(self) -> None:
        """End all faults."""
        self._ask("/heal", {})

    def height(self) -> int:
        """The newest block's height."""
        return int(json.loads(self._ask("/status"))["height"])

    def submitted(self) -> list[list[bytes]]:
        """What each calendar was given so far."""
        submitted = json.loads(self._ask("/status"))["submitted"]
        return [[bytes.fromhex(digest) for digest in digests] for digests in submitted]

    def headers(self) -> str:
        """The headers of all blocks, as a file for the verifier's trust policy with `network = "regtest"`."""
        return self._ask("/headers").decode("ascii")

    def configuration(self, name: str, *, look_seconds: float = 1.0) -> str:
        """The table for the ledger's authorities file (TOML)."""
        members: dict[str, object] = {
            "backend": "opentimestamps",
            "calendars": list(self.calendars),
            "header_urls": list(self.explorers),
            "network": "regtest",
            "confirmations": 1,
            "first_look_seconds": look_seconds,
            "look_seconds": look_seconds,
        }
        return (
            "\n".join([f"[authorities.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in members.items())])
            + "\n"
        )

    def _ask(self, path: str, order: Mapping[str, object] | None = None) -> bytes:
        try:
            return ask(f"{self._control}{path}", order)
        except NotDoneError as error:
            raise CalendarError(f"the process of the local calendars {error}") from error


@contextlib.contextmanager
def start_calendar(directory: Path, *, block_seconds: float = 0.0) -> Iterator[CalendarSandbox]:
    """Run three calendars and three explorers until the block ends; the log is in `directory`.

    A Bitcoin-like block is made every `block_seconds`, with 0 only by `mine`. Raises CalendarError when they do not
    come up.
    """
    try:
        with announced("sandbox.calendar", [str(block_seconds)], directory) as (process_id, ready):
            yield CalendarSandbox(process_id, ready)
    except NotAnnouncedError as error:
        raise CalendarError(f"the local calendars did not start; their log ends with:\n{error}") from error
