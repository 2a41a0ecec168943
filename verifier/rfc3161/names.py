"""Names in certificates: reading, comparing, showing, and name constraints (RFC 5280, 4.1.2.4, 4.2.1.10 and 7)."""

import ipaddress
import unicodedata
from dataclasses import dataclass, field

from verifier.rfc3161 import der

# Shown to people on a terminal or a page; a longer name is cut.
MAX_READABLE = 200

_SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.97": "organizationIdentifier",
    "1.2.840.113549.1.9.1": "emailAddress",
}
_EMAIL_ATTRIBUTE = "1.2.840.113549.1.9.1"

# String types by universal tag. T61String is read as Latin-1, as everybody does.
_ENCODINGS = {
    12: "utf-8",
    18: "ascii",
    19: "ascii",
    20: "latin-1",
    22: "ascii",
    26: "ascii",
    28: "utf-32-be",
    30: "utf-16-be",
}

OTHER, EMAIL, DNS, X400, DIRECTORY, EDI, URI, IP, REGISTERED = range(9)


@dataclass(frozen=True, slots=True)
class Name:
    """A distinguished name in comparable form.

    `key` is what it has in common with every name that it matches by RFC 5280, 7.1: made once, for a bundle may have
    thousands of certificates that are looked through for each of thousands of time-stamps.
    """

    rdns: tuple[frozenset[tuple[str, str]], ...]
    key: tuple[frozenset[tuple[str, str]], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        key = tuple(frozenset((oid, value.casefold()) for oid, value in rdn) for rdn in self.rdns)
        object.__setattr__(self, "key", key)

    @property
    def readable(self) -> str:
        """The name for people, most specific part first, free of control characters."""
        parts = [
            f"{_SHORT_NAMES.get(oid, oid)}={value.partition(':')[2]}"
            for rdn in reversed(self.rdns)
            for oid, value in sorted(rdn)
        ]
        return printable(", ".join(parts))


@dataclass(frozen=True, slots=True)
class GeneralName:
    """One GeneralName: `kind` is its context tag, `value` a Name, a string, or octets for kinds not interpreted."""

    kind: int
    value: Name | str | bytes


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """The subtrees that names below a certificate must or must not lie in."""

    permitted: tuple[GeneralName, ...]
    excluded: tuple[GeneralName, ...]


def printable(text: str) -> str:
    """`text` without anything that could steer a terminal or reorder a line, cut to MAX_READABLE characters."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= MAX_READABLE else f"{clean[:MAX_READABLE]}..."


def read_name(node: der.Node, what: str) -> Name:
    """Read a Name; raises DerError."""
    rdns = []
    for rdn in der.sequence(node, what):
        pairs = []
        for pair in der.set_of(rdn, what):
            members = der.sequence(pair, what)
            if len(members) != 2:  # noqa: PLR2004 - type and value
                raise der.DerError(f"{what} has a malformed part")
            pairs.append((der.oid(members[0], what), _comparable(members[1])))
        if not pairs:
            raise der.DerError(f"{what} has an empty part")
        rdns.append(frozenset(pairs))
    return Name(tuple(rdns))


def _comparable(value: der.Node) -> str:
    encoding = _ENCODINGS.get(value.number) if value.tag_class == der.UNIVERSAL else None
    if encoding is not None:
        try:
            # RFC 5280, 7.1: strings of different types match; case and runs of spaces do not count.
            text = unicodedata.normalize("NFKC", value.content.decode(encoding))
            return f"text:{' '.join(text.split())}"
        except UnicodeDecodeError:
            pass
    return f"octets:{value.encoded.hex()}"


def same_name(one: Name, other: Name) -> bool:
    """Whether two names match, case ignored."""
    return one.key == other.key


def read_general_name(node: der.Node, what: str) -> GeneralName:
    """Read a GeneralName; raises DerError."""
    if node.tag_class != der.CONTEXT or node.number > REGISTERED:
        raise der.DerError(f"{what} is not a general name")
    if node.number == DIRECTORY:
        return GeneralName(DIRECTORY, read_name(der.explicit(node, DIRECTORY, what), what))
    if node.number in {EMAIL, DNS, URI} and node.content.isascii():
        return GeneralName(node.number, node.content.decode("ascii"))
    return GeneralName(node.number, node.content)


def read_general_names(members: tuple[der.Node, ...], what: str) -> tuple[GeneralName, ...]:
    """Read the members of a GeneralNames; raises DerError."""
    return tuple(read_general_name(member, what) for member in members)


def same_general_name(one: GeneralName, other: GeneralName) -> bool:
    """Whether two general names match."""
    if one.kind != other.kind:
        return False
    if isinstance(one.value, Name) and isinstance(other.value, Name):
        return same_name(one.value, other.value)
    if one.kind == DNS and isinstance(one.value, str) and isinstance(other.value, str):
        return one.value.casefold() == other.value.casefold()
    return one.value == other.value


def read_name_constraints(data: bytes) -> NameConstraints:
    """Read the NameConstraints extension; raises DerError."""
    what = "the name constraints"
    permitted: tuple[GeneralName, ...] = ()
    excluded: tuple[GeneralName, ...] = ()
    for member in der.sequence(der.parse(data), what):
        if not member.constructed or not (member.is_context(0) or member.is_context(1)):
            raise der.DerError(f"{what} are malformed")
        subtrees = tuple(_read_subtree(child, what) for child in member.children)
        if member.number == 0:
            permitted += subtrees
        else:
            excluded += subtrees
    return NameConstraints(permitted, excluded)


def _read_subtree(node: der.Node, what: str) -> GeneralName:
    members = der.sequence(node, what)
    # RFC 5280, 4.2.1.10: minimum is 0, though some write that default down, and there is no maximum.
    bounds = [(bound.tag_class, bound.number, bound.content) for bound in members[1:]]
    if not members or bounds not in ([], [(der.CONTEXT, 0, b"\x00")]):
        raise der.DerError(f"{what} use minimum or maximum")
    return read_general_name(members[0], what)


def broken_constraint(
    constraints: NameConstraints, subject: Name, alternatives: tuple[GeneralName, ...]
) -> GeneralName | None:
    """The first name of a certificate that the constraints forbid, or None when all are allowed."""
    names = list(alternatives)
    if subject.rdns:
        names.append(GeneralName(DIRECTORY, subject))
    # RFC 5280, 4.2.1.10: an email address in the subject counts when there is no alternative name.
    if not any(name.kind == EMAIL for name in alternatives):
        names += [
            GeneralName(EMAIL, value.partition(":")[2])
            for rdn in subject.rdns
            for oid, value in rdn
            if oid == _EMAIL_ATTRIBUTE
        ]
    for name in names:
        permitted = [tree for tree in constraints.permitted if tree.kind == name.kind]
        if permitted and not any(_within(name, tree) for tree in permitted):
            return name
        if any(_within(name, tree, unknown=True) for tree in constraints.excluded if tree.kind == name.kind):
            return name
    return None


def _within(name: GeneralName, tree: GeneralName, *, unknown: bool = False) -> bool:
    """Whether `name` lies in `tree`; for kinds of names not interpreted here, `unknown`."""
    if isinstance(name.value, Name) and isinstance(tree.value, Name):
        prefix = tree.value.key
        return name.value.key[: len(prefix)] == prefix
    if isinstance(name.value, str) and isinstance(tree.value, str):
        value, base = name.value.casefold(), tree.value.casefold()
        if name.kind == DNS:
            return base in {"", value} or value.endswith("." + base.removeprefix("."))
        if name.kind == EMAIL:
            return _email_within(value, base)
        return _host_within(_uri_host(value), base)
    if name.kind == IP and isinstance(name.value, bytes) and isinstance(tree.value, bytes):
        return _address_within(name.value, tree.value)
    return unknown


def _email_within(value: str, base: str) -> bool:
    host = value.rpartition("@")[2]
    return value == base if "@" in base else _host_within(host, base)


def _host_within(host: str, base: str) -> bool:
    return host.endswith(base) and host != base if base.startswith(".") else host == base


def _uri_host(uri: str) -> str:
    authority = uri.partition("://")[2].partition("/")[0].partition("?")[0].partition("#")[0]
    return authority.rpartition("@")[2].partition(":")[0]


def _address_within(address: bytes, network: bytes) -> bool:
    if len(network) != 2 * len(address) or len(address) not in {4, 16}:
        return False
    mask = int.from_bytes(network[len(address) :])
    base = int(ipaddress.ip_address(network[: len(address)]))
    return int(ipaddress.ip_address(address)) & mask == base & mask
