"""The operator's authorities file: which authorities are asked, where, for whom, and what is trusted of them.

default = ["freetsa", "notary"]         # who is asked for an organisation without a set of its own; all if missing

[authorities.freetsa]
preset = "freetsa"
roots = ["freetsa-root.pem"]            # paths are relative to this file

[authorities.notary]
url = "https://tsa.example.com/tsr"
roots = ["notary-root.pem"]
policies = ["1.2.3.4.5"]
basic_auth_file = "notary-password"     # one line: NAME:PASSWORD

[authorities.tezos]
backend = "tezos"                       # see ledger.anchoring.tezos.table; without this key it is an RFC 3161 one

[authorities.bitcoin]
backend = "opentimestamps"              # see ledger.anchoring.opentimestamps.table
preset = "public"

[organisations.acme]
authorities = ["notary", "tezos"]       # who is asked for this one
"""

import contextlib
import re
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ledger.anchoring.choices import Choices, ChoicesReader
from ledger.anchoring.opentimestamps import (
    OpenTimestampsConfiguration,
    OpenTimestampsTable,
    open_opentimestamps,
)
from ledger.anchoring.opentimestamps.configuration import BACKEND as OPENTIMESTAMPS
from ledger.anchoring.port import AnchorBackend
from ledger.anchoring.rfc3161 import AuthorityConfiguration, TimestampAuthority
from ledger.anchoring.rfc3161.evidence import FETCH_SECONDS, EvidenceCollector
from ledger.anchoring.rfc3161.table import AuthorityTable
from ledger.anchoring.rfc3161.transport import open_client, open_evidence_client, open_tls
from ledger.anchoring.table import TableProblem
from ledger.anchoring.tezos import BACKEND as TEZOS
from ledger.anchoring.tezos import TezosConfiguration, open_tezos
from ledger.anchoring.tezos.table import TezosTable
from ledger.store.values import AnchorSets, AnchorTarget

MAX_FILE_BYTES = 1024 * 1024
MAX_AUTHORITIES = 32

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
# What the bundle format allows in a file name made from it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


Configuration = AuthorityConfiguration | TezosConfiguration | OpenTimestampsConfiguration


