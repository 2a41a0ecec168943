"""The policies: read and validated at the start, asked for every decision.

They are text in Cedar's language (gateway/auth/policy): a schema, and what is permitted and forbidden. An operator may
add files of the same kind; since a forbid outweighs every permit, no file can lift what tenancy.cedar forbids.

Policies speak of kinds of things and of places, never of one single thing: who may do what cannot depend on which clip
it is. That is checked at the start, and lets a decision be remembered for every clip of the same camera.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import cedarpy

from gateway.auth.actions import Action
from gateway.auth.values import Kind
from ledger.settings_reader import SettingsError

VARIABLE = "INDELIBLE_GATEWAY_POLICIES"
MAX_FILE_BYTES = 1024 * 1024
# Decisions of the busiest gateway: some hundred kinds of subjects, forty actions, a few places each. About 1 KiB each.
MAX_REMEMBERED = 20_000
_NAMESPACE = "Indelible"
_SCHEMA = "schema.cedarschema"
_ACTION = re.compile(r'^\s*action "([^"]+)"[^;]*appliesTo[^;]*resource: \[([^\]]*)\]', re.MULTILINE)
_KINDS = frozenset(Kind)
_TOKEN = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|;|[^\s;"/]+|/', re.DOTALL)
_SINGLE_THING = re.compile(rf'\b{_NAMESPACE}::(?!Action\b)\w+\s*::\s*"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """Where a role or permission holds: the whole organisation, or sites and cameras of it."""

    everywhere: bool = False
    sites: frozenset[str] = frozenset()
    cameras: frozenset[str] = frozenset()

    def __or__(self, other: "Reach") -> "Reach":
        return Reach(
            everywhere=self.everywhere or other.everywhere,
            sites=self.sites | other.sites,
            cameras=self.cameras | other.cameras,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a decision may depend on about a resource: its kind, whose it is, and where it is."""

    kind: Kind
    organisation_id: str
    camera_id: str | None = None
    site_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Whether something is permitted, and the names of the policies that made it so."""

    allowed: bool
    policies: tuple[str, ...]


# Each role and permission of a subject with its reach: all that decisions depend on besides action and place.
Reaches = frozenset[tuple[str, Reach]]


class Policies:
    """The validated policies. Decisions are remembered: they depend on nothing but what is asked."""

    def __init__(self, text: str, schema: str) -> None:
        self._policies = cedarpy.PolicySet.from_str(text)
        self._schema = cedarpy.Schema.from_str(schema)
        self._decide = functools.lru_cache(MAX_REMEMBERED)(self._evaluate)
        # The kinds of things each action applies to.
        self.kinds: Mapping[Action, tuple[Kind, ...]] = MappingProxyType(
            {
                Action(name): tuple(Kind(kind) for kind in re.findall(r"\w+", kinds) if kind in _KINDS)
                for name, kinds in _ACTION.findall(schema)
            }
        )

    def decide(self, *, organisation_id: str, reaches: Reaches, action: Action, place: Place) -> Decision:
        """Whether a subject of an organisation whose roles and permissions reach so far may do `action` there.

        Raises ValueError for an action that does not apply to such a resource: a defect of whoever asks.
        """
        return self._decide(organisation_id, reaches, action, place)

    def _evaluate(self, organisation_id: str, reaches: Reaches, action: Action, place: Place) -> Decision:
        request = {
            "principal": _uid("Subject", organisation_id),
            "action": _uid("Action", action),
            "resource": _uid(place.kind, _identifier(place)),
            "context": {"permission": str(action)},
        }
        entities = [_subject(organisation_id, reaches), *_surroundings(organisation_id, reaches, place)]
        result = cedarpy.is_authorized(request, self._policies, entities, self._schema)
        if result.diagnostics.errors:
            raise ValueError(f"{action} cannot be asked for a {place.kind}: {'; '.join(result.diagnostics.errors)}")
        names = result.diagnostics.id_annotations_by_reason
        return Decision(
            allowed=result.allowed,
            policies=tuple(sorted(names.get(reason, reason) for reason in result.diagnostics.reasons)),
        )


def load_policies(additional: Path | None = None) -> Policies:
    """Read and validate the policies, and those of the directory `additional`.

    Raises SettingsError with the file and the line of everything that is wrong with them.
    """
    ours = files("gateway.auth.policy")
    schema = ours.joinpath(_SCHEMA).read_text(encoding="utf-8")
    texts = {one.name: one.read_text(encoding="utf-8") for one in ours.iterdir() if one.name.endswith(".cedar")}
    problems: list[str] = []
    if additional is not None:
        for file in sorted(additional.glob("*.cedar")):
            try:
                texts[str(file)] = _read(file)
            except (OSError, UnicodeDecodeError, ValueError) as error:
                problems.append(f"{VARIABLE}: {file}: cannot be read ({error})")
    for name, text in sorted(texts.items()):
        problems += [f"{VARIABLE}: {name}, line {line}: {what}" for line, what in find_problems(text, schema)]
    if {name for name, _ in _ACTION.findall(schema)} != set(Action):
        problems.append(f"{VARIABLE}: {_SCHEMA} does not name the actions the gateway has")
    if problems:
        raise SettingsError(tuple(problems))
    return Policies("\n".join(text for _, text in sorted(texts.items())), schema)


def find_problems(text: str, schema: str) -> Iterator[tuple[int, str]]:
    """What is wrong with a file of policies: the line on which the policy begins, and what it is."""
    for line, statement in _statements(text):
        result = cedarpy.validate_policies(statement, schema)
        for error in result.errors:
            yield line, re.sub(r"^for policy `\w+`, ", "", error.error)
        if _SINGLE_THING.search(_without_comments(statement)):
            yield line, "a policy speaks of kinds of things and of places, not of one single thing"


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each policy of a file, with the line it begins on."""
    start: int | None = None
    for token in _TOKEN.finditer(text):
        if token.group().startswith("//"):
            continue
        if start is None:
            start = token.start()
        if token.group() == ";":
            yield text.count("\n", 0, start) + 1, text[start : token.end()]
            start = None
    if start is not None:
        yield text.count("\n", 0, start) + 1, text[start:]


