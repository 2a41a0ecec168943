"""The backend for OpenTimestamps: heads handed to several calendars, until Bitcoin blocks commit to them."""

from ledger.anchoring.opentimestamps.backend import OpenTimestampsBackend, open_opentimestamps
from ledger.anchoring.opentimestamps.configuration import BACKEND, OpenTimestampsConfiguration
from ledger.anchoring.opentimestamps.table import OpenTimestampsTable

__all__ = [
    "BACKEND",
    "OpenTimestampsBackend",
    "OpenTimestampsConfiguration",
    "OpenTimestampsTable",
    "open_opentimestamps",
]
