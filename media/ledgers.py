"""The ledger, as each organisation the evidence service works for.

The service has a token of its own for every organisation, in a directory of files named ORGANISATION.token that whoever
manages the operator's identities keeps fresh. A token is read again when its file changes, so none is ever restarted
for.
"""

import contextlib
from pathlib import Path

from ledger.client import ClientTls, LedgerClient
from media.errors import MediaError, Reason

# Longer than any header a server accepts.
MAX_TOKEN_BYTES = 16 * 1024
CALL_SECONDS = 20.0


class Ledgers:
    """One client for each organisation, made when it is first needed."""

    def __init__(self, address: str, tls: ClientTls | None, tokens: Path) -> None:
        """Nothing is sent and no token read yet. Raises ValueError for an address that needs TLS and has none."""
        self._address = address
        self._tls = tls
        self._tokens = tokens
        self._clients: dict[str, LedgerClient] = {}

    def of(self, organisation_id: str) -> LedgerClient:
        """The ledger as `organisation_id`. Raises MediaError (LEDGER_UNAVAILABLE) while there is no token for it."""
        file = self._tokens / f"{organisation_id}.token"
        _read_token(file)
        client = self._clients.get(organisation_id)
        if client is None:
            client = self._clients[organisation_id] = LedgerClient(
                self._address, token=lambda: _read_token(file), tls=self._tls, timeout_seconds=CALL_SECONDS
            )
        return client

    async def close(self) -> None:
        """Hang up."""
        for client in self._clients.values():
            with contextlib.suppress(Exception):
                await client.close()
        self._clients.clear()


def _read_token(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            token = opened.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(
            Reason.LEDGER_UNAVAILABLE, f"there is no readable token for the ledger in {file.name}", {"file": file.name}
        ) from error
    if not token or not token.isprintable():
        raise MediaError(Reason.LEDGER_UNAVAILABLE, f"{file.name} does not hold a token", {"file": file.name})
    return token
