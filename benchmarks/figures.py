"""Figures as they are printed: one JSON object a line."""

import json
import statistics
from collections.abc import Sequence
from typing import Any


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return {f"p{point}_ms": round(cuts[point - 1] * 1000, 3) for point in (50, 95, 99)}


def figure(name: str, value: float, unit: str, **more: Any) -> dict[str, Any]:
    """One line of the result."""
    return {"name": name, "value": round(value, 3), "unit": unit, **more}


def compared(
    line: dict[str, Any], floor: dict[str, Any], *, at_least: float | None = None, at_most: float | None = None
) -> dict[str, Any]:
    """The line beside the floor of the same run."""
    ratio = line["value"] / floor["value"]
    wanted = {"at_least": at_least} if at_least is not None else {"at_most": at_most}
    reached = ratio >= at_least if at_least is not None else at_most is None or ratio <= at_most
    return {
        **line,
        "floor": floor["name"],
        "floor_value": floor["value"],
        "ratio": round(ratio, 3),
        **wanted,
        "reached": reached,
    }


def show(line: dict[str, Any]) -> None:
    """Print a line at once."""
    print(json.dumps(line), flush=True)