class AuthoritiesError(ValueError):
    """The authorities file cannot be used; the text lists every problem with its table, key and remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Authorities:
    """Every configured authority of each kind, in the order of their names, and who is anchored at which of them.

    `worker_dsn` names the ledger's database for the kinds that keep notes there.
    """

    configurations: tuple[AuthorityConfiguration, ...] = ()
    tezos: tuple[TezosConfiguration, ...] = ()
    opentimestamps: tuple[OpenTimestampsConfiguration, ...] = ()
    choices: Choices = field(default_factory=Choices)
    worker_dsn: str = field(default="", repr=False)

    @property
    def targets(self) -> tuple[AnchorTarget, ...]:
        """Every authority."""
        named: list[Configuration] = [*self.configurations, *self.tezos, *self.opentimestamps]
        return tuple(configuration.target for configuration in named)

    @property
    def sets(self) -> AnchorSets:
        """Whose checkpoints are anchored at which of them."""
        by_name = {target.authority: target for target in self.targets}
        return AnchorSets(
            default=tuple(by_name[name] for name in self.choices.default),
            organisations={
                organisation_id: tuple(by_name[name] for name in names)
                for organisation_id, names in self.choices.organisations.items()
            },
        )

    @contextlib.asynccontextmanager
    async def open_backends(self) -> AsyncIterator[Sequence[AnchorBackend]]:
        """The backends with their HTTP clients, until the context ends."""
        async with contextlib.AsyncExitStack() as clients:
            tls = open_tls()
            evidence_client = await clients.enter_async_context(open_evidence_client(FETCH_SECONDS, tls))
            evidence = EvidenceCollector(evidence_client)
            backends: list[AnchorBackend] = [
                TimestampAuthority(
                    configuration, await clients.enter_async_context(open_client(configuration, tls)), evidence
                )
                for configuration in self.configurations
            ]
            backends += [
                await clients.enter_async_context(open_tezos(configuration, self.worker_dsn, tls))
                for configuration in self.tezos
            ]
            backends += [
                await clients.enter_async_context(open_opentimestamps(configuration, tls))
                for configuration in self.opentimestamps
            ]
            yield backends


def load_authorities(path: Path, *, worker_dsn: str = "", environ: Mapping[str, str] = _NO_VARIABLES) -> Authorities:
    """Read and check the authorities file, and every file and variable of `environ` it names.

    Raises AuthoritiesError.
    """
    content = _read_file(path)
    tables = _authority_tables(path, content)
    problems: list[str] = []
    read: list[Configuration] = []
    seen: dict[str, str] = {}
    for name in sorted(tables):
        try:
            _require_name(name, seen)
            read.append(_read_table(name, tables[name], path.parent, environ))
        except TableProblem as problem:
            problems.extend(f"{path}, [authorities.{name}]{line}" for line in problem.lines)
    choices = Choices()
    try:
        choices = ChoicesReader(tables).read(content)
    except TableProblem as problem:
        problems.extend(f"{path}{line}" for line in problem.lines)
    if problems:
        raise AuthoritiesError("\n".join(problems))
    return Authorities(
        configurations=tuple(one for one in read if isinstance(one, AuthorityConfiguration)),
        tezos=tuple(one for one in read if isinstance(one, TezosConfiguration)),
        opentimestamps=tuple(one for one in read if isinstance(one, OpenTimestampsConfiguration)),
        choices=choices,
        worker_dsn=worker_dsn,
    )


def _read_table(name: str, table: object, directory: Path, environ: Mapping[str, str]) -> Configuration:
    if not isinstance(table, dict):
        raise TableProblem([": must be a table"])
    backend = table.get("backend")
    if backend is None:
        return AuthorityTable(name, table, directory=directory).read()
    if backend == TEZOS:
        return TezosTable(name, table, directory=directory, environ=environ).read()
    if backend == OPENTIMESTAMPS:
        return OpenTimestampsTable(name, table, directory=directory).read()
    known = f'"{TEZOS}" or "{OPENTIMESTAMPS}"'
    raise TableProblem([f", backend: must be {known}; leave it out for a time-stamp authority (RFC 3161)"])


def _read_file(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise AuthoritiesError(f"{path}: larger than {MAX_FILE_BYTES} bytes; this cannot be an authorities file")
        content = tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise AuthoritiesError(f"{path}: cannot be read ({error.strerror}); is the path right?") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AuthoritiesError(f"{path}: not valid TOML: {error}") from error
    if unknown := sorted(set(content) - {"authorities", "default", "organisations"}):
        raise AuthoritiesError(
            f"{path}: unknown key {unknown[0]!r} at the top; there are default, [authorities.NAME] and "
            "[organisations.ID]"
        )
    return content


def _authority_tables(path: Path, content: Mapping[str, object]) -> dict[str, object]:
    tables = content.get("authorities", {})
    if not isinstance(tables, dict) or not tables:
        raise AuthoritiesError(f"{path}: names no authority; add a table [authorities.NAME] for each")
    if len(tables) > MAX_AUTHORITIES:
        raise AuthoritiesError(f"{path}: names {len(tables)} authorities; at most {MAX_AUTHORITIES} are asked")
    return tables


def _require_name(name: str, seen: dict[str, str]) -> None:
    if not _NAME.fullmatch(name):
        raise TableProblem(
            [': the name may have letters, digits, ".", "_" and "-", up to 64, and begins with a letter or digit']
        )
    # Names become file names in bundles, where case does not tell two files apart.
    other = seen.setdefault(name.lower(), name)
    if other != name:
        raise TableProblem([f": differs from [authorities.{other}] only in case; choose another name"])
