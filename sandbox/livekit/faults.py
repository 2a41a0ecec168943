"""What LiveKit, or the network before it, can do wrong on command."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How an egress ends."""

    COMPLETE = "complete"
    LIMIT_REACHED = "limit_reached"  # usable, but cut off
    FAILED = "failed"  # no file
    ABORTED = "aborted"  # no file: it never began
    NEVER_ENDS = "never_ends"  # it takes the order to stop, and nothing follows


class Upload(StrEnum):
    """How the file gets to the bucket."""

    NORMAL = "normal"  # before the end is reported
    LATE = "late"  # `upload_seconds` after the end was reported
    TWICE = "twice"  # before the report, and `upload_seconds` after it with other bytes
    NEVER = "never"  # the end is reported as if it were there


@dataclass(frozen=True, kw_only=True, slots=True)
class EgressFaults:
    """What becomes of an egress. The names in `lost` and `duplicated` are those of reports, such as "egress_ended"."""

    outcome: Outcome = Outcome.COMPLETE
    after_seconds: float | None = None  # it ends by itself after so long; None: when it is stopped or nobody is left
    upload: Upload = Upload.NORMAL
    upload_seconds: float = 0.5
    lost: frozenset[str] = frozenset()
    duplicated: frozenset[str] = frozenset()
    out_of_order: bool = False  # the end is reported before everything that came before it
    forged: bool = False  # somebody without the secret reports a failure, and spoils a true report
    replayed: bool = False  # the report of the start comes once more at the end


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiFaults:
    """What calls of `method` ("" for any) meet, the next `times` of them (None: all).

    The call is carried out with `slow_seconds` and `answer_lost`, and not with the others.
    """

    method: str = ""
    times: int | None = None
    slow_seconds: float = 0.0
    status: int = 0  # an error of this status, in these words
    words: bytes = b'{"code": "unavailable", "msg": "no response from servers"}'
    hang_up: bool = False
    garbage: bool = False
    oversize: bool = False
    answer_lost: bool = False
