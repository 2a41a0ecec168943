"""Recordings of sessions."""

from typing import Never

from google.protobuf.message import Message

from ledger.identity import Caller
from media.errors import MediaError, Reason


class Recordings:
    """The handlers about recordings."""

    async def refuse(self, _request: Message, _caller: Caller) -> Never:
        """Raises MediaError: no LiveKit server is configured."""
        raise MediaError(
            Reason.RECORDINGS_NOT_CONFIGURED, "This service has no LiveKit server to record sessions with."
        )
