"""From the signer's certificate to a root that the verifier's user trusts (RFC 5280, section 6).

Finding a path and judging it are kept apart. The search follows names and verified signatures only, so every path it
yields is cryptographically real; the judgement then applies the rules and can name the one that is broken. Trust
comes from the configured anchors alone: certificates in the token, in a bundle or supplied as hints are only steps.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from verifier.findings import Severity
from verifier.rfc3161 import codes, der
from verifier.rfc3161.algorithms import NotAllowedError, read_scheme, verify_signature
from verifier.rfc3161.certificate import Certificate
from verifier.rfc3161.codes import Rule
from verifier.rfc3161.extensions import EXTENDED_KEY_USAGE, KEY_CERT_SIGN, UNDERSTOOD
from verifier.rfc3161.names import NameConstraints, broken_constraint, same_name
from verifier.rfc3161.policies import PolicyWalk
from verifier.rfc3161.results import TimestampTrust

# Signer and root included; the longest real path seen has five certificates.
MAX_PATH = 10
# Each costs one public-key operation, well under a millisecond. A real token needs three or four.
MAX_SIGNATURE_CHECKS = 200
# Of hostile certificates that all certify one another there are exponentially many paths.
MAX_STEPS = 2000
MAX_JUDGED_PATHS = 64

TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
ANY_PURPOSE = f"{EXTENDED_KEY_USAGE}.0"

# Public authorities were forbidden to sign with SHA-1 from 2016 on; a year is left for those that lagged.
SHA1_CERTIFICATES_UNTIL = datetime(2017, 1, 1, tzinfo=UTC)

_TOO_COMPLEX = "The certificates form too many possible paths; the search for a trusted root was given up."
_NO_ROOT = (
    "No trusted root was given, so nothing vouches for the signer: certificates inside a token are never trusted by"
    " themselves."
)

Fault = tuple[Rule, str]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A trusted root together with what the user says about it."""

    certificate: Certificate
    trust: TimestampTrust


@dataclass(frozen=True, slots=True)
class Question:
    """What a path is judged by: the certificates at `when`, the anchor's window at `time`, the token's policy."""

    when: datetime
    time: datetime
    policy: str


@dataclass(frozen=True, slots=True)
class PathOutcome:
    """The accepted path (signer first, root last), or an empty one with the faults that explain why."""

    path: tuple[Certificate, ...]
    faults: tuple[Fault, ...]


def find_path(
    signer: Certificate, anchors: Iterable[Anchor], pool: Iterable[Certificate], question: Question
) -> PathOutcome:
    """The first path from `signer` to an anchor that keeps every rule; else the least broken one's faults."""
    search = _Search(anchors, pool)
    best: tuple[Fault, ...] | None = None
    for judged, (path, anchor) in enumerate(search.paths((signer,))):
        if judged == MAX_JUDGED_PATHS:
            search.exhausted = True
            break
        faults = tuple(_judge(path, anchor, question))
        errors = [fault for fault in faults if fault[0].severity is Severity.ERROR]
        if not errors:
            return PathOutcome(path, faults)
        if best is None or len(errors) < len(best):
            best = tuple(errors)
    if best is not None:
        return PathOutcome((), best)
    return PathOutcome((), tuple(search.explanation()))


class _Search:
    """A bounded depth-first search along issuer names and verified signatures."""

    def __init__(self, anchors: Iterable[Anchor], pool: Iterable[Certificate]) -> None:
        self._anchors = defaultdict(list)
        for anchor in anchors:
            self._anchors[anchor.certificate.subject.key].append(anchor)
        self._pool = defaultdict(list)
        for certificate in {c.encoded: c for c in pool}.values():
            self._pool[certificate.subject.key].append(certificate)
        self._links: dict[tuple[bytes, bytes], bool] = {}
        self._refusals: list[Fault] = []
        self._steps = 0
        self.exhausted = False

    def paths(self, path: tuple[Certificate, ...]) -> Iterator[tuple[tuple[Certificate, ...], Anchor]]:
        self._steps += 1
        if self._steps > MAX_STEPS:
            self.exhausted = True
            return
        tip = path[-1]
        for anchor in self._anchors.get(tip.subject.key, ()):
            if anchor.certificate.encoded == tip.encoded:
                yield path, anchor
        if len(path) == MAX_PATH:
            return
        issuer = tip.issuer.key
        for anchor in self._anchors.get(issuer, ()):
            if anchor.certificate.encoded != tip.encoded and self._signed_by(tip, anchor.certificate):
                yield (*path, anchor.certificate), anchor
        for candidate in sorted(self._pool.get(issuer, ()), key=lambda c: not _key_ids_match(tip, c)):
            # The same name with the same key again, in whatever certificate, is a circle.
            if any(_same_entity(candidate, earlier) for earlier in path):
                continue
            if self._signed_by(tip, candidate):
                yield from self.paths((*path, candidate))

    def _signed_by(self, child: Certificate, issuer: Certificate) -> bool:
        key = (child.encoded, issuer.encoded)
        if key not in self._links:
            if len(self._links) == MAX_SIGNATURE_CHECKS:
                self.exhausted = True
                return False
            self._links[key] = self._check_link(child, issuer)
        return self._links[key]

    def _check_link(self, child: Certificate, issuer: Certificate) -> bool:
        try:
            scheme = read_scheme(child.signature_algorithm)
        except (NotAllowedError, der.DerError) as error:
            self._refuse(f"The certificate of {child.readable}: {error}.")
            return False
        try:
            return verify_signature(issuer.public_key, scheme, child.signature, child.signed_part)
        except (NotAllowedError, der.DerError) as error:
            self._refuse(f"The key of {issuer.readable}: {error}.")
            return False

    def _refuse(self, message: str) -> None:
        # Not an error by itself: anybody may have put such a certificate among the hints.
        self._refusals.append((codes.PATH_REFUSED, message))

    def explanation(self) -> Iterator[Fault]:
        """Why no path was found."""
        if self.exhausted:
            yield codes.PATH_TOO_COMPLEX, _TOO_COMPLEX
        elif not self._anchors:
            yield codes.NO_ROOT_CONFIGURED, _NO_ROOT
        else:
            yield codes.NO_TRUSTED_ROOT, "The signer's certificate does not lead to any of the trusted roots given."
        yield from dict.fromkeys(self._refusals)


