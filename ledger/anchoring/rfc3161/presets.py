"""Time-stamp authorities known by name, so that an operator need not look up their address and their house rules.

A preset never brings trust: the operator obtains each authority's root certificate and names its file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """Address and manners of one authority. `url` is None where an address is only given to its customers."""

    url: str | None
    min_interval_seconds: float = 0.0


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "freetsa": Preset(url="https://freetsa.org/tsr"),
        "digicert": Preset(url="http://timestamp.digicert.com"),
        # Sectigo asks scripts to leave 15 seconds or more between requests (its page "Time Stamping Server").
        "sectigo": Preset(url="http://timestamp.sectigo.com", min_interval_seconds=15.0),
        "datasure": Preset(url=None),
    }
)
