"""Whoever anchors the sandbox's chains: two time-stamp authorities, a Tezos network, and OpenTimestamps calendars.

What the ledger is told (`authorities.toml`) and what an auditor trusts (`trust.toml`) grow with each part that starts.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.announced import has_ended
from sandbox.authorities import Authorities, start_authorities
from sandbox.calendar import CalendarSandbox, start_calendar
from sandbox.tezos import TezosMissingError, TezosSandbox

TEZOS_NAME = "sandbox-tezos"
CALENDARS_NAME = "sandbox-bitcoin"
HEADERS_NAME = "bitcoin-headers.txt"
# Fast, for somebody who watches: a block takes a quarter of a second, and two on top are final.
TEZOS_BLOCK_SECONDS = 0.25
TEZOS_CONFIRMATIONS = 2
TEZOS_WAIT_SECONDS = 0.5
TEZOS_POLL_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtraAuthority:
    """A time-stamp authority beside the sandbox's own: its root, and its table (TOML) for the ledger."""

    name: str
    root_pem: str
    configuration: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OutsideOptions:
    """What may differ: an authority more, and how often a Bitcoin block is found (0: never, so proofs stay pending)."""

    extra_authority: ExtraAuthority | None = None
    bitcoin_block_seconds: float = 0.0


class Outside:
    """The authorities that run, and the two files about them."""

    def __init__(self, directory: Path, configuration: Path, trust_policy: Path, options: OutsideOptions) -> None:
        """`directory` holds the data; the two files are written when a part starts."""
        self.authorities: Authorities | None = None
        self.tezos: TezosSandbox | None = None
        self.calendars: CalendarSandbox | None = None
        self._directory = directory
        self._configuration = configuration
        self._trust_policy = trust_policy
        self._options = options
        self._launched = TezosSandbox(directory / "tezos", block_seconds=TEZOS_BLOCK_SECONDS, with_contract=True)

    def start_authorities(self, running: contextlib.ExitStack) -> str:
        """Start the time-stamp authorities, until `running` ends, and return their addresses."""
        self.authorities = running.enter_context(start_authorities(self._directory / "authorities"))
        self._write_files()
        return " and ".join(authority.url for authority in self.authorities)

    def launch_tezos(self, running: contextlib.ExitStack) -> None:
        """Start the Tezos network, until `running` ends, without waiting until it answers."""
        running.callback(self._launched.stop)
        self._launched.launch()

    def wait_for_tezos(self) -> str:
        """Wait until the network answers, and return its nodes' addresses; or why this machine cannot have one."""
        try:
            self._launched.wait_ready()
        except TezosMissingError as error:
            return f"left out: {error}"
        self.tezos = self._launched
        self._write_files()
        return " and ".join(self.tezos.nodes)

    def start_calendars(self, running: contextlib.ExitStack) -> str:
        """Start the calendars and their small chain of Bitcoin blocks, until `running` ends; their addresses."""
        self.calendars = running.enter_context(
            start_calendar(self._directory / "calendars", block_seconds=self._options.bitcoin_block_seconds)
        )
        self._write_files()
        return " and ".join(self.calendars.calendars)

    def write_trust(self, path: Path, *, tezos_blocks: Sequence[str] = ()) -> None:
        """Write a trust policy (TOML), and beside it the headers of all Bitcoin blocks so far.

        `tezos_blocks` are the hashes of blocks whose place in the Tezos network was seen for oneself.
        """
        if self.calendars is not None:
            _replace(path.parent / HEADERS_NAME, self.calendars.headers())
        _replace(path, self._trust(tezos_blocks))

    def _trust(self, tezos_blocks: Sequence[str]) -> str:
        tables = [
            _trust_table(one.name, one.root_pem.decode(), policies=[one.policy]) for one in self.authorities or ()
        ]
        extra = self._options.extra_authority
        if extra is not None:
            tables.append(_trust_table(extra.name, extra.root_pem, policies=[]))
        if self.tezos is not None:
            tables.append(self.tezos.trust(TEZOS_NAME, self.tezos.contract, block_hashes=tezos_blocks))
        if self.calendars is not None:
            tables.append(
                f'[authorities.{CALENDARS_NAME}]\nbackend = "opentimestamps"\nheaders = "{HEADERS_NAME}"\n'
                'network = "regtest"\n'
            )
        return "\n".join(['format = "indelible-trust/1"\n', *tables])

    @property
    def names(self) -> list[str]:
        """The time-stamp authorities, the one more included."""
        extra = self._options.extra_authority
        return [*(one.name for one in self.authorities or ()), *([extra.name] if extra is not None else [])]

    def ended(self) -> Iterator[str]:
        """What ended by itself."""
        for authority in self.authorities or ():
            if authority.process_id is None or has_ended(authority.process_id):
                yield f"The time-stamp authority {authority.name}"
        if self.tezos is not None and (self.tezos.process_id is None or has_ended(self.tezos.process_id)):
            yield "The Tezos network"
        if self.calendars is not None and has_ended(self.calendars.process_id):
            yield "The process of the OpenTimestamps calendars"

    def _write_files(self) -> None:
        tables = [authority.configuration() for authority in self.authorities or ()]
        if self._options.extra_authority is not None:
            tables.append(self._options.extra_authority.configuration)
        if self.tezos is not None:
            tables.append(
                self.tezos.configuration(
                    TEZOS_NAME,
                    self.tezos.contract,
                    self._directory / "tezos" / "key",
                    confirmations=TEZOS_CONFIRMATIONS,
                    maximum_wait_seconds=TEZOS_WAIT_SECONDS,
                    poll_seconds=TEZOS_POLL_SECONDS,
                )
            )
        if self.calendars is not None:
            tables.append(self.calendars.configuration(CALENDARS_NAME))
        self._configuration.write_text("\n".join(tables))
        self.write_trust(self._trust_policy)


def _trust_table(name: str, root_pem: str, *, policies: list[str]) -> str:
    return f"[authorities.{name}]\npolicies = {json.dumps(policies)}\nroots = ['''\n{root_pem.strip()}\n''']\n"


def _replace(path: Path, text: str) -> None:
    """Write a file in one step: a verifier may be reading it."""
    staged = path.with_name(f"{path.name}.new")
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)
