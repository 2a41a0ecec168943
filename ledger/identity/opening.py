"""An authenticator as the settings describe it, with the keys of its issuers kept fresh."""

import asyncio
from collections.abc import Sequence
from typing import Self

from ledger.identity.keys import KeySource, open_further_keys, open_keys
from ledger.identity.tokens import Authenticator
from ledger.settings_reader import TokenSettings


class Identity:
    """Who calls: the authenticator, and the work that keeps it up to date."""

    def __init__(self, authenticator: Authenticator, keys: Sequence[KeySource]) -> None:
        self.authenticator = authenticator
        self._keys = keys

    @classmethod
    async def open(
        cls,
        settings: TokenSettings,
        *further: TokenSettings | None,
        known: Sequence[tuple[TokenSettings, KeySource]] = (),
    ) -> Self:
        """Read or fetch the keys; those of `further` issuers, if any, may come later. Raises SettingsError.

        `known` are issuers whose keys are at hand already.
        """
        keys = await open_keys(settings.keys, variable=settings.variable)
        others = [(one, await open_further_keys(one.keys, variable=one.variable)) for one in further if one is not None]
        others += known
        return cls(Authenticator(settings, keys, others=others), (keys, *(source for _, source in others)))

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the keys fresh until `stop` is set."""
        await asyncio.gather(*(keys.run(stop) for keys in self._keys))
