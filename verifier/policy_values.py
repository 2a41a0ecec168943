"""Reading the values of a policy file: every one is checked, and none is silently ignored."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MAX_POLICY_BYTES = 1024 * 1024
"""A policy holds a few certificates at most."""


class UnusablePolicyError(ValueError):
    """The trust policy cannot be read or asks for something unknown; the text says where and what."""


def read_file(path: Path, limit: int = MAX_POLICY_BYTES) -> bytes:
    """The bytes of a file that the policy is or names. Raises `UnusablePolicyError`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise UnusablePolicyError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > limit:
        raise UnusablePolicyError(f"{path} is longer than {limit} bytes")
    return data


def require_known_members(table: dict[str, Any], allowed: set[str], where: str) -> None:
    """Refuse a member that is not `allowed`: a misspelt rule that is ignored would be a rule that is not applied."""
    unknown = sorted(table.keys() - allowed)
    if unknown:
        raise ValueError(f"{where} has {unknown[0]!r}, which is unknown; known are {', '.join(sorted(allowed))}")


def read_table(members: dict[str, Any], name: str) -> dict[str, Any]:
    """The table `name`, empty when absent."""
    table = members.get(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"{name} must be a table")  # noqa: TRY004 - bad input, not a wrong call
    return table


def read_strings(members: dict[str, Any], name: str, where: str) -> list[str]:
    """The list of strings `name`, empty when absent."""
    values = members.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{where}: {name} must be a list of strings")
    return values


def read_text(members: dict[str, Any], name: str, where: str) -> str | None:
    """The string `name`, None when absent."""
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where}.{name} must be a string")
    return value


def read_number(members: dict[str, Any], name: str, where: str, *, default: int, highest: int) -> int:
    """The whole number `name` from 1 to `highest`."""
    value = members.get(name, default)
    if type(value) is not int or not 1 <= value <= highest:
        raise ValueError(f"{where}: {name} must be a number from 1 to {highest}")
    return value


def read_instant(members: dict[str, Any], name: str, where: str) -> datetime | None:
    """The time `name` in UTC, None when absent."""
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"{where}.{name} must be a time with its zone, such as 2026-01-31T00:00:00Z")
    return value.astimezone(UTC)
