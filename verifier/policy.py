"""The trust policy: what the verifier's user trusts and asks for (`docs/spec/trust-policy.md`)."""

import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from verifier.event import IDENTIFIER
from verifier.rfc3161 import TimestampTrust, load_certificates
from verifier.rfc3161.trusted_list import MAX_LIST_SIZE
from verifier.statement import RFC3161

FORMAT = "indelible-trust/1"
BACKENDS = frozenset({RFC3161})
"""The backends this version can verify."""

MAX_POLICY_BYTES = 1024 * 1024
"""A policy holds a few certificates at most."""

MAX_REQUIRED = 100
"""More tokens than there are authorities in the world that anyone would use together."""

_MEMBERS = {"format", "require", "require_backends", "organisation", "authorities", "trusted_lists"}
_AUTHORITY_MEMBERS = {"backend", "roots", "intermediates", "policies", "valid_from", "valid_to"}
_PEM = "-----BEGIN CERTIFICATE-----"


class UnusablePolicyError(ValueError):
    """The trust policy cannot be read or asks for something unknown; the text says where and what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustPolicy:
    """What a verdict may rest on.

    `authorities` maps an authority's name in the bundle to what is trusted for it; `extra_roots` (DER) are trusted for
    any authority. `require` is the number of independent tokens a checkpoint needs, `require_backends` the kinds of
    evidence of which there must be at least one each. The organisation, where given, must be the bundle's.
    """

    authorities: dict[str, TimestampTrust] = field(default_factory=dict)
    extra_roots: tuple[bytes, ...] = ()
    require: int = 1
    require_backends: tuple[str, ...] = ()
    organisation_id: str | None = None
    organisation_name: str | None = None
    trusted_lists: tuple[bytes, ...] = ()
    """ETSI TS 119 612 trusted lists (XML) that the user obtained authentically: what "qualified" rests on."""


def load_policy(path: Path) -> TrustPolicy:
    """Read a trust policy; paths in it are relative to its own folder. Raises `UnusablePolicyError`."""
    path = Path(path)
    try:
        text = _read(path).decode("utf-8")
        members = tomllib.loads(text)
    except UnusablePolicyError:
        raise
    except UnicodeDecodeError as error:
        raise UnusablePolicyError(f"The trust policy {path} is not TOML: it is not text in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UnusablePolicyError(f"The trust policy {path} is not TOML: {error}") from error
    try:
        return _policy(members, path.parent)
    except ValueError as error:
        raise UnusablePolicyError(f"The trust policy {path} cannot be used: {error}") from error


def _policy(members: dict[str, Any], folder: Path) -> TrustPolicy:
    _only(members, _MEMBERS, "the policy")
    if members.get("format") != FORMAT:
        raise ValueError(f'it must say format = "{FORMAT}"')
    require = members.get("require", 1)
    if type(require) is not int or not 1 <= require <= MAX_REQUIRED:
        raise ValueError(f"require must be a number from 1 to {MAX_REQUIRED}")
    backends = _strings(members, "require_backends", "the policy")
    for backend in backends:
        _known_backend(backend, "require_backends")
    organisation = _table(members, "organisation")
    _only(organisation, {"id", "name"}, "organisation")
    authorities = _table(members, "authorities")
    lists = _strings(members, "trusted_lists", "the policy")
    return TrustPolicy(
        authorities={name: _authority(name, authorities, folder) for name in authorities},
        require=require,
        require_backends=tuple(backends),
        organisation_id=_text(organisation, "id"),
        organisation_name=_text(organisation, "name"),
        trusted_lists=tuple(_read(folder / name, MAX_LIST_SIZE) for name in lists),
    )


def _authority(name: str, authorities: dict[str, Any], folder: Path) -> TimestampTrust:
    where = f"authorities.{name}"
    if not IDENTIFIER.fullmatch(name):
        raise ValueError(f"{where} is not a name an authority can have")
    table = _table(authorities, name)
    _known_backend(table.get("backend", RFC3161), where)
    _only(table, _AUTHORITY_MEMBERS, where)
    roots = _certificates(table, "roots", where, folder)
    if not roots:
        raise ValueError(f"{where} names no roots, so nothing of it could be trusted")
    return TimestampTrust(
        roots=roots,
        intermediates=_certificates(table, "intermediates", where, folder),
        policies=frozenset(_strings(table, "policies", where)),
        valid_from=_instant(table, "valid_from", where),
        valid_to=_instant(table, "valid_to", where),
    )


def _certificates(table: dict[str, Any], name: str, where: str, folder: Path) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for text in _strings(table, name, where):
        # A certificate may stand in the policy itself, so that one file is the whole policy.
        data = text.encode("utf-8") if _PEM in text else _read(folder / text)
        try:
            found += load_certificates(data)
        except ValueError as error:
            raise ValueError(f"{where}.{name}: {'' if _PEM in text else text + ': '}{error}") from error
    return tuple(found)


def _read(path: Path, limit: int = MAX_POLICY_BYTES) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise UnusablePolicyError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > limit:
        raise UnusablePolicyError(f"{path} is longer than {limit} bytes")
    return data


def _known_backend(backend: object, where: str) -> None:
    if backend not in BACKENDS:
        raise ValueError(f"{where} names the backend {backend!r:.40}; this program can verify: {', '.join(BACKENDS)}")


def _only(table: dict[str, Any], allowed: set[str], where: str) -> None:
    unknown = sorted(table.keys() - allowed)
    if unknown:
        # A misspelt rule that is ignored would be a rule that is not applied.
        raise ValueError(f"{where} has {unknown[0]!r}, which is unknown; known are {', '.join(sorted(allowed))}")


def _table(members: dict[str, Any], name: str) -> dict[str, Any]:
    table = members.get(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"{name} must be a table")  # noqa: TRY004 - bad input, not a wrong call
    return table


def _strings(members: dict[str, Any], name: str, where: str) -> list[str]:
    values = members.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{where}: {name} must be a list of strings")
    return values


def _text(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"organisation.{name} must be a string")
    return value


def _instant(members: dict[str, Any], name: str, where: str) -> datetime | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"{where}.{name} must be a time with its zone, such as 2026-01-31T00:00:00Z")
    return value.astimezone(UTC)