def _without_comments(statement: str) -> str:
    return re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*', lambda found: found.group(1) or "", statement)


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        data = opened.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    return data.decode("utf-8")


def _uid(kind: str, identifier: str) -> dict[str, str]:
    return {"type": f"{_NAMESPACE}::{kind}", "id": identifier}


def _reference(kind: str, identifier: str) -> dict[str, dict[str, str]]:
    return {"__entity": _uid(kind, identifier)}


def _identifier(place: Place) -> str:
    """Names of two organisations are never the same to the policies, whatever people called their cameras."""
    if place.kind is Kind.ORGANISATION:
        return place.organisation_id
    named = {Kind.CAMERA: place.camera_id, Kind.SITE: place.site_id}.get(place.kind) or ""
    return f"{place.organisation_id}/{named}"


def _subject(organisation_id: str, reaches: Reaches) -> dict[str, object]:
    return {
        "uid": _uid("Subject", organisation_id),
        "attrs": {"organisation": _reference("Organisation", organisation_id)},
        "parents": [],
        "tags": {
            name: {
                "organisations": [_reference("Organisation", organisation_id)] if reach.everywhere else [],
                "sites": [_reference("Site", f"{organisation_id}/{site}") for site in sorted(reach.sites)],
                "cameras": [_reference("Camera", f"{organisation_id}/{camera}") for camera in sorted(reach.cameras)],
            }
            for name, reach in sorted(reaches, key=lambda one: one[0])
        },
    }


def _surroundings(organisation_id: str, reaches: Reaches, place: Place) -> Iterator[dict[str, object]]:
    """The resource with everything it belongs to, and whatever the subject's reaches name."""
    owner = place.organisation_id
    known: dict[tuple[str, str], list[dict[str, str]]] = {
        ("Organisation", organisation_id): [],
        ("Organisation", owner): [],
    }
    for reach in (reach for _, reach in reaches):
        for kind, names in (("Site", reach.sites), ("Camera", reach.cameras)):
            for name in names:
                known[kind, f"{organisation_id}/{name}"] = [_uid("Organisation", organisation_id)]
    parents = [_uid("Organisation", owner)]
    stands_somewhere = place.kind in {Kind.SITE, Kind.CAMERA, Kind.CLIP}
    if stands_somewhere and place.site_id is not None:
        known["Site", f"{owner}/{place.site_id}"] = parents
        parents = [*parents, _uid("Site", f"{owner}/{place.site_id}")]
    if stands_somewhere and place.camera_id is not None:
        known["Camera", f"{owner}/{place.camera_id}"] = parents
        parents = [_uid("Organisation", owner), _uid("Camera", f"{owner}/{place.camera_id}")]
    known.setdefault((place.kind, _identifier(place)), parents)
    for (kind, identifier), above in known.items():
        yield {"uid": _uid(kind, identifier), "attrs": {}, "parents": above}
