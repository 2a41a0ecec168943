"""The extensions of X.509 certificates (RFC 5280, 4.2) that are obeyed here, each read strictly from its octets."""

from dataclasses import dataclass
from datetime import datetime

from verifier.rfc3161 import der, names
from verifier.rfc3161.names import GeneralName, NameConstraints, read_general_names

# What each extension (by its OID) holds: whether it is critical, and its value.
Extensions = dict[str, tuple[bool, bytes]]

_CE = "2.5.29."
SUBJECT_KEY_ID = f"{_CE}14"
KEY_USAGE = f"{_CE}15"
PRIVATE_KEY_PERIOD = f"{_CE}16"
SUBJECT_ALT_NAME = f"{_CE}17"
BASIC_CONSTRAINTS = f"{_CE}19"
NAME_CONSTRAINTS = f"{_CE}30"
CRL_DISTRIBUTION_POINTS = f"{_CE}31"
CERTIFICATE_POLICIES = f"{_CE}32"
POLICY_MAPPINGS = f"{_CE}33"
AUTHORITY_KEY_ID = f"{_CE}35"
POLICY_CONSTRAINTS = f"{_CE}36"
EXTENDED_KEY_USAGE = f"{_CE}37"
INHIBIT_ANY_POLICY = f"{_CE}54"

# What may be marked critical here, because it is obeyed. CRL distribution points only say where evidence could be
# fetched, and nothing is fetched offline; the evidence that was kept is checked whoever published it.
UNDERSTOOD = frozenset(
    {
        KEY_USAGE,
        PRIVATE_KEY_PERIOD,
        SUBJECT_ALT_NAME,
        BASIC_CONSTRAINTS,
        NAME_CONSTRAINTS,
        CRL_DISTRIBUTION_POINTS,
        CERTIFICATE_POLICIES,
        POLICY_MAPPINGS,
        POLICY_CONSTRAINTS,
        EXTENDED_KEY_USAGE,
        INHIBIT_ANY_POLICY,
    }
)

# Bits of KeyUsage
DIGITAL_SIGNATURE, NON_REPUDIATION, KEY_CERT_SIGN, CRL_SIGN = 0, 1, 5, 6


@dataclass(frozen=True, slots=True)
class Policies:
    """The four extensions about certificate policies; None where an extension is absent."""

    asserted: frozenset[str] | None = None
    mappings: tuple[tuple[str, str], ...] = ()
    require_explicit: int | None = None
    inhibit_mapping: int | None = None
    inhibit_any: int | None = None


def read_extensions(node: der.Node, what: str) -> Extensions:
    """Read an Extensions sequence into {oid: (critical, value)}; raises DerError, also for repeated ones."""
    result: Extensions = {}
    for member in der.sequence(node, what):
        parts = der.sequence(member, what)
        if len(parts) not in {2, 3}:
            raise der.DerError(f"{what} are malformed")
        oid = der.oid(parts[0], what)
        if oid in result:
            raise der.DerError(f"{what} contain {oid} twice")
        critical = der.boolean(parts[1], what) if len(parts) == 3 else False  # noqa: PLR2004 - critical given
        result[oid] = (critical, der.octets(parts[-1], what))
    return result


def _parsed(extensions: Extensions, oid: str) -> der.Node | None:
    return der.parse(extensions[oid][1]) if oid in extensions else None


def read_basic_constraints(extensions: Extensions) -> tuple[bool | None, int | None]:
    """Whether the subject is an authority, and how many may stand below it; None for what is not stated."""
    node = _parsed(extensions, BASIC_CONSTRAINTS)
    if node is None:
        return None, None
    what = "the basic constraints"
    members = list(der.sequence(node, what))
    is_ca = der.boolean(members.pop(0), what) if members and members[0].is_universal(der.BOOLEAN) else False
    length = der.integer(members.pop(0), what) if members else None
    if members or (length is not None and length < 0):
        raise der.DerError(f"{what} are malformed")
    return is_ca, length


def read_key_usage(extensions: Extensions) -> frozenset[int] | None:
    """The numbers of the bits set, or None."""
    node = _parsed(extensions, KEY_USAGE)
    return None if node is None else der.named_bits(node, "the key usage")


