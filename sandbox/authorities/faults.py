"""The ways in which `sandbox-two` misbehaves on command, and the file by which it is told to."""

from enum import StrEnum
from pathlib import Path

_FAULT_FILE = "fault"


class Fault(StrEnum):
    """One way to misbehave. It lasts until another is set or `NONE` ends it."""

    NONE = "none"
    DOWN = "down"  # the connection is closed without an answer
    SLOW = "slow"  # the answer is good, but comes after SLOW_SECONDS
    CUT = "cut"  # the connection breaks in the middle of a good answer
    ERROR_500 = "error-500"
    UNAUTHORISED = "unauthorised"
    REDIRECT = "redirect"  # to another host
    WRONG_CONTENT_TYPE = "wrong-content-type"  # a good token that says it is a web page
    GARBAGE = "garbage"
    HUGE = "huge"  # far more bytes than any answer has
    REJECTED = "rejected"  # PKIStatus 2 with failInfo systemFailure
    REPLAY = "replay"  # an older, genuine answer
    WRONG_IMPRINT = "wrong-imprint"
    WRONG_NONCE = "wrong-nonce"
    NO_NONCE = "no-nonce"
    WRONG_TIME = "wrong-time"  # a genuine token that says it is a day later than it is
    BAD_SIGNATURE = "bad-signature"
    OTHER_CERTIFICATE = "other-certificate"  # all consistent, but under a root that nobody trusts
    EXPIRED_CERTIFICATE = "expired-certificate"
    NO_CERTIFICATE = "no-certificate"
    REVOKED = "revoked"  # tokens are good, but the revocation list says the signer's key was stolen yesterday
    CRL_DOWN = "crl-down"  # tokens are good, the revocation list is not to be had
    CRL_GARBAGE = "crl-garbage"
    CRL_HUGE = "crl-huge"


SLOW_SECONDS = 20.0


def set_fault(directory: Path, fault: Fault) -> None:
    """Tell the authority that lives in `directory` to misbehave from its next answer on."""
    staged = directory / f"{_FAULT_FILE}.new"
    staged.write_text(fault.value, encoding="ascii")
    staged.replace(directory / _FAULT_FILE)  # in one step: the authority may be reading it


def current_fault(directory: Path) -> Fault:
    """What the authority that lives in `directory` is told to do wrong."""
    try:
        return Fault((directory / _FAULT_FILE).read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return Fault.NONE
