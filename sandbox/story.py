"""A remote inspection, as a demonstration: an operator in the office guides a technician in the field.

Every person and place is invented. Times inside payloads are the participants' own claims; the ledger stamps each event
with its own time as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

SUBJECT: Mapping[str, Any] = {
    "case": "INS-2026-0417",
    "place": "Pump station 7, Harbour Road",
    "purpose": "Remote inspection of a leaking pressure valve",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One thing that happens: how it reaches the ledger, what is recorded, and what a reader should take from it."""

    via: Literal["grpc", "nats"]
    kind: str
    payload: Mapping[str, Any]
    meaning: str
    sealed_members: tuple[str, ...] = ()


SCENES: tuple[Scene, ...] = (
    Scene(
        via="grpc",
        kind="participant.joined",
        payload={"participant": "operator-1", "role": "operator", "name": "Ada Moreau", "device": "desktop"},
        sealed_members=("name",),
        meaning="The operator joins. Her name is sealed: the chain proves it was recorded, without showing it.",
    ),
    Scene(
        via="grpc",
        kind="participant.joined",
        payload={"participant": "field-1", "role": "field", "name": "Jonas Weber", "device": "phone"},
        sealed_members=("name",),
        meaning="The field technician joins.",
    ),
    Scene(
        via="nats",
        kind="snapshot.taken",
        payload={
            "participant": "field-1",
            "camera": "rear",
            "sha256": "9f2c4e0b7a5d1386c2e4f6a8b0d1c3e5f708192a3b4c5d6e7f8091a2b3c4d5e6",
            "width": 1920,
            "height": 1080,
        },
        meaning="The technician photographs the valve. The chain keeps the picture's SHA-256.",
    ),
    Scene(
        via="nats",
        kind="whiteboard.stroke_added",
        payload={
            "participant": "operator-1",
            "board": "sketch-1",
            "colour": "#d22630",
            "points": [[120, 88], [180, 92], [240, 131], [251, 190]],
        },
        meaning="The operator sketches how the valve is to be isolated.",
    ),
    Scene(
        via="nats",
        kind="annotation.added",
        payload={
            "participant": "operator-1",
            "on": "snapshot",
            "text": "Crack along the lower flange, about 4 cm. Close valve 7B before opening.",
            "at": {"x": 0.61, "y": 0.44},
        },
        meaning="The operator marks the crack on the photograph and says what to do.",
    ),
    Scene(
        via="grpc",
        kind="participant.left",
        payload={"participant": "field-1", "reason": "finished"},
        meaning="The technician leaves.",
    ),
)

# The call itself is recorded. A second technician joins it late, and the operator draws where to look.
OPERATOR, FIELD, LATE = "operator-1", "field-1", "field-2"
BANNER = "recording-banner 2026-03"
FILMED_BEFORE_SECONDS = 2.0
FILMED_TOGETHER_SECONDS = 3.0
SHOWN_AFTER_SECONDS = 2.0
# Times in milliseconds from when the last one joined; places in the tile of whoever's picture was drawn on.
DRAWN: Sequence[Mapping[str, Any]] = (
    {
        "id": "around-the-crack",
        "tile": 1,
        "author": OPERATOR,
        "tool": "pen",
        "colour": "#ff1010",
        "opacity": 1,
        "width": 0.03,
        "points": [[0.3, 0.6, 400], [0.5, 0.8, 500], [0.7, 0.6, 600], [0.5, 0.4, 700], [0.3, 0.6, 800]],
    },
    {
        "id": "close-this-valve",
        "tile": 2,
        "author": OPERATOR,
        "tool": "arrow",
        "colour": "#ff1010",
        "opacity": 1,
        "width": 0.03,
        "points": [[0.2, 0.8, 1200], [0.6, 0.6, 1300]],
    },
)
RECORDED_MEANING = (
    "Every file of the recording with its SHA-256. Nothing is pending any more, so the chain closes by itself."
)

# A fixed camera in the pump house sees water on the floor, and its alert asks for a clip.
INCIDENT = "leak-1"
FILMED_SECONDS = 10
ALERT_AFTER_SECONDS = 5
CLIP_BEFORE_SECONDS = 3
CLIP_AFTER_SECONDS = 3
PRESERVED_MEANING = "The evidence service has kept the clip, and says so on this chain: every file with its SHA-256."

CLOSING: Mapping[str, Any] = {"by": "operator-1", "reason": "inspection finished"}

# What the forger changes: one character of the annotation above, and with it one byte of the bundle.
TAMPERED_FROM = "about 4 cm"
TAMPERED_TO = "about 9 cm"
