"""JSON from strangers, read in the one way that it can be meant."""

import json
from typing import Any, NoReturn

MAX_CONTAINERS = 1024
"""Objects and arrays in one document, and so its depth: what the library does with more depends on who embeds it."""


def parse_json(data: bytes) -> Any:
    """The document in `data`: UTF-8, no member twice in an object, no NaN or infinity. Raises ValueError."""
    if data.count(b"[") + data.count(b"{") > MAX_CONTAINERS:
        raise ValueError("it has too many objects and arrays")
    # Decoded here, since the library would guess at other encodings.
    return json.loads(data.decode("utf-8"), object_pairs_hook=_unique_members, parse_constant=_no_constant)


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name is repeated")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
