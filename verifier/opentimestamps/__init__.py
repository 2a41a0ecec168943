"""OpenTimestamps proofs, checked offline against Bitcoin block headers that the user supplies."""

from verifier.opentimestamps.headers import (
    BitcoinTrust,
    Network,
    UnusableHeadersError,
    header_lines,
    load_headers,
    read_headers,
)
from verifier.opentimestamps.verify import ProofResult, check_proof

__all__ = [
    "BitcoinTrust",
    "Network",
    "ProofResult",
    "UnusableHeadersError",
    "check_proof",
    "header_lines",
    "load_headers",
    "read_headers",
]
