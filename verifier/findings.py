"""What a check has to say: findings as values, never exceptions."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding weighs.

    `ERROR` makes what it is about fail, `WARNING` asks a person to look, `INFO` only tells.
    """

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing a check found: `code` is for a program, `message` for a lawyer.

    `where` names the place ("event 7", "data/anchors/12-rfc3161-freetsa.tsr"), or is empty for the whole.
    """

    code: str
    severity: Severity
    message: str
    where: str = ""
