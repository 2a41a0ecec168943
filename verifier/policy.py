"""The trust policy: what the verifier's user trusts and asks for (`docs/spec/trust-policy.md`)."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verifier.event import IDENTIFIER
from verifier.opentimestamps import BitcoinTrust
from verifier.policy_ledgers import read_opentimestamps, read_tezos
from verifier.policy_values import (
    UnusablePolicyError,
    read_file,
    read_instant,
    read_number,
    read_strings,
    read_table,
    read_text,
    require_known_members,
)
from verifier.rfc3161 import TimestampTrust, load_certificates
from verifier.rfc3161.trusted_list import MAX_LIST_SIZE
from verifier.statement import OPENTIMESTAMPS, RFC3161, TEZOS
from verifier.tezos import TezosTrust

__all__ = ["BACKENDS", "FORMAT", "TrustPolicy", "UnusablePolicyError", "load_policy"]

FORMAT = "indelible-trust/1"
BACKENDS = (RFC3161, TEZOS, OPENTIMESTAMPS)
"""The backends this version can verify."""

MAX_REQUIRED = 100
"""More tokens than there are authorities in the world that anyone would use together."""

_MEMBERS = {"format", "require", "require_backends", "organisation", "authorities", "trusted_lists"}
_AUTHORITY_MEMBERS = {"backend", "roots", "intermediates", "policies", "valid_from", "valid_to"}
_PEM = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustPolicy:
    """What a verdict may rest on.

    `authorities` maps the name of a time-stamp authority in the bundle to what is trusted for it; `extra_roots` (DER)
    are trusted for any of them. `tezos` and `bitcoin` do the same for anchors on Tezos, and for OpenTimestamps by block
    headers. `require` is the number of independent tokens a checkpoint needs, `require_backends` the kinds of
    evidence of which there must be at least one each. The organisation, where given, must be the bundle's.
    """

    authorities: dict[str, TimestampTrust] = field(default_factory=dict)
    extra_roots: tuple[bytes, ...] = ()
    tezos: dict[str, TezosTrust] = field(default_factory=dict)
    bitcoin: dict[str, BitcoinTrust] = field(default_factory=dict)
    require: int = 1
    require_backends: tuple[str, ...] = ()
    organisation_id: str | None = None
    organisation_name: str | None = None
    trusted_lists: tuple[bytes, ...] = ()
    """ETSI TS 119 612 trusted lists (XML) that the user obtained authentically: what "qualified" rests on."""

    @property
    def trusts_nobody(self) -> bool:
        """Whether nothing at all could be vouched for under this policy."""
        return not (self.authorities or self.extra_roots or self.tezos or self.bitcoin)


def load_policy(path: Path) -> TrustPolicy:
    """Read a trust policy; paths in it are relative to its own folder. Raises `UnusablePolicyError`."""
    path = Path(path)
    try:
        text = read_file(path).decode("utf-8")
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
    require_known_members(members, _MEMBERS, "the policy")
    if members.get("format") != FORMAT:
        raise ValueError(f'it must say format = "{FORMAT}"')
    require = read_number(members, "require", "the policy", default=1, highest=MAX_REQUIRED)
    backends = read_strings(members, "require_backends", "the policy")
    for backend in backends:
        _known_backend(backend, "require_backends")
    organisation = read_table(members, "organisation")
    require_known_members(organisation, {"id", "name"}, "organisation")
    tables = _authority_tables(read_table(members, "authorities"))
    lists = read_strings(members, "trusted_lists", "the policy")
    return TrustPolicy(
        authorities={
            name: _timestamps(table, f"authorities.{name}", folder) for name, table in tables[RFC3161].items()
        },
        tezos={name: read_tezos(table, f"authorities.{name}") for name, table in tables[TEZOS].items()},
        bitcoin={
            name: read_opentimestamps(table, f"authorities.{name}", folder)
            for name, table in tables[OPENTIMESTAMPS].items()
        },
        require=require,
        require_backends=tuple(backends),
        organisation_id=read_text(organisation, "id", "organisation"),
        organisation_name=read_text(organisation, "name", "organisation"),
        trusted_lists=tuple(read_file(folder / name, MAX_LIST_SIZE) for name in lists),
    )


def _authority_tables(authorities: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """The authorities' tables by backend and name."""
    tables: dict[str, dict[str, dict[str, Any]]] = {backend: {} for backend in BACKENDS}
    for name in authorities:
        if not IDENTIFIER.fullmatch(name):
            raise ValueError(f"authorities.{name} is not a name an authority can have")
        table = read_table(authorities, name)
        tables[_known_backend(table.get("backend", RFC3161), f"authorities.{name}")][name] = table
    return tables


def _timestamps(table: dict[str, Any], where: str, folder: Path) -> TimestampTrust:
    require_known_members(table, _AUTHORITY_MEMBERS, where)
    roots = _certificates(table, "roots", where, folder)
    if not roots:
        raise ValueError(f"{where} names no roots, so nothing of it could be trusted")
    return TimestampTrust(
        roots=roots,
        intermediates=_certificates(table, "intermediates", where, folder),
        policies=frozenset(read_strings(table, "policies", where)),
        valid_from=read_instant(table, "valid_from", where),
        valid_to=read_instant(table, "valid_to", where),
    )


def _certificates(table: dict[str, Any], name: str, where: str, folder: Path) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for text in read_strings(table, name, where):
        # A certificate may stand in the policy itself, so that one file is the whole policy.
        data = text.encode("utf-8") if _PEM in text else read_file(folder / text)
        try:
            found += load_certificates(data)
        except ValueError as error:
            raise ValueError(f"{where}.{name}: {'' if _PEM in text else text + ': '}{error}") from error
    return tuple(found)


def _known_backend(backend: object, where: str) -> str:
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise ValueError(f"{where} names the backend {backend!r:.40}; this program can verify: {', '.join(BACKENDS)}")
    return backend
