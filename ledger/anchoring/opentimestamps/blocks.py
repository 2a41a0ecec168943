"""Headers of Bitcoin blocks from what the operator trusts: a file of his own, or explorers of which two agree.

A header is used only with its proof of work. That it is at its height is the file's word, or that of two explorers,
which must also show `confirmations` blocks from it on: a block that is younger may still be replaced.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
import structlog

from ledger.anchoring.opentimestamps.configuration import OpenTimestampsConfiguration
from ledger.anchoring.opentimestamps.table import AGREEING_EXPLORERS
from ledger.anchoring.port import AnchoringFailedError
from ledger.anchoring.rfc3161.transport import fetch
from verifier.opentimestamps import Network, UnusableHeadersError, header_lines, load_headers
from verifier.opentimestamps.headers import block_hash, work_problem

MAX_ANSWER_BYTES = 1024  # a header has 160 digits
HEADERS_KEPT = 256  # heads of the same hours share blocks; losing one costs requests

_HASH = re.compile(rb"[0-9a-f]{64}")
_HEADER = re.compile(rb"[0-9a-fA-F]{160}")
_HEIGHT = re.compile(rb"[0-9]{1,9}")
_ANY_TYPE: frozenset[str] = frozenset()

_log = structlog.get_logger()


class TrustedBlocks:
    """Finds headers; see the module's text."""

    def __init__(self, configuration: OpenTimestampsConfiguration, client: httpx.AsyncClient) -> None:
        self._configuration = configuration
        self._client = client
        self._kept: dict[int, bytes] = {}

    @property
    def attempt_seconds(self) -> float:
        """How long one look may take: three requests to each explorer, and a search through the file."""
        return 3 * self._configuration.timeout_seconds + 5.0

    async def header(self, height: int) -> bytes | None:
        """The raw header of the block at `height`; None as long as nothing that is trusted shows it."""
        header = self._kept.get(height)
        if header is None and self._configuration.headers is not None:
            header = await asyncio.to_thread(
                _find_in_file, self._configuration.headers, height, self._configuration.network
            )
        if header is None and self._configuration.header_urls:
            header = await self._ask_explorers(height)
        if header is not None:
            while len(self._kept) >= HEADERS_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[height] = header
        return header

    async def _ask_explorers(self, height: int) -> bytes | None:
        shown = await asyncio.gather(*(self._ask(url, height) for url in self._configuration.header_urls))
        agreed = Counter(header for header in shown if header is not None).most_common(1)
        return agreed[0][0] if agreed and agreed[0][1] >= AGREEING_EXPLORERS else None

    async def _ask(self, url: str, height: int) -> bytes | None:
        """The header that one explorer shows, if it is deep enough, hashes to the block's hash and has its work."""
        try:
            tip = int(await self._get(f"{url}/blocks/tip/height", _HEIGHT))
            if tip - height + 1 < self._configuration.confirmations:
                return None
            name = (await self._get(f"{url}/block-height/{height}", _HASH)).decode()
            header = bytes.fromhex((await self._get(f"{url}/block/{name}/header", _HEADER)).decode())
        except AnchoringFailedError as error:
            _log.warning("bitcoin_header_not_obtained", explorer=url, height=height, error=str(error))
            return None
        problem = work_problem(height, header, self._configuration.network)
        if problem or block_hash(header) != name:
            _log.warning("bitcoin_header_wrong", explorer=url, height=height, error=problem or "another block's header")
            return None
        return header

    async def _get(self, url: str, form: re.Pattern[bytes]) -> bytes:
        answer = await fetch(
            self._client,
            "GET",
            url,
            answer_types=_ANY_TYPE,
            max_bytes=MAX_ANSWER_BYTES,
            timeout_seconds=self._configuration.timeout_seconds,
        )
        found = form.fullmatch(answer.strip())
        if found is None:
            raise AnchoringFailedError("its answer is not what was asked for")
        return found[0]


def _find_in_file(path: Path, height: int, network: Network) -> bytes | None:
    """The header at `height` in a file that its owner may replace at any time, so it is read when it is needed."""
    try:
        with path.open("rb") as file:
            return load_headers(_lines_about(file, height), network=network).get(height)
    except (OSError, UnusableHeadersError) as error:
        _log.warning("bitcoin_headers_unusable", file=str(path), height=height, error=str(error))
        return None


def _lines_about(file: BinaryIO, height: int) -> Iterator[bytes]:
    for line in header_lines(file):
        fields = line.partition(b"#")[0].split(maxsplit=1)
        if fields and fields[0].lstrip(b"0") == str(height).lstrip("0").encode():
            yield line
