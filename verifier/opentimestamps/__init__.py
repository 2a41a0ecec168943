"""OpenTimestamps proofs, checked offline against Bitcoin block headers that the user supplies."""

from verifier.opentimestamps.headers import UnusableHeadersError, load_headers, read_headers
from verifier.opentimestamps.verify import ProofResult, check_proof

__all__ = ["ProofResult", "UnusableHeadersError", "check_proof", "load_headers", "read_headers"]
