"""One [authorities.NAME] table with `backend = "opentimestamps"`, read key by key; every problem is told at once.

[authorities.bitcoin]
backend = "opentimestamps"
preset = "public"                       # or calendars = ["https://calendar.example.com", ...]
header_urls = ["https://explorer-one.example.com/api", "https://explorer-two.example.com/api"]
headers = "bitcoin-headers.txt"         # one of these two, or both
"""

from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from ledger.anchoring.opentimestamps.configuration import (
    BACKEND,
    DEFAULT_ATTESTATIONS,
    DEFAULT_CONFIRMATIONS,
    DEFAULT_FIRST_LOOK_SECONDS,
    DEFAULT_LOOK_SECONDS,
    DEFAULT_RESUBMIT_AFTER_SECONDS,
    DEFAULT_TIMEOUT_SECONDS,
    PUBLIC_CALENDARS,
    OpenTimestampsConfiguration,
    default_minimum,
)
from ledger.anchoring.table import Table
from verifier.opentimestamps import Network, UnusableHeadersError, header_lines, load_headers

AGREEING_EXPLORERS = 2
MAX_CALENDARS = 8
MAX_EXPLORERS = 8
MAX_LOOK_SECONDS = 86_400.0
MAX_RESUBMIT_SECONDS = 30 * 86_400.0
_HEADERS_READ_AT_START = 1_000  # enough to see that it is such a file; each is checked when it is needed
_PRESET = "public"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_NETWORKS: tuple[Network, ...] = ("bitcoin", "regtest")
_KEYS = frozenset(
    {
        "backend",
        "preset",
        "calendars",
        "minimum_calendars",
        "attestations",
        "headers",
        "header_urls",
        "confirmations",
        "network",
        "first_look_seconds",
        "look_seconds",
        "resubmit_after_seconds",
        "timeout_seconds",
    }
)


class OpenTimestampsTable(Table):
    """Reads one table. `directory` is where relative paths begin."""

    def read(self) -> OpenTimestampsConfiguration:
        """The configuration. Raises TableProblem with everything that is wrong."""
        self._require_known_keys(_KEYS)
        if self._content.get("backend") != BACKEND:
            self._note("backend", f'must be "{BACKEND}"')
        calendars = self._calendars()
        network = self._network()
        most = max(len(calendars), 1)
        configuration = OpenTimestampsConfiguration(
            name=self._name,
            calendars=calendars,
            minimum_calendars=self._number("minimum_calendars", default_minimum(most), 1, most),
            attestations=self._number("attestations", DEFAULT_ATTESTATIONS, 1, most),
            headers=self._headers(network),
            header_urls=self._explorers(),
            confirmations=self._number("confirmations", DEFAULT_CONFIRMATIONS, 1, 1_000),
            network=network,
            first_look_seconds=self._number("first_look_seconds", DEFAULT_FIRST_LOOK_SECONDS, 0.1, MAX_LOOK_SECONDS),
            look_seconds=self._number("look_seconds", DEFAULT_LOOK_SECONDS, 0.1, MAX_LOOK_SECONDS),
            resubmit_after_seconds=self._number(
                "resubmit_after_seconds", DEFAULT_RESUBMIT_AFTER_SECONDS, 1.0, MAX_RESUBMIT_SECONDS
            ),
            timeout_seconds=self._number("timeout_seconds", DEFAULT_TIMEOUT_SECONDS, 1.0, 300.0),
        )
        self._raise_problems()
        return configuration

    def _calendars(self) -> tuple[str, ...]:
        preset = self._content.get("preset")
        if preset is not None and preset != _PRESET:
            self._note("preset", f'unknown; the only preset is "{_PRESET}". For others, name their calendars')
        if preset is not None and "calendars" in self._content:
            self._note("calendars", "is given beside a preset, which names calendars itself; leave one of them out")
        if preset is not None:
            return PUBLIC_CALENDARS
        calendars = self._addresses("calendars", MAX_CALENDARS)
        if not calendars and "calendars" not in self._content:
            self._note("calendars", f'missing; name the calendars to ask, or give preset = "{_PRESET}"')
        elif not calendars:
            self._note("calendars", "must name at least one calendar")
        return calendars

    def _explorers(self) -> tuple[str, ...]:
        explorers = self._addresses("header_urls", MAX_EXPLORERS)
        hosts = {urlsplit(explorer).netloc for explorer in explorers}
        if explorers and (len(hosts) < AGREEING_EXPLORERS or len(hosts) < len(explorers)):
            self._note("header_urls", f"must name at least {AGREEING_EXPLORERS}, all on different hosts or ports")
        if "headers" not in self._content and "header_urls" not in self._content:
            self._note(
                "header_urls",
                "missing; without header_urls or a file of headers no proof could ever be confirmed",
            )
        return explorers

    def _addresses(self, key: str, most: int) -> tuple[str, ...]:
        value = self._content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value) or len(value) > most:
            self._note(key, f"must be a list of at most {most} addresses, as texts")
            return ()
        found: list[str] = []
        for item in value:
            if problem := _address_problem(item):
                self._note(key, f"{item!r:.100} {problem}")
            elif item.rstrip("/") in found:
                self._note(key, f"{item!r:.100} is named twice")
            else:
                found.append(item.rstrip("/"))
        return tuple(found)

    def _network(self) -> Network:
        value = self._content.get("network", "bitcoin")
        for network in _NETWORKS:
            if value == network:
                return network
        self._note("network", 'must be "bitcoin", or "regtest" for tests only')
        return "bitcoin"

    def _headers(self, network: Network) -> Path | None:
        name = self._content.get("headers")
        if name is None:
            return None
        if not isinstance(name, str) or not name:
            self._note("headers", "must be the path of a file, as text")
            return None
        path = self._directory / name
        try:
            with path.open("rb") as file:
                load_headers(islice(header_lines(file), _HEADERS_READ_AT_START), network=network)
        except UnusableHeadersError as error:
            self._note("headers", f"{name!r} is no file of block headers: {error}")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a path"
            self._note("headers", f"cannot read {str(path)!r} ({reason}); is the path right?")
        return path


def _address_problem(address: str) -> str:
    """What keeps a text from being the address of a calendar or an explorer; "" when nothing does."""
    if any(not "!" <= character <= "~" for character in address):
        return "holds characters that no address has"
    try:
        parts = urlsplit(address)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or parts.username or parts.password or parts.query or parts.fragment:
        return "is not a plain address such as https://calendar.example.com"
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in _LOOPBACK):
        return "must begin with https:// (http only for this machine itself)"
    return ""
