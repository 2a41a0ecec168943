"""One calendar, asked over its HTTP interface: bounded, strictly parsed, and never believed without a path."""

import httpx

from ledger.anchoring.opentimestamps.timestamp import Leaf, read_timestamp
from ledger.anchoring.port import AnchoringFailedError
from ledger.anchoring.rfc3161.transport import NotThereError, fetch
from verifier.opentimestamps.proof import UnusableProofError

MAX_ANSWER_BYTES = 10_000  # the reference implementation's limit; real answers have 150 to 1,500

_HEADERS = {"Accept": "application/vnd.opentimestamps.v1"}
_ANY_TYPE: frozenset[str] = frozenset()  # calendars do not agree on one


class CalendarError(Exception):
    """The calendar gave no usable answer. The text is for the operator and holds nothing that the calendar wrote."""


class Calendar:
    """The calendar at `url`, which has no slash at its end."""

    def __init__(self, client: httpx.AsyncClient, url: str, timeout_seconds: float) -> None:
        self.url = url
        self._client = client
        self._timeout_seconds = timeout_seconds

    async def submit(self, commitment: bytes) -> tuple[Leaf, ...]:
        """Hand a commitment (32 bytes) in; where the answer leads from there. Raises CalendarError."""
        leaves = await self._ask("POST", "/digest", commitment, commitment)
        if leaves is None:
            raise CalendarError("it takes no digests at this address")
        return leaves

    async def look(self, message: bytes) -> tuple[Leaf, ...] | None:
        """What became of the message that a promise is about; None if it is not there yet. Raises CalendarError."""
        return await self._ask("GET", f"/timestamp/{message.hex()}", None, message)

    async def _ask(self, method: str, path: str, content: bytes | None, message: bytes) -> tuple[Leaf, ...] | None:
        try:
            answer = await fetch(
                self._client,
                method,
                self.url + path,
                content=content,
                headers=_HEADERS,
                answer_types=_ANY_TYPE,
                max_bytes=MAX_ANSWER_BYTES,
                timeout_seconds=self._timeout_seconds,
            )
            return read_timestamp(answer, message)
        except NotThereError:
            return None
        except AnchoringFailedError as error:
            raise CalendarError(str(error)) from None
        except UnusableProofError as error:
            raise CalendarError(f"its answer is no time-stamp: {error}") from None
