"""What the sandbox camera can do wrong on command. All last until others are set."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraFaults:
    """The camera's troubles; by default it has none."""

    unreachable: bool = False  # connections are closed at once, running ones too
    stalled: bool = False  # the connection stays, no picture comes
    garbage: bool = False  # what is sent is not RTP
    clock_step: int = 0  # microseconds that its wall clock is wrong by
    silent_reports: bool = False  # no RTCP sender reports: it never tells the time
    claimed_codec: str = ""  # it describes its video as this, and sends what it always sends
    huge_answers: bool = False  # an answer to DESCRIBE that does not end


class FaultSwitch:
    """What is wrong at the moment; everyone who films looks here."""

    def __init__(self) -> None:
        self.now = CameraFaults()