def read_purposes(extensions: Extensions) -> frozenset[str] | None:
    """The purposes in the extended key usage, or None."""
    node = _parsed(extensions, EXTENDED_KEY_USAGE)
    if node is None:
        return None
    what = "the extended key usage"
    return frozenset(der.oid(member, what) for member in der.sequence(node, what))


def read_key_id(extensions: Extensions) -> bytes | None:
    """The subject's key identifier, or None."""
    node = _parsed(extensions, SUBJECT_KEY_ID)
    return None if node is None else der.octets(node, "the subject key identifier")


def read_authority_key_id(extensions: Extensions) -> bytes | None:
    """The issuer's key identifier, or None."""
    node = _parsed(extensions, AUTHORITY_KEY_ID)
    if node is None:
        return None
    members = der.sequence(node, "the authority key identifier")
    return next((member.content for member in members if member.is_context(0)), None)


def read_alternative_names(extensions: Extensions) -> tuple[GeneralName, ...]:
    """The subject's alternative names; empty when there are none."""
    what = "the alternative names"
    node = _parsed(extensions, SUBJECT_ALT_NAME)
    return () if node is None else read_general_names(der.sequence(node, what), what)


def read_name_constraints(extensions: Extensions) -> NameConstraints | None:
    """The name constraints, or None."""
    return names.read_name_constraints(extensions[NAME_CONSTRAINTS][1]) if NAME_CONSTRAINTS in extensions else None


def read_crl_points(extensions: Extensions) -> frozenset[bytes]:
    """The encoded names of where the revocation list is published; empty when that is not said."""
    node = _parsed(extensions, CRL_DISTRIBUTION_POINTS)
    if node is None:
        return frozenset()
    what = "the CRL distribution points"
    points = [part for point in der.sequence(node, what) for part in der.sequence(point, what) if part.is_context(0)]
    return frozenset().union(*(full_names(point) for point in points))


def full_names(node: der.Node) -> frozenset[bytes]:
    """The encoded general names in a tagged DistributionPointName (RFC 5280, 4.2.1.13); none for a relative one."""
    choice = der.explicit(node, 0, "the distribution point")
    return frozenset(name.encoded for name in choice.children) if choice.is_context(0) else frozenset()


def read_key_period(extensions: Extensions) -> tuple[datetime | None, datetime | None]:
    """The start and end of the private key usage period, None where open."""
    node = _parsed(extensions, PRIVATE_KEY_PERIOD)
    if node is None:
        return None, None
    what = "the private key usage period"
    times: dict[int, datetime] = {}
    for member in der.sequence(node, what):
        if member.tag_class != der.CONTEXT or member.constructed or member.number not in {0, 1}:
            raise der.DerError(f"{what} is malformed")
        times[member.number] = der.generalized_time_content(member.content, what)
    return times.get(0), times.get(1)


def read_policies(extensions: Extensions) -> Policies:
    """What the certificate says about certificate policies."""
    what = "the certificate policies"
    asserted = _parsed(extensions, CERTIFICATE_POLICIES)
    mappings = _parsed(extensions, POLICY_MAPPINGS)
    constraints = _parsed(extensions, POLICY_CONSTRAINTS)
    inhibit_any = _parsed(extensions, INHIBIT_ANY_POLICY)
    skips = {}
    for member in der.sequence(constraints, what) if constraints else ():
        if member.tag_class != der.CONTEXT or member.constructed or member.number not in {0, 1}:
            raise der.DerError("the policy constraints are malformed")
        skips[member.number] = der.integer_content(member.content, what)
    return Policies(
        asserted=None if asserted is None else frozenset(_first_oid(m, what) for m in der.sequence(asserted, what)),
        mappings=tuple(_mapping(m, what) for m in der.sequence(mappings, what)) if mappings else (),
        require_explicit=skips.get(0),
        inhibit_mapping=skips.get(1),
        inhibit_any=None if inhibit_any is None else der.integer(inhibit_any, what),
    )


def _first_oid(node: der.Node, what: str) -> str:
    members = der.sequence(node, what)
    if not members:
        raise der.DerError(f"{what} are malformed")
    return der.oid(members[0], what)


def _mapping(node: der.Node, what: str) -> tuple[str, str]:
    members = der.sequence(node, what)
    if len(members) != 2:  # noqa: PLR2004 - issuer's policy, subject's policy
        raise der.DerError(f"{what} are malformed")
    return der.oid(members[0], what), der.oid(members[1], what)