def _key_ids_match(child: Certificate, issuer: Certificate) -> bool:
    return child.authority_key_id is not None and child.authority_key_id == issuer.key_id


def _same_entity(one: Certificate, other: Certificate) -> bool:
    return one.public_key.encoded == other.public_key.encoded and same_name(one.subject, other.subject)


def _judge(path: tuple[Certificate, ...], anchor: Anchor, question: Question) -> Iterator[Fault]:
    """RFC 5280, 6.1.3 to 6.1.5, from the anchor down to the signer, then what the user says about the anchor."""
    walk = PolicyWalk(len(path) - 1)
    constraints: list[NameConstraints] = []
    room: int | None = None
    for depth, certificate in enumerate(reversed(path)):
        last = depth == len(path) - 1
        self_issued = same_name(certificate.issuer, certificate.subject)
        if depth > 0:
            yield from _judge_signature(certificate)
            if not walk.step(certificate, last=last):
                yield codes.PATH_POLICY, f"The path breaks a policy constraint at {certificate.readable}."
            if not self_issued or last:
                yield from _judge_names(certificate, constraints)
        if last:
            break
        yield from _judge_authority(certificate, is_anchor=depth == 0, when=question.when)
        if depth > 0 and not self_issued and room is not None:
            if room == 0:
                yield codes.PATH_LENGTH, f"There are more authorities below than allowed at {certificate.readable}."
            room = max(room - 1, 0)
        if certificate.path_length is not None:
            room = certificate.path_length if room is None else min(room, certificate.path_length)
        if certificate.name_constraints is not None:
            constraints.append(certificate.name_constraints)
    yield from _judge_anchor(anchor, question)


def _judge_signature(certificate: Certificate) -> Iterator[Fault]:
    if read_scheme(certificate.signature_algorithm).hash_name != "sha1":
        return
    if certificate.not_before >= SHA1_CERTIFICATES_UNTIL:
        yield codes.PATH_ALGORITHM, f"The certificate of {certificate.readable} was issued with SHA-1 after 2016."
    else:
        yield (
            codes.PATH_LEGACY,
            f"The certificate of {certificate.readable} was issued with SHA-1, before that was given up in 2016.",
        )


def _judge_names(certificate: Certificate, constraints: Iterable[NameConstraints]) -> Iterator[Fault]:
    for constraint in constraints:
        if broken_constraint(constraint, certificate.subject, certificate.alternative_names) is not None:
            yield codes.PATH_NAMES, f"An authority above may not certify the name {certificate.readable}."
            return


def _judge_authority(certificate: Certificate, *, is_anchor: bool, when: datetime) -> Iterator[Fault]:
    name = certificate.readable
    if not certificate.not_before <= when <= certificate.not_after:
        yield codes.PATH_VALIDITY, f"The certificate of {name} was not valid at {when.isoformat()}."
    # A configured root from before X.509 version 3 has no way to say that it is an authority.
    if not certificate.is_ca and not (is_anchor and certificate.version < 3):  # noqa: PLR2004 - X.509 version 3
        yield codes.PATH_NOT_CA, f"The certificate of {name} is not that of a certification authority."
    if certificate.key_usage is not None and KEY_CERT_SIGN not in certificate.key_usage:
        yield codes.PATH_KEY_USAGE, f"The key of {name} is not meant for signing certificates."
    if certificate.purposes is not None and not certificate.purposes & {TIME_STAMPING, ANY_PURPOSE}:
        yield codes.PATH_PURPOSE, f"The authority {name} is not meant for time-stamping."
    for oid in sorted(certificate.critical - UNDERSTOOD):
        yield codes.PATH_EXTENSION, f"The certificate of {name} has a critical extension not understood here: {oid}."


def _judge_anchor(anchor: Anchor, question: Question) -> Iterator[Fault]:
    trust = anchor.trust
    name = anchor.certificate.readable
    if (trust.valid_from is not None and question.time < trust.valid_from) or (
        trust.valid_to is not None and question.time > trust.valid_to
    ):
        yield codes.ANCHOR_WINDOW, f"The time is outside of the period for which {name} is trusted."
    if trust.policies and question.policy not in trust.policies:
        yield codes.ANCHOR_POLICY, f"{name} is not trusted for time-stamps under policy {question.policy}."
