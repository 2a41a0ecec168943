"""The gateway's calls to the services behind it, for the threads of a web server."""

from gateway.calls.evidence import EvidenceCalls
from gateway.calls.ledger import LedgerCalls
from gateway.calls.line import Identity, Line

__all__ = ["EvidenceCalls", "Identity", "LedgerCalls", "Line"]
